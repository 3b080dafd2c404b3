/* peft.c - terms back to the files PEFT writes. What is read from them again must be the same terms
 * bit by bit; where PEFT cannot say that, the adapter is refused. */
#include "host/adapter/number.h"
#include "tools/convert/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct peft {
    const oclora_adapter_image *image;
    oclora_tensors list;
    json_t *config;
} peft;

static oclora_status refuse(oclora_error *err, const char *module, const char *why)
{
    return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s: %s; keep the compact file", module,
                       why);
}

static oclora_status add(peft *p, const char *module, const char *part, const char *dtype,
                         uint64_t rows, uint64_t cols, const void *data, uint64_t bytes,
                         oclora_error *err)
{
    char name[1024];
    snprintf(name, sizeof name, "base_model.%s%s%s", module[0] != '\0' ? "model." : "", module,
             part);
    return oclora_tensors_add(&p->list, name, dtype, rows, cols, data, bytes, err);
}

/* A factor in its own type, or its transpose; q8_0 is widened. */
static oclora_status add_factor(peft *p, const char *module, const char *part,
                                const oclora_factor *f, bool transpose, oclora_error *err)
{
    const size_t count = (size_t)f->rows * f->cols;
    const bool wide = f->type == OCLORA_TYPE_F32 || f->type == OCLORA_TYPE_Q8_0;
    const size_t size = wide ? 4 : 2;
    const uint64_t row_bytes = oclora_factor_row_bytes(f->type, f->cols);
    uint8_t *plain = malloc(count * size + 1), *out = malloc(count * size + 1);
    float *row = malloc(((size_t)f->cols + 32) * sizeof *row);
    oclora_status status = OCLORA_OK;
    if (plain == NULL || out == NULL || row == NULL)
        status = oclora_fail_memory(err, count * size, "a factor");
    for (uint32_t i = 0; i < f->rows && status == OCLORA_OK; i++) {
        const uint8_t *from = (const uint8_t *)f->data + i * row_bytes;
        if (f->type == OCLORA_TYPE_Q8_0) oclora_widen(f->type, from, f->cols, row);
        memcpy(plain + (size_t)i * f->cols * size,
               f->type == OCLORA_TYPE_Q8_0 ? (const void *)row : from, f->cols * size);
    }
    for (uint32_t i = 0; i < f->rows && status == OCLORA_OK && transpose; i++)
        for (uint32_t j = 0; j < f->cols; j++)
            memcpy(out + ((size_t)j * f->rows + i) * size, plain + ((size_t)i * f->cols + j) * size,
                   size);
    if (status == OCLORA_OK)
        status = add(p, module, part,
                     wide                         ? "F32"
                     : f->type == OCLORA_TYPE_F16 ? "F16"
                                                  : "BF16",
                     transpose ? f->cols : f->rows, transpose ? f->rows : f->cols,
                     transpose ? out : plain, count * size, err);
    free(plain);
    free(out);
    free(row);
    return status;
}

static oclora_status add_transposed(peft *p, const char *module, const char *part,
                                    const float *values, uint32_t rows, uint32_t cols,
                                    oclora_error *err)
{
    const oclora_factor view = {OCLORA_TYPE_F32, rows, cols, (void *)(uintptr_t)values, {0}};
    return add_factor(p, module, part, &view, true, err);
}

/* --- the LoRA family --- */

/* The alpha of which PEFT's arithmetic makes exactly this scale. */
static bool find_alpha(double scale, uint32_t rank, double factor, double *alpha)
{
    double up = scale / factor * rank, down = up;
    for (int step = 0; step < 8; step++) {
        *alpha = up;
        if ((double)(float)(up / rank * factor) == scale) return true;
        *alpha = down;
        if ((double)(float)(down / rank * factor) == scale) return true;
        up = nextafter(up, INFINITY);
        down = nextafter(down, -INFINITY);
    }
    return false;
}

