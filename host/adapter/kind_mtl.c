/* MTL-LoRA: s * sigmoid(scaler) * sum_i softmax(w_t / tau)_i B_i Lambda_t A. The task belongs to
 * the request, so each task is loaded as an adapter of its own, folded to one pair. */
#include "host/adapter/loader.h"

#include <math.h>
#include <string.h>

enum { MTL_A, MTL_LAMBDAS, MTL_B, MTL_B_W, MTL_SCALER, MATRICES_MAX = 256 };

/* The weights of task t over the n matrices B. */
static oclora_status mtl_weights(oclora_load *load, const oclora_file_tensor *tensor, uint32_t task,
                                 size_t n, double *weights, oclora_error *err)
{
    float *values = NULL;
    double tau = 1.0;
    OCLORA_TRY(oclora_config_number(&load->config, "B_scale", &tau, err));
    if (!(tau > 0.0))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "adapter_config.json: B_scale %g is no "
                           "temperature",
                           tau);
    OCLORA_TRY(oclora_vector_of(&values, load->env, tensor, oclora_tensor_elements(tensor), err));
    for (size_t i = 0; i < n; i++) weights[i] = (double)values[task * n + i];
    oclora_release(load->env, values);
    oclora_load_softmax(weights, n, tau);
    return OCLORA_OK;
}

/* Lambda_t: a core, or part of the scale where it is diagonal. */
static oclora_status mtl_lambda(oclora_load *load, oclora_module *module,
                                const oclora_file_tensor *tensor, uint32_t task, oclora_error *err)
{
    uint32_t rank = module->rank;
    size_t size = tensor->n_dims == 3 ? (size_t)rank * rank : rank;
    float *all = NULL;
    OCLORA_TRY(oclora_vector_of(&all, load->env, tensor, oclora_tensor_elements(tensor), err));
    const float *own = all + task * size;
    if (tensor->n_dims == 3) {
        module->core = oclora_alloc(load->env, size, sizeof *module->core);
        if (module->core != NULL) memcpy(module->core, own, size * sizeof *own);
    } else {
        for (uint32_t i = 0; i < rank; i++) module->scale[i] *= own[i];
    }
    oclora_release(load->env, all);
    if (tensor->n_dims == 3 && module->core == NULL)
        return oclora_fail_memory(err, size * sizeof(float), "core");
    return OCLORA_OK;
}

/* B_t = sum_i w_i B_i, summed in double. */
static oclora_status mtl_fold(oclora_load *load, oclora_module *module,
                              const oclora_file_tensor *tensor, const double *weights, size_t n,
                              oclora_error *err)
{
    oclora_matrix part = {0}, sum = {0};
    uint32_t rank = module->rank;
    size_t total = (size_t)rank * module->d_out;
    double *wide = oclora_alloc(load->env, total, sizeof *wide);
    oclora_status status = wide != NULL ? OCLORA_OK : oclora_fail_memory(err, total * 8, "B");
    if (status == OCLORA_OK)
        status = oclora_matrix_create(&part, load->env, rank, module->d_out, err);
    if (status == OCLORA_OK)
        status = oclora_matrix_create(&sum, load->env, rank, module->d_out, err);
    for (size_t i = 0; i < n && status == OCLORA_OK; i++) {
        oclora_view view = {tensor, i * total, module->d_out, rank};
        status = oclora_matrix_put(&part, load->env, view, 0, 0, true, err);
        for (size_t j = 0; j < total && status == OCLORA_OK; j++)
            wide[j] += weights[i] * (double)part.values[j];
    }
    if (status == OCLORA_OK) {
        for (size_t j = 0; j < total; j++) sum.values[j] = (float)wide[j];
        sum.source = OCLORA_TYPE_F32;
        status = oclora_image_factor(load->image, &module->b, &sum, load->store, module->name, err);
    }
    oclora_release(load->env, wide);
    oclora_matrix_free(&part, load->env);
    oclora_matrix_free(&sum, load->env);
    return status;
}

static oclora_status mtl_scale(oclora_load *load, const oclora_group *group, uint32_t rank,
                               double *scale, oclora_error *err)
{
    const oclora_file_tensor *scaler = oclora_group_find(group, MTL_SCALER, 0);
    bool tunable = false;
    uint32_t config_rank;
    double alpha;
    float *value = NULL;
    OCLORA_TRY(oclora_config_rank(&load->config, group->name, &config_rank, &alpha, err));
    OCLORA_TRY(oclora_check_rank(group, rank, rank, config_rank, err));
    OCLORA_TRY(oclora_config_bool(&load->config, "tunable_scaler", &tunable, err));
    *scale = alpha / rank;
    if (!tunable && scaler == NULL) return OCLORA_OK;
    OCLORA_TRY(oclora_group_need(load, group, MTL_SCALER, 0, &scaler, err));
    OCLORA_TRY(oclora_vector_of(&value, load->env, scaler, 1, err));
    *scale /= 1.0 + exp(-(double)*value);
    oclora_release(load->env, value);
    return OCLORA_OK;
}

oclora_status oclora_mtl_module(oclora_load *load, const oclora_group *group, oclora_module *module,
                                oclora_error *err)
{
    const oclora_file_tensor *a, *lambdas, *b, *b_w;
    oclora_view view_a;
    uint32_t task;
    double scale, weights[MATRICES_MAX];
    OCLORA_TRY(oclora_group_need(load, group, MTL_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, MTL_LAMBDAS, 0, &lambdas, err));
    OCLORA_TRY(oclora_group_need(load, group, MTL_B, 0, &b, err));
    OCLORA_TRY(oclora_group_need(load, group, MTL_B_W, 0, &b_w, err));
    OCLORA_TRY(oclora_view_of(a, &view_a, err));
    uint32_t rank = view_a.rows;
    if (b->n_dims != 3 || b->dims[0] == 0 || b->dims[0] > MATRICES_MAX || b->dims[1] == 0 ||
        b->dims[1] > OCLORA_DIM_MAX)
        return oclora_fail_shape(err, b, "[n, d_out, r]");
    if (b->dims[2] != rank) return oclora_check_rank(group, rank, (uint32_t)b->dims[2], 0, err);
    if (b_w->n_dims != 2 || b_w->dims[0] == 0 || b_w->dims[0] > UINT16_MAX ||
        b_w->dims[1] != b->dims[0])
        return oclora_fail_shape(err, b_w, "[tasks, n]");
    if ((lambdas->n_dims != 3 && lambdas->n_dims != 2) || lambdas->dims[0] != b_w->dims[0] ||
        lambdas->dims[1] != rank || (lambdas->n_dims == 3 && lambdas->dims[2] != rank))
        return oclora_fail_shape(err, lambdas, "[tasks, r, r] or [tasks, r]");
    OCLORA_TRY(oclora_load_task(load, (uint32_t)b_w->dims[0], &task, err));
    OCLORA_TRY(mtl_scale(load, group, rank, &scale, err));
    OCLORA_TRY(mtl_weights(load, b_w, task, (size_t)b->dims[0], weights, err));
    OCLORA_TRY(oclora_module_scale(load, module, rank, scale, err));
    module->d_in = view_a.cols;
    module->d_out = (uint32_t)b->dims[1];
    OCLORA_TRY(mtl_lambda(load, module, lambdas, task, err));
    OCLORA_TRY(oclora_image_factor_of(load->image, &module->a, view_a, false, load->store, err));
    return mtl_fold(load, module, b, weights, (size_t)b->dims[0], err);
}
