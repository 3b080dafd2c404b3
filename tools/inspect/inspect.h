/* inspect.h - what an adapter holds, and its intruder dimensions over a base. */
#ifndef OCLORA_INSPECT_INSPECT_H
#define OCLORA_INSPECT_INSPECT_H

#include "host/adapter/load.h"
#include "host/file/gguf.h"

typedef struct oclora_inspect_options {
    const char *adapter;
    const char *base;   /* NULL: no audit */
    const char *folder; /* for the mitigated adapter, or NULL */
    uint32_t k;
    double epsilon;
    double lambda;
    bool json;
} oclora_inspect_options;

bool oclora_inspect_options_parse(oclora_inspect_options *out, int argc, char **argv, int *status);

/* --- base weights --- */

/* A model: GGUF, or safetensors with "<module>.weight" or, in a golden case, "<module>.W". */
typedef struct oclora_base_file {
    oclora_map map;
    oclora_safetensors tensors;
    oclora_gguf *gguf; /* or NULL */
    oclora_model_info model;
} oclora_base_file;

oclora_status oclora_base_file_open(oclora_base_file *out, const char *path, oclora_error *err);
void oclora_base_file_close(oclora_base_file *base); /* zeroed is allowed */

/* The weight of `module` (named as `naming` says) as new f32 memory [d_out, d_in], rows in the
 * order of the adapter's names. The caller frees it. Errors: MODULE_MISMATCH, UNSUPPORTED_DTYPE,
 * OUT_OF_HOST_MEMORY and those of oclora_adapter_to_gguf_names. */
oclora_status oclora_base_file_weight(const oclora_base_file *base, const char *module,
                                      uint32_t naming, float **w, uint32_t *d_out, uint32_t *d_in,
                                      oclora_error *err);

/* --- the audit --- */

typedef struct oclora_audit {
    uint32_t k;         /* leading directions looked at */
    double *similarity; /* [k]: max_j |u_i(W + dW) . u_j(W)| */
    bool *intruder;     /* [k]: similarity below epsilon */
    uint32_t n_intruders;
    uint32_t rank; /* of the repaired pair, 0 = none was asked for */
    double *a;     /* [rank, d_in] */
    double *b;     /* [d_out, rank] */
} oclora_audit;

/* w [d_out, d_in] the base of a module that was bound to it and resolved. With `repair` the pair
 * b a = rank-r part of W + dW + (lambda - 1) sum_intruders s_i u_i v_i^T - W is made. Errors:
 * NOT_SUPPORTED (the module's update depends on the row, or with `repair` is not of low rank). */
oclora_status oclora_audit_module(oclora_audit *out, const oclora_module *module, const float *w,
                                  const oclora_inspect_options *options, bool repair,
                                  oclora_error *err);
void oclora_audit_free(oclora_audit *audit); /* zeroed is allowed */

/* Writes the repaired pairs of all modules as a PEFT folder of plain LoRA. */
oclora_status oclora_write_repaired(const char *folder, const oclora_adapter_image *image,
                                    const oclora_audit *audits, oclora_error *err);

/* Prints everything; `audits` NULL or one for each module. */
void oclora_inspect_report(const oclora_adapter_image *image, const oclora_audit *audits,
                           const oclora_inspect_options *options);

#endif
