/* Kinds that share factors between modules: LoTR and VeRA. Sharing itself is the image's business:
 * equal factors are stored once. */
#include "host/adapter/loader.h"

#include <math.h>

enum { LOTR_RHS, LOTR_MID, LOTR_LHS };
enum { VERA_LAMBDA_D, VERA_LAMBDA_B, VERA_A, VERA_B };

/* The file holds everything transposed: a row vector goes x rhs mid lhs. */
oclora_status oclora_lotr_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *tensors[3];
    oclora_view rhs, mid, lhs;
    double rank = 0.0, scale = 1.0;
    for (uint32_t i = 0; i < 3; i++)
        OCLORA_TRY(oclora_group_need(load, group, i, 0, &tensors[i], err));
    OCLORA_TRY(oclora_view_of(tensors[LOTR_RHS], &rhs, err));
    OCLORA_TRY(oclora_view_of(tensors[LOTR_LHS], &lhs, err));
    OCLORA_TRY(oclora_config_number(&load->config, "rank", &rank, err));
    OCLORA_TRY(oclora_config_number(&load->config, "scale", &scale, err));
    if (rank != 0.0 && rank != rhs.cols)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "module %s: the tensors have rank %u, adapter_config.json says %g",
                           group->name, (unsigned)rhs.cols, rank);
    OCLORA_TRY(oclora_check_rank(group, rhs.cols, lhs.rows, 0, err));
    OCLORA_TRY(oclora_view_shaped(tensors[LOTR_MID], rhs.cols, rhs.cols, &mid, err));
    OCLORA_TRY(oclora_module_scale(load, module, rhs.cols, scale / rhs.cols, err));
    module->d_in = rhs.rows;
    module->d_out = lhs.cols;
    OCLORA_TRY(oclora_image_factor_of(load->image, &module->a, rhs, true, load->store, err));
    OCLORA_TRY(oclora_image_factor_of(load->image, &module->b, lhs, false, load->store, err));
    oclora_matrix core = {0};
    OCLORA_TRY(oclora_matrix_create(&core, load->env, mid.rows, mid.cols, err));
    module->core = core.values;
    return oclora_matrix_put(&core, load->env, mid, 0, 0, true, err);
}

oclora_status oclora_vera_prepare(oclora_load *load, oclora_error *err)
{
    bool saved = true;
    OCLORA_TRY(oclora_config_bool(&load->config, "save_projection", &saved, err));
    if (!saved)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the VeRA file holds a seed in place of its projections; torch's random "
                           "numbers are not portable: save it with save_projection=true");
    return OCLORA_OK;
}

static oclora_status vera_projection(oclora_load *load, uint32_t part, oclora_view *view,
                                     oclora_error *err)
{
    const oclora_file_tensor *tensor = load->globals[part];
    if (tensor == NULL)
        return oclora_fail(err, OCLORA_MISSING_TENSOR,
                           "the VeRA file has no tensor %s: save it with save_projection=true",
                           load->loader->parts[part]);
    return oclora_view_of(tensor, view, err);
}

/* The file does not say how many inputs the module has: A stays whole until a base is bound. B's
 * leading rows are as many as lambda_b has values. */
oclora_status oclora_vera_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *d, *b;
    oclora_view view_a, view_b;
    uint32_t rank;
    double unused;
    OCLORA_TRY(oclora_group_need(load, group, VERA_LAMBDA_D, 0, &d, err));
    OCLORA_TRY(oclora_group_need(load, group, VERA_LAMBDA_B, 0, &b, err));
    OCLORA_TRY(vera_projection(load, VERA_A, &view_a, err));
    OCLORA_TRY(vera_projection(load, VERA_B, &view_b, err));
    OCLORA_TRY(oclora_check_rank(group, view_a.rows, view_b.cols, 0, err));
    if (!oclora_config_empty(&load->config, "r")) {
        OCLORA_TRY(oclora_config_rank(&load->config, group->name, &rank, &unused, err));
        OCLORA_TRY(oclora_check_rank(group, view_a.rows, view_b.cols, rank, err));
    }
    uint64_t d_out = oclora_tensor_elements(b);
    if (d_out == 0 || d_out > view_b.rows)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s has %llu values, the projection has %u rows", b->name,
                           (unsigned long long)d_out, (unsigned)view_b.rows);
    view_b.rows = (uint32_t)d_out;
    module->d_out = view_b.rows;
    module->rank = view_a.rows;
    OCLORA_TRY(oclora_vector_of(&module->scale, load->env, d, view_a.rows, err));
    OCLORA_TRY(oclora_vector_of(&module->beta, load->env, b, d_out, err));
    OCLORA_TRY(oclora_image_factor_of(load->image, &module->a, view_a, false, load->store, err));
    return oclora_image_factor_of(load->image, &module->b, view_b, true, load->store, err);
}