/* The bias of which `scale` makes exactly c. */
static bool find_bias(double scale, float c, float *bias)
{
    const float about = (float)((double)c / scale);
    float up = about, down = about;
    for (int step = 0; step < 8; step++) {
        *bias = up;
        if ((float)(scale * (double)up) == c) return true;
        *bias = down;
        if ((float)(scale * (double)down) == c) return true;
        up = nextafterf(up, INFINITY);
        down = nextafterf(down, -INFINITY);
    }
    return false;
}

static oclora_status add_bias(peft *p, const oclora_module *m, oclora_error *err)
{
    float *bias = calloc(m->d_out, sizeof *bias);
    oclora_status status = bias != NULL ? OCLORA_OK : oclora_fail_memory(err, m->d_out * 4, "bias");
    for (uint32_t i = 0; i < m->d_out && status == OCLORA_OK && m->c != NULL; i++)
        if (!find_bias((double)m->scale[0], m->c[i], &bias[i]))
            status = refuse(err, m->name, "no bias gives exactly this one once it is scaled");
    if (status == OCLORA_OK)
        status =
            add(p, m->name, ".lora_B.bias", "F32", 0, m->d_out, bias, m->d_out * sizeof *bias, err);
    free(bias);
    return status;
}

static oclora_status check_lora(const oclora_module *m, const oclora_module *first,
                                oclora_error *err)
{
    if (m->rank == 0 || m->n_mul != 0 || m->core != NULL || m->router.kind != OCLORA_ROUTER_NONE ||
        (m->magnitude == NULL && (m->u != NULL || m->beta != NULL)))
        return refuse(err, m->name, "PEFT's LoRA cannot hold it");
    for (uint32_t i = 1; i < m->rank; i++)
        if (m->scale[i] != m->scale[0])
            return refuse(err, m->name, "its ranks have different scales, PEFT's LoRA has one");
    if (m->group != first->group || (m->magnitude != NULL) != (first->magnitude != NULL))
        return refuse(err, m->name, "PEFT has one group size and one use_dora for all modules");
    if (m->c != NULL && (m->group != 1 || m->magnitude != NULL))
        return refuse(err, m->name, "PEFT has no bias together with this kind");
    return OCLORA_OK;
}

static bool any_bias(const oclora_adapter_image *image)
{
    for (size_t i = 0; i < image->n_modules; i++)
        if (image->modules[i].c != NULL) return true;
    return false;
}

static void escape(const char *name, char *out, size_t room)
{
    size_t at = 0;
    for (; *name != '\0' && at + 3 < room; name++) {
        if (strchr(".\\+*?[](){}|^$", *name) != NULL) out[at++] = '\\';
        out[at++] = *name;
    }
    out[at] = '\0';
}

static int by_length(const void *a, const void *b)
{
    const size_t x = strlen((*(const oclora_module *const *)a)->name);
    const size_t y = strlen((*(const oclora_module *const *)b)->name);
    return x > y ? -1 : x < y;
}

/* A pattern for every module, the longest names first: the first match wins, and a name may be the
 * end of another. */
static oclora_status lora_patterns(peft *p, oclora_error *err)
{
    const oclora_adapter_image *image = p->image;
    const oclora_module **sorted = calloc(image->n_modules, sizeof *sorted);
    json_t *ranks = json_object(), *alphas = json_object();
    oclora_status status = OCLORA_OK;
    if (sorted == NULL) status = oclora_fail_memory(err, image->n_modules * 8, "patterns");
    for (size_t i = 0; i < image->n_modules && sorted != NULL; i++) sorted[i] = &image->modules[i];
    if (sorted != NULL) qsort(sorted, image->n_modules, sizeof *sorted, by_length);
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++) {
        const oclora_module *m = sorted[i];
        char key[1024];
        double alpha = 0.0;
        const double groups = (double)m->d_in / m->group / m->group;
        if (!find_alpha((double)m->scale[0], m->rank, m->group > 1 ? groups : 1.0, &alpha))
            status = refuse(err, m->name, "no lora_alpha gives exactly this scale");
        escape(m->name, key, sizeof key);
        json_object_set_new(ranks, key, json_integer(m->rank));
        json_object_set_new(alphas, key, json_real(alpha));
    }
    json_object_set_new(p->config, "rank_pattern", ranks);
    json_object_set_new(p->config, "alpha_pattern", alphas);
    free(sorted);
    return status;
}

