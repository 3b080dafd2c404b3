/* Plain LoRA and what PEFT's LORA config can add: rsLoRA, DoRA, bias on B, QA-LoRA. LoRA+,
 * LoRA-Pro, Riemannian preconditioning, PRILoRA and ShareLoRA are this kind at serving time. */
#include "host/adapter/loader.h"

#include <math.h>
#include <string.h>

enum { PART_A, PART_B, PART_BIAS, PART_MAGNITUDE };

/* Options that change what is computed and that nothing here serves. */
static const char *const refused[] = {
    "modules_to_save",   "use_bdlora",       "velora_config",           "kasa_config",
    "monteclora_config", "arrow_config",     "alora_invocation_tokens", "trainable_token_indices",
    "target_parameters", "layer_replication"};

/* These initialisations change the base weights: the adapter alone does not give the trained layer.
 */
static const char *const base_changing[] = {"pissa", "olora", "corda", "lora_ga"};

oclora_status oclora_lora_prepare(oclora_load *load, oclora_error *err)
{
    const oclora_config *config = &load->config;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (!oclora_config_empty(config, refused[i]))
            return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                               "adapter_config.json sets %s, which is not served", refused[i]);
    const char *init = json_string_value(json_object_get(config->root, "init_lora_weights"));
    for (size_t i = 0; init != NULL && i < sizeof base_changing / sizeof base_changing[0]; i++)
        if (strncmp(init, base_changing[i], strlen(base_changing[i])) == 0)
            return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                               "the adapter was initialised by %s, which changes the base weights: "
                               "convert it to plain LoRA when saving",
                               init);
    bool dora = false, rslora = false, qalora = false, bias = false;
    OCLORA_TRY(oclora_config_bool(config, "use_dora", &dora, err));
    OCLORA_TRY(oclora_config_bool(config, "use_rslora", &rslora, err));
    OCLORA_TRY(oclora_config_bool(config, "use_qalora", &qalora, err));
    OCLORA_TRY(oclora_config_bool(config, "lora_bias", &bias, err));
    if (dora && (qalora || bias))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "use_dora together with %s is not served",
                           qalora ? "use_qalora" : "lora_bias");
    if (qalora && bias)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "use_qalora with lora_bias is not served");
    if (qalora)
        load->image->kind = OCLORA_KIND_QALORA;
    else if (dora)
        load->image->kind = OCLORA_KIND_DORA;
    else if (rslora)
        load->image->kind = OCLORA_KIND_RSLORA;
    return OCLORA_OK;
}

static oclora_status read_scale(oclora_load *load, const char *module, uint32_t *rank,
                                double *scale, oclora_error *err)
{
    double alpha;
    bool rslora = false;
    OCLORA_TRY(oclora_config_rank(&load->config, module, rank, &alpha, err));
    OCLORA_TRY(oclora_config_bool(&load->config, "use_rslora", &rslora, err));
    *scale = rslora ? alpha / sqrt(*rank) : alpha / *rank;
    return OCLORA_OK;
}

/* lora_B.bias is scaled like the product. */
static oclora_status read_bias(oclora_load *load, const oclora_group *group, oclora_module *module,
                               double scale, oclora_error *err)
{
    bool used = false;
    const oclora_file_tensor *tensor = oclora_group_find(group, PART_BIAS, 0);
    OCLORA_TRY(oclora_config_bool(&load->config, "lora_bias", &used, err));
    if (!used && tensor == NULL) return OCLORA_OK;
    if (!used)
        return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                           "module %s has lora_B.bias, adapter_config.json has no lora_bias",
                           group->name);
    OCLORA_TRY(oclora_group_need(load, group, PART_BIAS, 0, &tensor, err));
    OCLORA_TRY(oclora_vector_of(&module->c, load->env, tensor, module->d_out, err));
    for (uint32_t i = 0; i < module->d_out; i++)
        module->c[i] = (float)(scale * (double)module->c[i]);
    return OCLORA_OK;
}

static oclora_status read_magnitude(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *tensor = oclora_group_find(group, PART_MAGNITUDE, 0);
    if (load->image->kind != OCLORA_KIND_DORA) {
        if (tensor == NULL) return OCLORA_OK;
        return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                           "module %s has lora_magnitude_vector, adapter_config.json has no "
                           "use_dora",
                           group->name);
    }
    OCLORA_TRY(oclora_group_need(load, group, PART_MAGNITUDE, 0, &tensor, err));
    return oclora_vector_of(&module->magnitude, load->env, tensor, module->d_out, err);
}

oclora_status oclora_lora_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err)
{
    if (load->image->kind == OCLORA_KIND_QALORA)
        return oclora_qalora_module(load, group, module, err);
    const oclora_file_tensor *a, *b;
    uint32_t rank;
    double scale;
    OCLORA_TRY(oclora_group_need(load, group, PART_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, PART_B, 0, &b, err));
    OCLORA_TRY(read_scale(load, group->name, &rank, &scale, err));
    OCLORA_TRY(oclora_module_pair(load, group, module, a, b, rank, scale, err));
    OCLORA_TRY(read_bias(load, group, module, scale, err));
    return read_magnitude(load, group, module, err);
}

/* Three scalings of the pooled input are in use; the file says which. A PEFT config (use_qalora)
 * means mean * d_in / g. */
static oclora_status pool_factor(oclora_load *load, double d_in, double group, double *factor,
                                 oclora_error *err)
{
    const char *pool = strcmp(load->loader->peft_type, "LORA") == 0 ? "peft" : NULL;
    OCLORA_TRY(oclora_config_text(&load->config, "qalora_pool", &pool, err));
    if (pool != NULL && strcmp(pool, "avg") == 0)
        *factor = 1.0 / group;
    else if (pool != NULL && strcmp(pool, "sum") == 0)
        *factor = 1.0;
    else if (pool != NULL && strcmp(pool, "peft") == 0)
        *factor = d_in / group / group;
    else
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: qalora_pool must say avg, sum or peft");
    return OCLORA_OK;
}

oclora_status oclora_qalora_module(oclora_load *load, const oclora_group *group,
                                   oclora_module *module, oclora_error *err)
{
    const oclora_file_tensor *a, *b;
    uint32_t rank;
    double scale, size = 16.0, factor = 1.0;
    OCLORA_TRY(oclora_group_need(load, group, PART_A, 0, &a, err));
    OCLORA_TRY(oclora_group_need(load, group, PART_B, 0, &b, err));
    OCLORA_TRY(oclora_config_number(&load->config, "qalora_group_size", &size, err));
    if (!(size >= 1.0 && size <= OCLORA_DIM_MAX) || size != floor(size))
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "qalora_group_size %g is no group size",
                           size);
    module->group = (uint32_t)size;
    oclora_view view;
    OCLORA_TRY(oclora_view_of(a, &view, err));
    OCLORA_TRY(pool_factor(load, view.cols * size, size, &factor, err));
    OCLORA_TRY(read_scale(load, group->name, &rank, &scale, err));
    return oclora_module_pair(load, group, module, a, b, rank, scale * factor, err);
}
