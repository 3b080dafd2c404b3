/* Kinds with a router inside every layer: MeteoRA and conditional MixLoRA. */
#include "host/adapter/loader.h"

#include <math.h>
#include <string.h>

enum { METEORA_A, METEORA_B, METEORA_GATE, EXPERTS_MAX = 256, TOP_K_MAX = 255 };
enum { MIX_A, MIX_B, MIX_GATE_A, MIX_GATE_B, MIX_EXTRA_B, MIX_EXTRA_PAIR };

/* --- MeteoRA: experts stacked in one pair, top-k per row --- */

/* A gate decides, so it is never rounded: AUTO keeps its values exactly. */
static oclora_status read_gate(oclora_load *load, const oclora_group *group, oclora_factor *gate,
                               uint32_t part, uint32_t rows, uint32_t cols, oclora_error *err)
{
    const oclora_file_tensor *tensor;
    oclora_view view;
    OCLORA_TRY(oclora_group_need(load, group, part, 0, &tensor, err));
    OCLORA_TRY(oclora_view_shaped(tensor, rows, cols, &view, err));
    return oclora_image_factor_of(load->image, gate, view, false, OCLORA_STORE_AUTO, err);
}

/* A field of the config that is one number, or an object with one per adapter in `adapters`' order.
 */
static oclora_status named_item(const oclora_config *config, const char *key, size_t index,
                                double *value, oclora_error *err)
{
    const json_t *field = json_object_get(config->root, key);
    if (!json_is_object(field)) return oclora_config_item(config, key, index, value, err);
    const char *name =
        json_string_value(json_array_get(json_object_get(config->root, "adapters"), index));
    const json_t *item = name != NULL ? json_object_get(field, name) : NULL;
    if (!json_is_number(item))
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "adapter_config.json: %s has no number for adapter %zu", key, index);
    *value = json_number_value(item);
    return OCLORA_OK;
}

/* Expert i owns rank / n rows; its scale is alpha_i / r_i. */
static oclora_status meteora_scales(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, uint32_t n, oclora_error *err)
{
    uint32_t each = module->rank / n;
    if (each == 0 || each * n != module->rank)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "module %s: rank %u does not divide into %u experts", group->name,
                           (unsigned)module->rank, (unsigned)n);
    for (uint32_t i = 0; i < n; i++) {
        double r = each, alpha = each;
        OCLORA_TRY(named_item(&load->config, "r", i, &r, err));
        OCLORA_TRY(named_item(&load->config, "lora_alpha", i, &alpha, err));
        if (r != each)
            return oclora_fail(err, OCLORA_RANK_MISMATCH,
                               "module %s: expert %u has rank %u, adapter_config.json says %g",
                               group->name, (unsigned)i, (unsigned)each, r);
        for (uint32_t j = 0; j < each; j++) module->scale[i * each + j] = (float)(alpha / each);
    }
    return OCLORA_OK;
}

static oclora_status read_top_k(oclora_load *load, const char *key, uint32_t n, uint32_t *top_k,
                                oclora_error *err)
{
    double value = 2.0;
    OCLORA_TRY(oclora_config_number(&load->config, key, &value, err));
    if (!(value >= 1.0 && value <= n) || value != floor(value) || value > TOP_K_MAX)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "adapter_config.json: %s is %g; of %u experts 1 to %u can be chosen",
                           key, value, (unsigned)n, (unsigned)(n < TOP_K_MAX ? n : TOP_K_MAX));
    *top_k = (uint32_t)value;
    return OCLORA_OK;
}

