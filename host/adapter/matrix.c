/* From tensors to factors: views are widened, checked, placed, and narrowed to the storage type. */
#include "host/adapter/image.h"
#include "host/adapter/number.h"

#include <string.h>

enum { BLOCK = 64, ROWS_AT_ONCE = 16 };

uint64_t oclora_tensor_elements(const oclora_file_tensor *tensor)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < tensor->n_dims; i++) count *= tensor->dims[i];
    return count;
}

oclora_status oclora_matrix_create(oclora_matrix *out, const oclora_env *env, uint64_t rows,
                                   uint64_t cols, oclora_error *err)
{
    if (rows == 0 || cols == 0 || rows > OCLORA_DIM_MAX || cols > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "a matrix of %llu x %llu cannot be served",
                           (unsigned long long)rows, (unsigned long long)cols);
    oclora_matrix matrix = {(uint32_t)rows, (uint32_t)cols, OCLORA_TYPE_COUNT, NULL};
    matrix.values = oclora_alloc(env, (size_t)(rows * cols), sizeof(float));
    if (matrix.values == NULL)
        return oclora_fail_memory(err, (size_t)(rows * cols * sizeof(float)), "factor values");
    *out = matrix;
    return OCLORA_OK;
}

void oclora_matrix_free(oclora_matrix *matrix, const oclora_env *env)
{
    oclora_release(env, matrix->values);
    memset(matrix, 0, sizeof *matrix);
}

static bool type_is_float(oclora_type type)
{
    return type == OCLORA_TYPE_F32 || type == OCLORA_TYPE_F16 || type == OCLORA_TYPE_BF16 ||
           type == OCLORA_TYPE_F64 || type == OCLORA_TYPE_Q8_0;
}

static const uint8_t *element_at(const oclora_file_tensor *tensor, uint64_t index)
{
    switch (tensor->type) {
    case OCLORA_TYPE_F64:
        return tensor->data + index * 8;
    case OCLORA_TYPE_F32:
        return tensor->data + index * 4;
    case OCLORA_TYPE_Q8_0:
        return tensor->data + index / 32 * 34; /* views begin at whole blocks */
    default:
        return tensor->data + index * 2;
    }
}

static oclora_status check_type(const oclora_file_tensor *tensor, oclora_error *err)
{
    if (type_is_float(tensor->type) && tensor->data != NULL) return OCLORA_OK;
    return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE,
                       "tensor %s: factors must be f32, f16, bf16, f64 or q8_0", tensor->name);
}

static oclora_status fail_not_finite(oclora_error *err, const oclora_file_tensor *tensor,
                                     uint64_t index)
{
    return oclora_fail(err, OCLORA_NOT_FINITE, "tensor %s holds NaN or infinity at element %llu",
                       tensor->name, (unsigned long long)index);
}

/* Widens view rows into `out` and checks them. */
static oclora_status read_rows(oclora_view view, uint32_t first, uint32_t count, float *out,
                               oclora_error *err)
{
    uint64_t index = view.first + (uint64_t)first * view.cols;
    size_t total = (size_t)count * view.cols;
    oclora_widen(view.tensor->type, element_at(view.tensor, index), total, out);
    size_t bad = oclora_find_not_finite(out, total);
    return bad == total ? OCLORA_OK : fail_not_finite(err, view.tensor, index + bad);
}

static void merge_source(oclora_matrix *matrix, oclora_type type)
{
    if (type != OCLORA_TYPE_F16 && type != OCLORA_TYPE_BF16) type = OCLORA_TYPE_F32;
    bool first = matrix->source == OCLORA_TYPE_COUNT;
    matrix->source = first || matrix->source == type ? type : OCLORA_TYPE_F32;
}

/* Places `count` widened rows, the first being row `at` of the view. */
static void place_rows(oclora_matrix *matrix, const float *rows, uint32_t at, uint32_t count,
                       uint32_t cols, float *target, bool transpose)
{
    size_t stride = matrix->cols;
    if (!transpose) {
        for (uint32_t i = 0; i < count; i++)
            memcpy(target + (at + i) * stride, rows + (size_t)i * cols, cols * sizeof *rows);
        return;
    }
    for (uint32_t j = 0; j < cols; j++)
        for (uint32_t i = 0; i < count; i++)
            target[j * stride + at + i] = rows[(size_t)i * cols + j];
}

