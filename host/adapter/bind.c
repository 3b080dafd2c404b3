#include "host/adapter/bind.h"
#include "host/adapter/image.h"
#include "host/adapter/number.h"

#include <math.h>
#include <string.h>

static oclora_status cut_factor(oclora_adapter_image *image, oclora_factor *factor, uint32_t cols,
                                oclora_error *err)
{
    if (factor->cols == cols) return OCLORA_OK;
    oclora_factor cut = *factor;
    cut.cols = cols;
    uint64_t from = oclora_factor_row_bytes(factor->type, factor->cols);
    uint64_t to = oclora_factor_row_bytes(cut.type, cols);
    uint8_t *data = oclora_alloc(&image->env, cut.rows, (size_t)to);
    if (data == NULL) return oclora_fail_memory(err, (size_t)(cut.rows * to), "factor");
    for (uint32_t i = 0; i < cut.rows; i++)
        memcpy(data + i * to, (const uint8_t *)factor->data + i * from, (size_t)to);
    if (cut.type == OCLORA_TYPE_Q8_0 && cols % 32 != 0) /* padding is zero by contract */
        for (uint32_t i = 0; i < cut.rows; i++)
            memset(data + (i + 1) * to - (32 - cols % 32), 0, 32 - cols % 32);
    OCLORA_TRY(oclora_image_adopt(image, &cut, data, err));
    *factor = cut;
    return OCLORA_OK;
}

oclora_status oclora_module_bind(oclora_adapter_image *image, oclora_module *module, uint32_t d_in,
                                 uint32_t d_out, oclora_error *err)
{
    bool fits = (module->d_in == 0 || module->d_in == d_in) &&
                (module->d_out == 0 || module->d_out == d_out) && d_in != 0 && d_out != 0;
    if (fits && module->rank != 0)
        fits = d_in % module->group == 0 && module->a.cols >= d_in / module->group;
    if (!fits)
        return oclora_fail(
            err, OCLORA_SHAPE_MISMATCH,
            "module %s maps %u inputs to %u outputs, the base weight %u to %u", module->name,
            (unsigned)(module->d_in != 0 ? module->d_in : module->a.cols * module->group),
            (unsigned)(module->d_out != 0 ? module->d_out : d_out), (unsigned)d_in,
            (unsigned)d_out);
    if (module->rank != 0) OCLORA_TRY(cut_factor(image, &module->a, d_in / module->group, err));
    module->d_in = d_in;
    module->d_out = d_out;
    return OCLORA_OK;
}

static void widen_row(const oclora_factor *factor, uint32_t row, float *out)
{
    uint64_t bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    oclora_widen(factor->type, (const uint8_t *)factor->data + row * bytes, factor->cols, out);
}

/* ||w + sum_r b_r scale_r a_r||, all terms in double, ranks in order. */
static double row_norm(const oclora_module *module, const float *w, const float *a, const float *b,
                       uint32_t row, double *sum)
{
    for (uint32_t i = 0; i < module->d_in; i++) sum[i] = (double)w[i];
    for (uint32_t r = 0; r < module->rank; r++) {
        double factor = (double)module->scale[r] * (double)b[(size_t)r * module->d_out + row];
        const float *values = a + (size_t)r * module->d_in;
        for (uint32_t i = 0; i < module->d_in; i++) sum[i] += factor * (double)values[i];
    }
    double square = 0.0;
    for (uint32_t i = 0; i < module->d_in; i++) square += sum[i] * sum[i];
    return sqrt(square);
}

static oclora_status resolve_rows(oclora_module *module, const float *w, uint32_t first,
                                  uint32_t count, float *a, float *b, double *sum,
                                  oclora_error *err)
{
    for (uint32_t r = 0; r < module->rank; r++) {
        widen_row(&module->a, r, a + (size_t)r * module->d_in);
        widen_row(&module->b, r, b + (size_t)r * module->d_out);
    }
    for (uint32_t i = 0; i < count; i++) {
        double norm = row_norm(module, w + (size_t)i * module->d_in, a, b, first + i, sum);
        float ratio = (float)((double)module->magnitude[first + i] / norm);
        if (!isfinite(ratio))
            return oclora_fail(err, OCLORA_NOT_FINITE,
                               "module %s: row %u of the adapted weight has norm %g", module->name,
                               (unsigned)(first + i), norm);
        module->u[first + i] = ratio;
        module->beta[first + i] = ratio;
    }
    return OCLORA_OK;
}

static oclora_status allocate_diagonals(oclora_adapter_image *image, oclora_module *module,
                                        oclora_error *err)
{
    if (module->u == NULL) module->u = oclora_alloc(&image->env, module->d_out, sizeof(float));
    if (module->beta == NULL)
        module->beta = oclora_alloc(&image->env, module->d_out, sizeof(float));
    if (module->u == NULL || module->beta == NULL)
        return oclora_fail_memory(err, module->d_out * sizeof(float), "row norms");
    return OCLORA_OK;
}

oclora_status oclora_dora_resolve(oclora_adapter_image *image, oclora_module *module,
                                  const float *w, uint32_t first, uint32_t count, oclora_error *err)
{
    if (module->magnitude == NULL || module->a.cols != module->d_in || module->group != 1 ||
        module->core != NULL || first > module->d_out || count > module->d_out - first)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "module %s: no norms to resolve there",
                           module->name);
    OCLORA_TRY(allocate_diagonals(image, module, err));
    size_t a_size = (size_t)module->rank * module->d_in,
           b_size = (size_t)module->rank * module->d_out;
    float *factors = oclora_alloc(&image->env, a_size + b_size, sizeof *factors);
    double *sum = oclora_alloc(&image->env, module->d_in, sizeof *sum);
    oclora_status status =
        factors != NULL && sum != NULL
            ? resolve_rows(module, w, first, count, factors, factors + a_size, sum, err)
            : oclora_fail_memory(err, (a_size + b_size) * sizeof *factors, "DoRA norms");
    oclora_release(&image->env, factors);
    oclora_release(&image->env, sum);
    return status;
}

oclora_status oclora_bias_resolve(oclora_adapter_image *image, oclora_module *module,
                                  const float *bias, oclora_error *err)
{
    if (!module->scales_bias || bias == NULL || module->u == NULL) return OCLORA_OK;
    if (module->c == NULL) module->c = oclora_alloc(&image->env, module->d_out, sizeof(float));
    if (module->c == NULL)
        return oclora_fail_memory(err, module->d_out * sizeof(float), "bias share");
    for (uint32_t i = 0; i < module->d_out; i++)
        module->c[i] = (float)(((double)module->u[i] - 1.0) * (double)bias[i]);
    return OCLORA_OK;
}