oclora_status oclora_meteora_module(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *a, *b, *gate;
    oclora_view view;
    double temperature = 1.0;
    OCLORA_TRY(oclora_group_need(load, group, METEORA_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, METEORA_B, 0, &b, err));
    OCLORA_TRY(oclora_group_need(load, group, METEORA_GATE, 0, &gate, err));
    OCLORA_TRY(oclora_view_of(gate, &view, err));
    if (view.rows > EXPERTS_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s has %u experts, over %d",
                           group->name, (unsigned)view.rows, EXPERTS_MAX);
    size_t listed = json_array_size(json_object_get(load->config.root, "adapters"));
    if (listed != 0 && listed != view.rows)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s has %u rows, adapter_config.json lists %zu adapters",
                           gate->name, (unsigned)view.rows, listed);
    OCLORA_TRY(oclora_module_pair(load, group, module, a, b, 0, 0.0, err));
    OCLORA_TRY(meteora_scales(load, group, module, view.rows, err));
    oclora_router *router = &module->router;
    router->kind = OCLORA_ROUTER_TOP_K;
    router->n_experts = view.rows;
    OCLORA_TRY(read_top_k(load, "top_k", view.rows, &router->top_k, err));
    OCLORA_TRY(oclora_config_number(&load->config, "router_temperature", &temperature, err));
    if (!(temperature > 0.0))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "adapter_config.json: router_temperature %g is not above 0",
                           temperature);
    router->temperature = (float)temperature;
    return read_gate(load, group, &router->gate, METEORA_GATE, view.rows, module->d_in, err);
}

/* --- conditional MixLoRA: rank-1 rows chosen per sequence --- */

oclora_status oclora_mixlora_prepare(oclora_load *load, oclora_error *err)
{
    bool independent = true, scored = false;
    OCLORA_TRY(oclora_config_bool(&load->config, "independent_rank", &independent, err));
    OCLORA_TRY(oclora_config_bool(&load->config, "used_scored_weight", &scored, err));
    if (!independent || scored)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "adapter_config.json: %s is not served",
                           scored ? "used_scored_weight=true" : "independent_rank=false");
    return OCLORA_OK;
}

static uint32_t count_part(const oclora_group *group, uint32_t part)
{
    uint32_t count = 0;
    for (size_t i = 0; i < group->count; i++) count += group->parts[i].part == part;
    return count;
}

/* Stacks the E rank-1 rows of A or B. */
static oclora_status mix_rows(oclora_load *load, const oclora_group *group, uint32_t part,
                              uint32_t n, oclora_factor *out, uint32_t *width, oclora_error *err)
{
    oclora_matrix rows = {0};
    oclora_status status = OCLORA_OK;
    for (uint32_t i = 0; i < n && status == OCLORA_OK; i++) {
        const oclora_file_tensor *tensor;
        oclora_view view;
        status = oclora_group_need(load, group, part, i, &tensor, err);
        if (status == OCLORA_OK) status = oclora_view_shaped(tensor, 1, rows.cols, &view, err);
        if (status == OCLORA_OK && i == 0)
            status = oclora_matrix_create(&rows, load->env, n, view.cols, err);
        if (status == OCLORA_OK)
            status = oclora_matrix_put(&rows, load->env, view, i, 0, false, err);
    }
    *width = rows.cols;
    if (status == OCLORA_OK)
        status = oclora_image_factor(load->image, out, &rows, load->store, group->name, err);
    oclora_matrix_free(&rows, load->env);
    return status;
}

/* pair_table[j][a][e] = softmax_e((sum_d LA[a,d]) (sum_f Wc[e, j d_in + f])): the official einsum
 * has the two sums apart, so nothing of x enters and the table is complete. */
static void fill_pair_table(float *table, const double *a_sums, const double *c_sums, uint32_t n,
                            uint32_t top_k)
{
    double row[EXPERTS_MAX];
    for (uint32_t j = 0; j < top_k; j++)
        for (uint32_t a = 0; a < n; a++) {
            for (uint32_t e = 0; e < n; e++) row[e] = a_sums[a] * c_sums[(size_t)e * top_k + j];
            oclora_load_softmax(row, n, 1.0);
            for (uint32_t e = 0; e < n; e++) table[((size_t)j * n + a) * n + e] = (float)row[e];
        }
}

static oclora_status sum_chunks(oclora_load *load, const oclora_file_tensor *tensor, size_t count,
                                uint32_t width, double *sums, oclora_error *err)
{
    float *values = NULL;
    OCLORA_TRY(oclora_vector_of(&values, load->env, tensor, (uint64_t)count * width, err));
    for (size_t i = 0; i < count; i++) {
        sums[i] = 0.0;
        for (uint32_t j = 0; j < width; j++) sums[i] += (double)values[i * width + j];
    }
    oclora_release(load->env, values);
    return OCLORA_OK;
}