oclora_status oclora_matrix_put(oclora_matrix *matrix, const oclora_env *env, oclora_view view,
                                uint32_t row, uint32_t col, bool transpose, oclora_error *err)
{
    OCLORA_TRY(check_type(view.tensor, err));
    merge_source(matrix, view.tensor->type);
    uint32_t step = view.rows < ROWS_AT_ONCE ? view.rows : ROWS_AT_ONCE;
    float *rows = oclora_alloc(env, (size_t)view.cols * step, sizeof *rows);
    if (rows == NULL)
        return oclora_fail_memory(err, (size_t)view.cols * step * 4, "rows of values");
    float *target = matrix->values + (size_t)row * matrix->cols + col;
    oclora_status status = OCLORA_OK;
    for (uint32_t i = 0; i < view.rows && status == OCLORA_OK; i += step) {
        uint32_t count = view.rows - i < step ? view.rows - i : step;
        status = read_rows(view, i, count, rows, err);
        if (status == OCLORA_OK) place_rows(matrix, rows, i, count, view.cols, target, transpose);
    }
    oclora_release(env, rows);
    return status;
}

static oclora_type choose_type(const oclora_matrix *matrix, uint32_t store)
{
    size_t total = (size_t)matrix->rows * matrix->cols;
    switch (store) {
    case OCLORA_STORE_F32:
        return OCLORA_TYPE_F32;
    case OCLORA_STORE_F16:
        return OCLORA_TYPE_F16;
    case OCLORA_STORE_Q8_0:
        return OCLORA_TYPE_Q8_0;
    default:
        if (matrix->source == OCLORA_TYPE_F16 || matrix->source == OCLORA_TYPE_BF16)
            return matrix->source;
        return oclora_find_inexact_f16(matrix->values, total) == total ? OCLORA_TYPE_F16
                                                                       : OCLORA_TYPE_F32;
    }
}

static size_t narrow_row(oclora_type type, const float *values, uint32_t cols, void *out)
{
    switch (type) {
    case OCLORA_TYPE_F16:
        return oclora_narrow_f16(values, cols, out);
    case OCLORA_TYPE_BF16:
        return oclora_narrow_bf16(values, cols, out);
    case OCLORA_TYPE_Q8_0:
        return oclora_narrow_q8_0(values, cols, out);
    default:
        memcpy(out, values, cols * sizeof *values);
        return cols;
    }
}

oclora_status oclora_image_factor(oclora_adapter_image *image, oclora_factor *out,
                                  const oclora_matrix *matrix, uint32_t store, const char *what,
                                  oclora_error *err)
{
    oclora_factor factor = {choose_type(matrix, store), matrix->rows, matrix->cols, NULL, {0}};
    uint64_t row_bytes = oclora_factor_row_bytes(factor.type, factor.cols);
    uint8_t *data = oclora_alloc(&image->env, matrix->rows, (size_t)row_bytes);
    if (data == NULL) return oclora_fail_memory(err, (size_t)(matrix->rows * row_bytes), "factor");
    for (uint32_t i = 0; i < matrix->rows; i++) {
        const float *row = matrix->values + (size_t)i * matrix->cols;
        size_t done = narrow_row(factor.type, row, matrix->cols, data + i * row_bytes);
        if (done != matrix->cols) {
            oclora_release(&image->env, data);
            return oclora_fail(err, OCLORA_VALUE_OVERFLOW,
                               "%s: value %g of rank row %u overflows the storage type; store it "
                               "as f32",
                               what, (double)row[done], (unsigned)i);
        }
    }
    OCLORA_TRY(oclora_image_adopt(image, &factor, data, err));
    *out = factor;
    return OCLORA_OK;
}

/* Exponent all ones: NaN or infinity, in f16 and bf16 alike with the right mask. */
static size_t find_bad_16(const uint16_t *values, size_t count, uint16_t mask)
{
    size_t i = 0;
    for (; i + 256 <= count; i += 256) {
        uint16_t bad = 0;
        for (size_t j = 0; j < 256; j++) bad |= (values[i + j] & mask) == mask;
        if (bad) break;
    }
    while (i < count && (values[i] & mask) != mask) i++;
    return i;
}

/* Square tiles keep both sides of the transpose in cache; writes run along the inner loop, since
 * with a power of two for `rows` strided writes would all fall into the same cache sets. */