static oclora_status write_lora(peft *p, oclora_error *err)
{
    const oclora_module *first = &p->image->modules[0];
    const bool bias = any_bias(p->image);
    for (size_t i = 0; i < p->image->n_modules; i++) {
        const oclora_module *m = &p->image->modules[i];
        OCLORA_TRY(check_lora(m, first, err));
        OCLORA_TRY(add_factor(p, m->name, ".lora_A.weight", &m->a, false, err));
        OCLORA_TRY(add_factor(p, m->name, ".lora_B.weight", &m->b, true, err));
        if (bias) OCLORA_TRY(add_bias(p, m, err));
        if (m->magnitude != NULL)
            OCLORA_TRY(add(p, m->name, ".lora_magnitude_vector", "F32", 0, m->d_out, m->magnitude,
                           m->d_out * sizeof *m->magnitude, err));
    }
    json_object_set_new(p->config, "peft_type", json_string("LORA"));
    json_object_set_new(p->config, "r", json_integer(first->rank));
    json_object_set_new(p->config, "lora_alpha", json_integer(first->rank));
    json_object_set_new(p->config, "lora_bias", json_boolean(bias));
    json_object_set_new(p->config, "use_dora", json_boolean(first->magnitude != NULL));
    if (first->group > 1) {
        json_object_set_new(p->config, "use_qalora", json_true());
        json_object_set_new(p->config, "qalora_group_size", json_integer(first->group));
    }
    return lora_patterns(p, err);
}

/* --- VeRA --- */

/* The first rows-major prefix of `widest` must be the other's B. */
static bool is_slice(const oclora_factor *other, const oclora_factor *widest)
{
    if (other->type != widest->type || other->type == OCLORA_TYPE_Q8_0 ||
        other->rows != widest->rows)
        return false;
    const uint64_t row = oclora_factor_row_bytes(other->type, other->cols);
    const uint64_t whole = oclora_factor_row_bytes(widest->type, widest->cols);
    for (uint32_t i = 0; i < other->rows; i++)
        if (memcmp((const uint8_t *)other->data + i * row,
                   (const uint8_t *)widest->data + i * whole, (size_t)row) != 0)
            return false;
    return true;
}

static oclora_status write_vera(peft *p, oclora_error *err)
{
    const oclora_module *widest = &p->image->modules[0];
    for (size_t i = 0; i < p->image->n_modules; i++)
        if (p->image->modules[i].d_out > widest->d_out) widest = &p->image->modules[i];
    OCLORA_TRY(add_factor(p, "", "vera_A", &widest->a, false, err));
    OCLORA_TRY(add_factor(p, "", "vera_B", &widest->b, true, err));
    for (size_t i = 0; i < p->image->n_modules; i++) {
        const oclora_module *m = &p->image->modules[i];
        if (m->rank == 0 || m->beta == NULL || m->a.data != widest->a.data ||
            (m != widest && !is_slice(&m->b, &widest->b)))
            return refuse(err, m->name, "it does not share the one pair that VeRA has");
        OCLORA_TRY(
            add(p, m->name, ".vera_lambda_d", "F32", 0, m->rank, m->scale, m->rank * 4, err));
        OCLORA_TRY(
            add(p, m->name, ".vera_lambda_b", "F32", 0, m->d_out, m->beta, m->d_out * 4, err));
    }
    json_object_set_new(p->config, "peft_type", json_string("VERA"));
    json_object_set_new(p->config, "r", json_integer(widest->rank));
    json_object_set_new(p->config, "save_projection", json_true());
    return OCLORA_OK;
}

/* --- HiRA, IA3 --- */

static bool all_ones(const float *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (values[i] != 1.0f) return false;
    return true;
}

