/* case.h - a golden-style case: base weights, inputs and expected outputs of one adapter system.
 * The form is described in tests/data/golden/README.md. */
#ifndef OCLORA_TOOLS_CASE_H
#define OCLORA_TOOLS_CASE_H

#include "host/file/safetensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct oclora_case {
    char folder[1024]; /* without a slash at its end */
    oclora_map map;
    oclora_safetensors tensors;
    json_t *meta; /* case.json */
    const char *kind;
    double tolerance; /* tolerance_fp32 */
    size_t n_modules;
} oclora_case;

/* Reads FOLDER/case.json and FOLDER/case.safetensors. Errors: FILE_*, OUT_OF_HOST_MEMORY. The
 * caller closes it in any case. */
oclora_status oclora_case_open(oclora_case *out, const char *folder, oclora_error *err);
void oclora_case_close(oclora_case *c); /* zeroed is allowed */

const char *oclora_case_module(const oclora_case *c, size_t index);
bool oclora_case_has(const oclora_case *c, const char *module, const char *field);

/* Tensor "<module>.<field>" (module NULL: "<field>") of type f32 or i32 as new f32 memory, which
 * the caller frees; dims are its two, a vector has dims[0] = 1. NULL when absent, of another type,
 * or out of memory. */
float *oclora_case_values(const oclora_case *c, const char *module, const char *field,
                          size_t dims[2]);
/* The tensor as it lies in the file, or NULL. */
const oclora_file_tensor *oclora_case_tensor(const oclora_case *c, const char *module,
                                             const char *field);

#endif
