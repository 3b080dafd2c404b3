/* loader.h - what a kind's loader sees: the config, and the tensors sorted by module and part.
 *
 * A kind is one row of the table in kinds.c: a peft_type, the names of its tensors behind the
 * module's name, and a function from one module's tensors to one oclora_module. Everything else
 * (files, target modules, unknown tensors, sorting, hashing) is common. */
#ifndef OCLORA_ADAPTER_LOADER_H
#define OCLORA_ADAPTER_LOADER_H

#include "host/adapter/config.h"
#include "host/adapter/image.h"

enum { OCLORA_PARTS_MAX = 8 };

/* One tensor of a module: `part` indexes the kind's list, `index` is the number in the name. */
typedef struct oclora_part {
    const char *module; /* into the tensor's name, not terminated */
    size_t module_length;
    uint32_t part;
    uint32_t index;
    const oclora_file_tensor *tensor;
} oclora_part;

/* All tensors of one module, by part and index. */
typedef struct oclora_group {
    const char *name; /* terminated */
    const oclora_part *parts;
    size_t count;
} oclora_group;

typedef struct oclora_load oclora_load;
typedef oclora_status (*oclora_kind_module)(oclora_load *load, const oclora_group *group,
                                            oclora_module *module, oclora_error *err);

typedef struct oclora_kind_loader {
    const char *peft_type;
    oclora_kind kind;
    /* Name endings; '#' stands for a number. What begins with "base_model." is a whole name and
     * belongs to the file, not to a module (see oclora_load_global). */
    const char *parts[OCLORA_PARTS_MAX];
    oclora_status (*prepare)(oclora_load *load, oclora_error *err); /* config checks; may be NULL */
    oclora_kind_module module;
} oclora_kind_loader;

struct oclora_load {
    const oclora_env *env;
    const oclora_kind_loader *loader;
    oclora_config config;
    oclora_safetensors file;
    uint32_t store;
    const char *task_text; /* what follows "#task=", or NULL */
    bool has_tasks;        /* the kind asked for one, if only of one */
    oclora_adapter_image *image;
    const oclora_file_tensor *globals[OCLORA_PARTS_MAX];
};

/* NULL for an unknown peft_type. */
const oclora_kind_loader *oclora_kind_loader_find(const char *peft_type);

/* The task chosen by "#task=N", or the only one; checked against `n_tasks`, recorded in the image.
 * Errors: INVALID_ARGUMENT (none or no such task; the text says how to choose). */
oclora_status oclora_load_task(oclora_load *load, uint32_t n_tasks, uint32_t *task,
                               oclora_error *err);

/* The tensor of a part, or NULL; or MISSING_TENSOR with the name it should have. */
const oclora_file_tensor *oclora_group_find(const oclora_group *group, uint32_t part,
                                            uint32_t index);
oclora_status oclora_group_need(const oclora_load *load, const oclora_group *group, uint32_t part,
                                uint32_t index, const oclora_file_tensor **out, oclora_error *err);

/* A 2-D tensor as a view; a third dimension in front must be 1. SHAPE_MISMATCH else. */
oclora_status oclora_view_of(const oclora_file_tensor *tensor, oclora_view *out, oclora_error *err);

/* A view that must be rows x cols (0: any). */
oclora_status oclora_view_shaped(const oclora_file_tensor *tensor, uint32_t rows, uint32_t cols,
                                 oclora_view *out, oclora_error *err);

/* Checks that A [r_a, ..] and B [.., r_b] agree with each other and with the config's r (0: any).
 */
oclora_status oclora_check_rank(const oclora_group *group, uint32_t a, uint32_t b, uint32_t config,
                                oclora_error *err);

/* Fills a, b, rank, scale (all equal to `scale`), d_in (A's columns * group) and d_out from the two
 * matrices lora_A [r, d_in/group] and lora_B [d_out, r]. module->group is set before. */
oclora_status oclora_module_pair(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, const oclora_file_tensor *a,
                                 const oclora_file_tensor *b, uint32_t config_rank, double scale,
                                 oclora_error *err);

/* Allocates module->scale with `rank` equal values. Errors: NOT_FINITE. */
oclora_status oclora_module_scale(oclora_load *load, oclora_module *module, uint32_t rank,
                                  double scale, oclora_error *err);

oclora_status oclora_fail_shape(oclora_error *err, const oclora_file_tensor *tensor,
                                const char *wanted);

/* softmax of w / temperature, in place. */
void oclora_load_softmax(double *w, size_t count, double temperature);

/* The table's loaders, one file per family. */
oclora_status oclora_lora_prepare(oclora_load *load, oclora_error *err);
oclora_status oclora_lora_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err);
oclora_status oclora_qalora_module(oclora_load *load, const oclora_group *group,
                                   oclora_module *module, oclora_error *err);
oclora_status oclora_chain_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err);
oclora_status oclora_melora_module(oclora_load *load, const oclora_group *group,
                                   oclora_module *module, oclora_error *err);
oclora_status oclora_delta_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err);
oclora_status oclora_lotr_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err);
oclora_status oclora_vera_prepare(oclora_load *load, oclora_error *err);
oclora_status oclora_vera_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err);
oclora_status oclora_mtl_module(oclora_load *load, const oclora_group *group, oclora_module *module,
                                oclora_error *err);
oclora_status oclora_meteora_module(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, oclora_error *err);
oclora_status oclora_mixlora_prepare(oclora_load *load, oclora_error *err);
oclora_status oclora_mixlora_module(oclora_load *load, const oclora_group *group,
                                    oclora_module *module, oclora_error *err);
oclora_status oclora_flora_module(oclora_load *load, const oclora_group *group,
                                  oclora_module *module, oclora_error *err);
oclora_status oclora_hira_module(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, oclora_error *err);
oclora_status oclora_ia3_module(oclora_load *load, const oclora_group *group, oclora_module *module,
                                oclora_error *err);

/* Set kinds (BORA, DLP_LORA, XLORA_STATIC): resolves the config to the sub-folder of `task_text`;
 * `*member` is into the config. False in `*is_set` for every other kind. */
oclora_status oclora_set_member(const oclora_config *config, const char *task_text, bool *is_set,
                                oclora_kind *kind, const char **member, uint32_t *n_members,
                                uint32_t *task, oclora_error *err);

/* GGUF LoRA: fills the image from a mapped file. */
oclora_status oclora_load_gguf(oclora_adapter_image *image, const oclora_map *map, uint32_t store,
                               oclora_error *err);

#endif