static oclora_status write_hira(peft *p, oclora_error *err)
{
    json_t *ranks = json_object();
    json_object_set_new(p->config, "rank_pattern", ranks);
    for (size_t i = 0; i < p->image->n_modules; i++) {
        const oclora_module *m = &p->image->modules[i];
        char key[1024];
        if (m->n_mul < 2 || m->mul_u == NULL || m->mul_v == NULL || !all_ones(m->mul_u, m->d_out) ||
            !all_ones(m->mul_v, m->d_in))
            return refuse(err, m->name, "it does not begin with the plain base product");
        const uint32_t r = m->n_mul - 1;
        OCLORA_TRY(add(p, m->name, ".hira_A", "F32", r, m->d_in, m->mul_v + m->d_in,
                       (uint64_t)r * m->d_in * 4, err));
        OCLORA_TRY(add_transposed(p, m->name, ".hira_B", m->mul_u + m->d_out, r, m->d_out, err));
        escape(m->name, key, sizeof key);
        json_object_set_new(ranks, key, json_integer(r));
    }
    json_object_set_new(p->config, "peft_type", json_string("HIRA"));
    json_object_set_new(p->config, "r", json_integer(p->image->modules[0].n_mul - 1));
    return OCLORA_OK;
}

static oclora_status write_ia3(peft *p, oclora_error *err)
{
    json_t *feedforward = json_array();
    json_object_set_new(p->config, "peft_type", json_string("IA3"));
    json_object_set_new(p->config, "feedforward_modules", feedforward);
    for (size_t i = 0; i < p->image->n_modules; i++) {
        const oclora_module *m = &p->image->modules[i];
        if (m->rank == 0 && m->n_mul == 1 && m->mul_u == NULL && m->mul_v != NULL) {
            json_array_append_new(feedforward, json_string(m->name));
            OCLORA_TRY(add(p, m->name, ".ia3_l", "F32", 1, m->d_in, m->mul_v, m->d_in * 4, err));
        } else if (m->rank == 0 && m->n_mul == 0 && m->u != NULL && m->scales_bias) {
            OCLORA_TRY(add(p, m->name, ".ia3_l", "F32", m->d_out, 1, m->u, m->d_out * 4, err));
        } else {
            return refuse(err, m->name, "PEFT's IA3 cannot hold it");
        }
    }
    return OCLORA_OK;
}

static oclora_status fill(peft *p, oclora_error *err)
{
    switch (p->image->kind) {
    case OCLORA_KIND_LORA:
    case OCLORA_KIND_RSLORA:
    case OCLORA_KIND_DORA:
    case OCLORA_KIND_QALORA:
    case OCLORA_KIND_BORA: /* a member of a set is a plain LoRA */
    case OCLORA_KIND_DLP_LORA:
    case OCLORA_KIND_XLORA_STATIC:
        return write_lora(p, err);
    case OCLORA_KIND_VERA:
        return write_vera(p, err);
    case OCLORA_KIND_HIRA:
        return write_hira(p, err);
    case OCLORA_KIND_IA3:
        return write_ia3(p, err);
    default:
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "PEFT has no class for this kind: keep the compact file");
    }
}

oclora_status oclora_write_peft(const char *folder, const oclora_adapter_image *image,
                                oclora_error *err)
{
    peft p = {.image = image};
    json_t *targets = json_array();
    if (image->naming != OCLORA_NAMING_PEFT)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the adapter has GGUF names and their order of rows, which PEFT does "
                           "not know");
    for (size_t i = 0; i < image->n_modules; i++)
        json_array_append_new(targets, json_string(image->modules[i].name));
    p.config = json_pack("{s:o,s:s,s:b,s:n,s:n}", "target_modules", targets, "bias", "none",
                         "inference_mode", 1, "task_type", "base_model_name_or_path");
    oclora_status status =
        p.config != NULL ? fill(&p, err) : oclora_fail_memory(err, 0, "adapter_config.json");
    if (status == OCLORA_OK) status = oclora_write_adapter(folder, p.config, &p.list, err);
    json_decref(p.config);
    oclora_tensors_free(&p.list);
    return status;
}