static oclora_status mix_table(oclora_load *load, const oclora_group *group, oclora_module *module,
                               oclora_error *err)
{
    oclora_router *router = &module->router;
    uint32_t n = router->n_experts, top_k = router->top_k;
    const oclora_file_tensor *tensor;
    oclora_view view;
    OCLORA_TRY(oclora_group_need(load, group, MIX_EXTRA_PAIR, 0, &tensor, err));
    if ((uint64_t)top_k * module->d_in > OCLORA_DIM_MAX)
        return oclora_fail_shape(err, tensor, "[E, r*d_in]");
    OCLORA_TRY(oclora_view_shaped(tensor, n, top_k * module->d_in, &view, err));
    size_t table = (size_t)top_k * n * n;
    router->pair_table = oclora_alloc(load->env, table, sizeof *router->pair_table);
    double *sums = oclora_alloc(load->env, (size_t)n * (top_k + 1), sizeof *sums);
    oclora_status status = router->pair_table != NULL && sums != NULL
                               ? OCLORA_OK
                               : oclora_fail_memory(err, table * sizeof(float), "pair table");
    for (uint32_t i = 0; i < n && status == OCLORA_OK; i++)
        status =
            sum_chunks(load, oclora_group_find(group, MIX_A, i), 1, module->d_in, sums + i, err);
    if (status == OCLORA_OK)
        status = sum_chunks(load, tensor, (size_t)n * top_k, module->d_in, sums + n, err);
    if (status == OCLORA_OK) fill_pair_table(router->pair_table, sums, sums + n, n, top_k);
    oclora_release(load->env, sums);
    return status;
}

static oclora_status mix_routers(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err)
{
    oclora_router *router = &module->router;
    uint32_t n = router->n_experts;
    double weight = 1.0;
    const char *condition = "input";
    OCLORA_TRY(oclora_config_text(&load->config, "cond_type", &condition, err));
    OCLORA_TRY(oclora_config_number(&load->config, "ifs_weight", &weight, err));
    bool paired = strcmp(condition, "input_lora_a_param") == 0;
    if (!paired && strcmp(condition, "input") != 0)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: cond_type %.40s is not "
                           "served",
                           condition);
    router->pair_weight = (float)weight;
    for (size_t i = 0; i < group->count; i++) {
        uint32_t part = group->parts[i].part;
        if (paired ? part == MIX_GATE_B : part == MIX_EXTRA_B || part == MIX_EXTRA_PAIR)
            return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                               "tensor %s does not go with cond_type %.40s",
                               group->parts[i].tensor->name, condition);
    }
    OCLORA_TRY(read_gate(load, group, &router->gate, MIX_GATE_A, n, module->d_in, err));
    OCLORA_TRY(read_gate(load, group, &router->gate_b, paired ? MIX_EXTRA_B : MIX_GATE_B, n,
                         module->d_in, err));
    return paired ? mix_table(load, group, module, err) : OCLORA_OK;
}

oclora_status oclora_mixlora_module(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, oclora_error *err)
{
    uint32_t n = count_part(group, MIX_A), n_b = count_part(group, MIX_B), rank;
    double listed = n, alpha;
    OCLORA_TRY(oclora_config_number(&load->config, "n_experts", &listed, err));
    if (n == 0 || n != n_b || listed != n)
        return oclora_fail(
            err, n < listed || n_b < listed ? OCLORA_MISSING_TENSOR : OCLORA_RANK_MISMATCH,
            "module %s has %u rows of A and %u of B, adapter_config.json says %g "
            "experts",
            group->name, (unsigned)n, (unsigned)n_b, listed);
    if (n > EXPERTS_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s has %u experts, over %d",
                           group->name, (unsigned)n, EXPERTS_MAX);
    module->router.kind = OCLORA_ROUTER_PAIRS;
    module->router.n_experts = n;
    module->router.temperature = 1.0f;
    OCLORA_TRY(oclora_config_rank(&load->config, group->name, &rank, &alpha, err));
    OCLORA_TRY(read_top_k(load, "r", n, &module->router.top_k, err));
    OCLORA_TRY(oclora_module_scale(load, module, n, alpha / rank, err));
    OCLORA_TRY(mix_rows(load, group, MIX_A, n, &module->a, &module->d_in, err));
    OCLORA_TRY(mix_rows(load, group, MIX_B, n, &module->b, &module->d_out, err));
    return mix_routers(load, group, module, err);
}
