/* From tensors to factors: views are widened, checked, placed, and narrowed to the storage type. */
#include "host/adapter/convert.h"
#include "host/adapter/number.h"

#include <string.h>

enum { ROWS_AT_ONCE = 16 };

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

const uint8_t *oclora_tensor_at(const oclora_file_tensor *tensor, uint64_t index)
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

oclora_status oclora_tensor_check_type(const oclora_file_tensor *tensor, oclora_error *err)
{
    if (type_is_float(tensor->type) && tensor->data != NULL) return OCLORA_OK;
    return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE,
                       "tensor %s: factors must be f32, f16, bf16, f64 or q8_0", tensor->name);
}

oclora_status oclora_fail_not_finite(oclora_error *err, const oclora_file_tensor *tensor,
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
    oclora_widen(view.tensor->type, oclora_tensor_at(view.tensor, index), total, out);
    size_t bad = oclora_find_not_finite(out, total);
    return bad == total ? OCLORA_OK : oclora_fail_not_finite(err, view.tensor, index + bad);
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
    OCLORA_TRY(oclora_tensor_check_type(view.tensor, err));
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

oclora_status oclora_rows_narrow(const oclora_factor *factor, const float *values, uint32_t first,
                                 uint32_t count, uint8_t *data, const char *what, oclora_error *err)
{
    const uint64_t row_bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    for (uint32_t i = 0; i < count; i++) {
        const float *row = values + (size_t)i * factor->cols;
        size_t done = narrow_row(factor->type, row, factor->cols, data + (first + i) * row_bytes);
        if (done != factor->cols)
            return oclora_fail(err, OCLORA_VALUE_OVERFLOW,
                               "%s: value %g of rank row %u overflows the storage type; store it "
                               "as f32",
                               what, (double)row[done], (unsigned)(first + i));
    }
    return OCLORA_OK;
}

oclora_status oclora_image_factor(oclora_adapter_image *image, oclora_factor *out,
                                  const oclora_matrix *matrix, uint32_t store, const char *what,
                                  oclora_error *err)
{
    oclora_factor factor = {choose_type(matrix, store), matrix->rows, matrix->cols, NULL, {0}};
    uint64_t row_bytes = oclora_factor_row_bytes(factor.type, factor.cols);
    uint8_t *data = oclora_alloc(&image->env, matrix->rows, (size_t)row_bytes);
    if (data == NULL) return oclora_fail_memory(err, (size_t)(matrix->rows * row_bytes), "factor");
    oclora_status status =
        oclora_rows_narrow(&factor, matrix->values, 0, matrix->rows, data, what, err);
    if (status != OCLORA_OK) {
        oclora_release(&image->env, data);
        return status;
    }
    OCLORA_TRY(oclora_image_adopt(image, &factor, data, err));
    *out = factor;
    return OCLORA_OK;
}

oclora_status oclora_vector_of(float **out, const oclora_env *env, const oclora_file_tensor *tensor,
                               uint64_t count, oclora_error *err)
{
    OCLORA_TRY(oclora_tensor_check_type(tensor, err));
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
        return oclora_fail_not_finite(err, tensor, bad);
    }
    *out = values;
    return OCLORA_OK;
}
