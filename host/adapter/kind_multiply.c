/* Kinds that multiply inputs and outputs of the base product: FLoRA, HiRA, IA3. */
#include "host/adapter/loader.h"

#include <string.h>

enum { MUL_MAX = 256, PART_A = 0, PART_B = 1 };

/* mul_u [n, d_out] and mul_v [n, d_in] from row-major views; `first` rows are left at 1. */
static oclora_status fill_products(oclora_load *load, oclora_module *module, oclora_view u,
                                   bool u_transposed, oclora_view v, bool v_transposed,
                                   uint32_t first, double u_scale, oclora_error *err)
{
    uint32_t rank = u_transposed ? u.cols : u.rows;
    if (rank + first > MUL_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "module %s: rank %u is over %d for a kind "
                           "that multiplies the base product",
                           module->name, (unsigned)rank, MUL_MAX - 1);
    module->n_mul = rank + first;
    module->d_out = u_transposed ? u.rows : u.cols;
    module->d_in = v_transposed ? v.rows : v.cols;
    oclora_matrix matrix = {0};
    OCLORA_TRY(oclora_matrix_create(&matrix, load->env, module->n_mul, module->d_out, err));
    module->mul_u = matrix.values;
    OCLORA_TRY(oclora_matrix_put(&matrix, load->env, u, first, 0, u_transposed, err));
    for (size_t i = 0; i < (size_t)module->n_mul * module->d_out; i++)
        module->mul_u[i] =
            i < (size_t)first * module->d_out ? 1.0f : (float)(u_scale * (double)module->mul_u[i]);
    OCLORA_TRY(oclora_matrix_create(&matrix, load->env, module->n_mul, module->d_in, err));
    module->mul_v = matrix.values;
    OCLORA_TRY(oclora_matrix_put(&matrix, load->env, v, first, 0, v_transposed, err));
    for (size_t i = 0; i < (size_t)first * module->d_in; i++) module->mul_v[i] = 1.0f;
    return OCLORA_OK;
}

static oclora_status check_config_rank(oclora_load *load, const oclora_group *group, uint32_t a,
                                       uint32_t b, oclora_error *err)
{
    uint32_t rank = a;
    double unused;
    if (!oclora_config_empty(&load->config, "r"))
        OCLORA_TRY(oclora_config_rank(&load->config, group->name, &rank, &unused, err));
    return oclora_check_rank(group, a, b, rank, err);
}

/* y = mean_j or sum_j A_j o W (B_j o x), in place of W x. */
oclora_status oclora_flora_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *a, *b;
    oclora_view view_a, view_b;
    const char *reduction = "mean";
    OCLORA_TRY(oclora_group_need(load, group, PART_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, PART_B, 0, &b, err));
    OCLORA_TRY(oclora_view_of(a, &view_a, err));
    OCLORA_TRY(oclora_view_of(b, &view_b, err));
    OCLORA_TRY(check_config_rank(load, group, view_a.rows, view_b.cols, err));
    OCLORA_TRY(oclora_config_text(&load->config, "flora_reduction", &reduction, err));
    bool mean = strcmp(reduction, "mean") == 0;
    if (!mean && strcmp(reduction, "sum") != 0)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: flora_reduction is neither mean nor sum");
    return fill_products(load, module, view_a, false, view_b, true, 0,
                         mean ? 1.0 / view_a.rows : 1.0, err);
}

/* y = W x + (W o (B A)) x: one product with factors 1 for the base, then one for every rank. */
oclora_status oclora_hira_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *a, *b;
    oclora_view view_a, view_b;
    OCLORA_TRY(oclora_group_need(load, group, PART_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, PART_B, 0, &b, err));
    OCLORA_TRY(oclora_view_of(a, &view_a, err));
    OCLORA_TRY(oclora_view_of(b, &view_b, err));
    OCLORA_TRY(check_config_rank(load, group, view_a.rows, view_b.cols, err));
    return fill_products(load, module, view_b, true, view_a, false, 1, 1.0, err);
}

/* PEFT's rule for feedforward_modules is that of target_modules. */
static oclora_status is_feedforward(oclora_load *load, const char *name, bool *result,
                                    oclora_error *err)
{
    const json_t *list = json_object_get(load->config.root, "feedforward_modules");
    *result = false;
    if (list == NULL || json_is_null(list)) return OCLORA_OK;
    oclora_config view = {json_pack("{s:O}", "target_modules", list), "IA3"};
    if (view.root == NULL) return oclora_fail_memory(err, 0, "feedforward_modules");
    oclora_status status = oclora_config_targets(&view, name, result, err);
    oclora_config_free(&view);
    return status;
}

oclora_status oclora_ia3_module(oclora_load *load, const oclora_group *group, oclora_module *module,
                                oclora_error *err)
{
    const oclora_file_tensor *l;
    oclora_view view;
    bool feedforward;
    OCLORA_TRY(oclora_group_need(load, group, 0, 0, &l, err));
    OCLORA_TRY(is_feedforward(load, group->name, &feedforward, err));
    OCLORA_TRY(oclora_view_shaped(l, feedforward ? 1 : 0, feedforward ? 0 : 1, &view, err));
    if (feedforward) {
        module->n_mul = 1;
        module->d_in = view.cols;
        return oclora_vector_of(&module->mul_v, load->env, l, view.cols, err);
    }
    module->d_out = view.rows;
    module->scales_bias = true;
    return oclora_vector_of(&module->u, load->env, l, view.rows, err);
}