static void transpose_16(const uint16_t *in, uint32_t rows, uint32_t cols, uint16_t *out)
{
    for (uint32_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (uint32_t c0 = 0; c0 < cols; c0 += BLOCK)
            for (uint32_t c = c0; c < cols && c < c0 + BLOCK; c++)
                for (uint32_t r = r0; r < rows && r < r0 + BLOCK; r++)
                    out[(size_t)c * rows + r] = in[(size_t)r * cols + c];
}

/* 16-bit values that keep their type go from the file to the factor in one pass. */
static oclora_status move_16(oclora_adapter_image *image, oclora_factor *factor, oclora_view view,
                             bool transpose, oclora_error *err)
{
    size_t total = (size_t)view.rows * view.cols;
    const uint8_t *raw = element_at(view.tensor, view.first);
    bool aligned = (uintptr_t)raw % sizeof(uint16_t) == 0;
    uint16_t *data = oclora_alloc(&image->env, total, sizeof *data);
    uint16_t *copy = aligned ? NULL : oclora_alloc(&image->env, total, sizeof *copy);
    oclora_status status = OCLORA_OK;
    if (data == NULL || (!aligned && copy == NULL))
        status = oclora_fail_memory(err, total * sizeof *data, "factor");
    if (status == OCLORA_OK && !aligned) memcpy(copy, raw, total * sizeof *copy);
    const uint16_t *in = aligned ? (const uint16_t *)(const void *)raw : copy;
    if (status == OCLORA_OK) {
        uint16_t mask = view.tensor->type == OCLORA_TYPE_F16 ? 0x7c00 : 0x7f80;
        size_t bad = find_bad_16(in, total, mask);
        if (bad != total) status = fail_not_finite(err, view.tensor, view.first + bad);
    }
    if (status == OCLORA_OK && transpose)
        transpose_16(in, view.rows, view.cols, data);
    else if (status == OCLORA_OK)
        memcpy(data, in, total * sizeof *data);
    oclora_release(&image->env, copy);
    if (status == OCLORA_OK) return oclora_image_adopt(image, factor, data, err);
    oclora_release(&image->env, data);
    return status;
}

oclora_status oclora_image_factor_of(oclora_adapter_image *image, oclora_factor *out,
                                     oclora_view view, bool transpose, uint32_t store,
                                     oclora_error *err)
{
    OCLORA_TRY(check_type(view.tensor, err));
    uint32_t rows = transpose ? view.cols : view.rows, cols = transpose ? view.rows : view.cols;
    if (rows == 0 || cols == 0 || rows > OCLORA_DIM_MAX || cols > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s: a factor of %u x %u cannot be "
                           "served",
                           view.tensor->name, (unsigned)rows, (unsigned)cols);
    oclora_type type = view.tensor->type;
    bool kept =
        (type == OCLORA_TYPE_F16 && (store == OCLORA_STORE_AUTO || store == OCLORA_STORE_F16)) ||
        (type == OCLORA_TYPE_BF16 && store == OCLORA_STORE_AUTO);
    if (kept) {
        oclora_factor factor = {type, rows, cols, NULL, {0}};
        OCLORA_TRY(move_16(image, &factor, view, transpose, err));
        *out = factor;
        return OCLORA_OK;
    }
    oclora_matrix matrix = {0};
    OCLORA_TRY(oclora_matrix_create(&matrix, &image->env, rows, cols, err));
    oclora_status status = oclora_matrix_put(&matrix, &image->env, view, 0, 0, transpose, err);
    if (status == OCLORA_OK)
        status = oclora_image_factor(image, out, &matrix, store, view.tensor->name, err);
    oclora_matrix_free(&matrix, &image->env);
    return status;
}

oclora_status oclora_vector_of(float **out, const oclora_env *env, const oclora_file_tensor *tensor,
                               uint64_t count, oclora_error *err)
{
    OCLORA_TRY(check_type(tensor, err));
    if (oclora_tensor_elements(tensor) != count || count == 0 ||
        count > (uint64_t)OCLORA_RANK_MAX * OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s has %llu values where %llu are "
                           "needed",
                           tensor->name, (unsigned long long)oclora_tensor_elements(tensor),
                           (unsigned long long)count);
    float *values = oclora_alloc(env, (size_t)count, sizeof *values);
    if (values == NULL) return oclora_fail_memory(err, (size_t)count * sizeof *values, "vector");
    oclora_widen(tensor->type, tensor->data, (size_t)count, values);
    size_t bad = oclora_find_not_finite(values, (size_t)count);
    if (bad != count) {
        oclora_release(env, values);
        return fail_not_finite(err, tensor, bad);
    }
    *out = values;
    return OCLORA_OK;
}
