/* write.c - the repaired adapter as PEFT writes plain LoRA. */
#include "tools/inspect/inspect.h"
#include "tools/shared/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A module's name as a pattern that matches nothing else. */
static void escape(const char *name, char *out, size_t room)
{
    size_t at = 0;
    for (; *name != '\0' && at + 3 < room; name++) {
        if (*name == '.') out[at++] = '\\';
        out[at++] = *name;
    }
    out[at] = '\0';
}

static bool has_bias(const oclora_adapter_image *image)
{
    for (size_t i = 0; i < image->n_modules; i++)
        if (image->modules[i].c != NULL) return true;
    return false;
}

static json_t *config_of(const oclora_adapter_image *image, const oclora_audit *audits)
{
    json_t *targets = json_array(), *ranks = json_object(), *alphas = json_object();
    char pattern[1024];
    for (size_t i = 0; i < image->n_modules; i++) {
        json_array_append_new(targets, json_string(image->modules[i].name));
        if (audits[i].rank == audits[0].rank) continue;
        escape(image->modules[i].name, pattern, sizeof pattern);
        json_object_set_new(ranks, pattern, json_integer(audits[i].rank));
        json_object_set_new(alphas, pattern, json_integer(audits[i].rank));
    }
    return json_pack("{s:s,s:i,s:i,s:o,s:o,s:o,s:s,s:b,s:b,s:n,s:n}", "peft_type", "LORA", "r",
                     (int)audits[0].rank, "lora_alpha", (int)audits[0].rank, "target_modules",
                     targets, "rank_pattern", ranks, "alpha_pattern", alphas, "bias", "none",
                     "lora_bias", has_bias(image), "inference_mode", 1, "task_type",
                     "base_model_name_or_path");
}

static oclora_status add(oclora_tensors *list, const char *module, const char *part, uint64_t rows,
                         uint64_t cols, const double *values, oclora_error *err)
{
    char name[1024];
    snprintf(name, sizeof name, "base_model.model.%s.%s", module, part);
    return oclora_tensors_add_f32(list, name, rows, cols, values, err);
}

static oclora_status add_module(oclora_tensors *list, const oclora_module *m,
                                const oclora_audit *audit, bool bias, oclora_error *err)
{
    OCLORA_TRY(add(list, m->name, "lora_A.weight", audit->rank, m->d_in, audit->a, err));
    OCLORA_TRY(add(list, m->name, "lora_B.weight", m->d_out, audit->rank, audit->b, err));
    if (!bias) return OCLORA_OK;
    double *c = calloc(m->d_out, sizeof *c);
    if (c == NULL) return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for a bias");
    for (uint32_t i = 0; i < m->d_out && m->c != NULL; i++) c[i] = (double)m->c[i];
    const oclora_status status = add(list, m->name, "lora_B.bias", 0, m->d_out, c, err);
    free(c);
    return status;
}

oclora_status oclora_write_repaired(const char *folder, const oclora_adapter_image *image,
                                    const oclora_audit *audits, oclora_error *err)
{
    oclora_tensors list = {0};
    oclora_status status = OCLORA_OK;
    if (image->naming != OCLORA_NAMING_PEFT)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the adapter has GGUF names, PEFT folders have others: repair the PEFT "
                           "adapter that it was converted from");
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++)
        status = add_module(&list, &image->modules[i], &audits[i], has_bias(image), err);
    json_t *config = config_of(image, audits);
    if (status == OCLORA_OK) status = oclora_write_adapter(folder, config, &list, err);
    json_decref(config);
    oclora_tensors_free(&list);
    return status;
}
