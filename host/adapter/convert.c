/* One tensor to one factor. Values that keep their type are moved; others go through small pieces
 * of f32, so that a load takes no more memory than the file's bytes and the factor's. */
#include "host/adapter/convert.h"
#include "host/adapter/number.h"

#include <string.h>

enum { BLOCK = 64, LINE = 16, PIECE = 1 << 13 };

static uint16_t load_16(const uint8_t *bytes, size_t index)
{
    uint16_t value; /* tensors may lie at odd addresses */
    memcpy(&value, bytes + 2 * index, sizeof value);
    return value;
}

/* Exponent all ones: NaN or infinity, in f16 and bf16 alike with the right mask. */
static size_t find_bad_16(const uint8_t *values, size_t count, uint16_t mask)
{
    size_t i = 0;
    for (; i + 256 <= count; i += 256) {
        uint16_t bad = 0;
        for (size_t j = 0; j < 256; j++) bad |= (load_16(values, i + j) & mask) == mask;
        if (bad) break;
    }
    while (i < count && (load_16(values, i) & mask) != mask) i++;
    return i;
}

/* Square tiles keep both sides of the transpose in cache; writes run along the inner loop, since
 * with a power of two for `rows` strided writes would all fall into the same cache sets. */
static void transpose_16(const uint8_t *in, uint32_t rows, uint32_t cols, uint8_t *out)
{
    for (uint32_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (uint32_t c0 = 0; c0 < cols; c0 += BLOCK)
            for (uint32_t c = c0; c < cols && c < c0 + BLOCK; c++)
                for (uint32_t r = r0; r < rows && r < r0 + BLOCK; r++)
                    memcpy(out + 2 * ((size_t)c * rows + r), in + 2 * ((size_t)r * cols + c), 2);
}

static bool is_16(oclora_type type)
{
    return type == OCLORA_TYPE_F16 || type == OCLORA_TYPE_BF16;
}

static oclora_status check_16(oclora_view view, oclora_error *err)
{
    const size_t total = (size_t)view.rows * view.cols;
    const uint8_t *in = oclora_tensor_at(view.tensor, view.first);
    const uint16_t mask = view.tensor->type == OCLORA_TYPE_F16 ? 0x7c00 : 0x7f80;
    const size_t bad = find_bad_16(in, total, mask);
    return bad == total ? OCLORA_OK : oclora_fail_not_finite(err, view.tensor, view.first + bad);
}

static void move_16(oclora_view view, bool transpose, uint8_t *data)
{
    const uint8_t *in = oclora_tensor_at(view.tensor, view.first);
    if (transpose)
        transpose_16(in, view.rows, view.cols, data);
    else
        memcpy(data, in, (size_t)view.rows * view.cols * 2);
}

/* Checks every value, and whether f16 could hold all of them. */
static oclora_status check_wide(const oclora_env *env, oclora_view view, bool *exact,
                                oclora_error *err)
{
    const uint64_t total = (uint64_t)view.rows * view.cols;
    oclora_status status = OCLORA_OK;
    float *piece = oclora_alloc(env, PIECE, sizeof *piece);
    if (piece == NULL) return oclora_fail_memory(err, PIECE * sizeof *piece, "values");
    for (uint64_t at = 0; at < total && status == OCLORA_OK; at += PIECE) {
        const size_t count = total - at < PIECE ? (size_t)(total - at) : PIECE;
        oclora_widen(view.tensor->type, oclora_tensor_at(view.tensor, view.first + at), count,
                     piece);
        const size_t bad = oclora_find_not_finite(piece, count);
        if (bad != count) status = oclora_fail_not_finite(err, view.tensor, view.first + at + bad);
        *exact = *exact && oclora_find_inexact_f16(piece, count) == count;
    }
    oclora_release(env, piece);
    return status;
}

/* Columns `first` on of the view, `count` of them, as rows. Writes run along a row, a cache line at
 * a time. */
static void gather(oclora_view view, uint32_t first, uint32_t count, float *out)
{
    float part[LINE][BLOCK];
    for (uint32_t i = 0; i < view.rows; i += LINE) {
        const uint32_t lines = view.rows - i < LINE ? view.rows - i : LINE;
        for (uint32_t k = 0; k < lines; k++) {
            const uint64_t index = view.first + (uint64_t)(i + k) * view.cols + first;
            oclora_widen(view.tensor->type, oclora_tensor_at(view.tensor, index), count, part[k]);
        }
        for (uint32_t j = 0; j < count; j++)
            for (uint32_t k = 0; k < lines; k++) out[(size_t)j * view.rows + i + k] = part[k][j];
    }
}

/* Few rows at a time where they are long, but whole blocks of q8_0 tensors. */
static uint32_t rows_at_once(oclora_view view, bool transpose)
{
    if (view.tensor->type == OCLORA_TYPE_Q8_0) return 32;
    const uint32_t length = transpose ? view.rows : view.cols, fit = 32 * PIECE / length;
    return fit == 0 ? 1 : fit < BLOCK ? fit : BLOCK;
}

static oclora_status convert(const oclora_env *env, const oclora_factor *factor, oclora_view view,
                             bool transpose, uint8_t *data, oclora_error *err)
{
    const uint32_t step = rows_at_once(view, transpose);
    oclora_status status = OCLORA_OK;
    float *values = oclora_alloc(env, (size_t)step * factor->cols, sizeof *values);
    if (values == NULL)
        return oclora_fail_memory(err, (size_t)step * factor->cols * sizeof *values, "values");
    for (uint32_t i = 0; i < factor->rows && status == OCLORA_OK; i += step) {
        const uint32_t count = factor->rows - i < step ? factor->rows - i : step;
        const uint64_t index = view.first + (uint64_t)i * view.cols;
        if (transpose)
            gather(view, i, count, values);
        else
            oclora_widen(view.tensor->type, oclora_tensor_at(view.tensor, index),
                         (size_t)count * view.cols, values);
        status = oclora_rows_narrow(factor, values, i, count, data, view.tensor->name, err);
    }
    oclora_release(env, values);
    return status;
}

/* Whether AUTO or the same type lets 16-bit values stay as they are. */
static bool is_kept(oclora_type type, uint32_t store)
{
    return (type == OCLORA_TYPE_F16 && (store == OCLORA_STORE_AUTO || store == OCLORA_STORE_F16)) ||
           (type == OCLORA_TYPE_BF16 && store == OCLORA_STORE_AUTO);
}

/* Checks the values and chooses the type they are stored as. */
static oclora_status choose(const oclora_env *env, oclora_view view, uint32_t store,
                            oclora_type *out, oclora_error *err)
{
    static const oclora_type types[] = {[OCLORA_STORE_F32] = OCLORA_TYPE_F32,
                                        [OCLORA_STORE_F16] = OCLORA_TYPE_F16,
                                        [OCLORA_STORE_Q8_0] = OCLORA_TYPE_Q8_0};
    bool exact = store == OCLORA_STORE_AUTO;
    if (is_16(view.tensor->type))
        OCLORA_TRY(check_16(view, err));
    else
        OCLORA_TRY(check_wide(env, view, &exact, err));
    *out = is_kept(view.tensor->type, store) ? view.tensor->type
           : store != OCLORA_STORE_AUTO      ? types[store]
           : exact                           ? OCLORA_TYPE_F16
                                             : OCLORA_TYPE_F32;
    return OCLORA_OK;
}

oclora_status oclora_image_factor_of(oclora_adapter_image *image, oclora_factor *out,
                                     oclora_view view, bool transpose, uint32_t store,
                                     oclora_error *err)
{
    OCLORA_TRY(oclora_tensor_check_type(view.tensor, err));
    oclora_factor factor = {0};
    factor.rows = transpose ? view.cols : view.rows;
    factor.cols = transpose ? view.rows : view.cols;
    if (factor.rows == 0 || factor.cols == 0 || factor.rows > OCLORA_DIM_MAX ||
        factor.cols > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s: a factor of %u x %u cannot be served", view.tensor->name,
                           (unsigned)factor.rows, (unsigned)factor.cols);
    OCLORA_TRY(choose(&image->env, view, store, &factor.type, err));
    const uint64_t row_bytes = oclora_factor_row_bytes(factor.type, factor.cols);
    uint8_t *data = oclora_alloc(&image->env, factor.rows, (size_t)row_bytes);
    if (data == NULL) return oclora_fail_memory(err, (size_t)(factor.rows * row_bytes), "factor");
    oclora_status status = OCLORA_OK;
    if (is_kept(view.tensor->type, store))
        move_16(view, transpose, data);
    else
        status = convert(&image->env, &factor, view, transpose, data, err);
    if (status != OCLORA_OK) {
        oclora_release(&image->env, data);
        return status;
    }
    OCLORA_TRY(oclora_image_adopt(image, &factor, data, err));
    *out = factor;
    return OCLORA_OK;
}
