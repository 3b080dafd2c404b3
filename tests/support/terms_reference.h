/* terms_reference.h - the algebra of host/adapter/terms.h in double precision, and golden cases. */
#ifndef OCLORA_TESTS_TERMS_REFERENCE_H
#define OCLORA_TESTS_TERMS_REFERENCE_H

#include "host/adapter/terms.h"
#include "host/file/safetensors.h"

#include <jansson.h>
#include <stddef.h>

/* y[t] = f_k(x[t]) for a bound and resolved module; NULL gives the base product W x. w is
 * [d_out, d_in], x [rows, d_in], y [rows, d_out]. The rows are one sequence: a PAIRS router
 * averages over all of them. `chosen`, if not NULL, gets the routers' indices: [rows, top_k] for
 * TOP_K, or [2, top_k] for PAIRS. Aborts when out of memory: a test's business. */
void oclora_ref_terms(double *y, const oclora_module *module, const float *w, const float *x,
                      size_t rows, uint32_t d_out, uint32_t d_in, uint32_t *chosen);

/* A case of tests/data/golden (or of the same form). */
typedef struct oclora_golden {
    char folder[512];
    oclora_map map;
    oclora_safetensors tensors;
    json_t *meta;
    double tolerance; /* tolerance_fp32 */
} oclora_golden;

/* False, with the reason on stderr, when it cannot be read. */
bool oclora_golden_open(oclora_golden *out, const char *folder);
void oclora_golden_close(oclora_golden *golden);

/* A tensor as new f32 memory (free() it), or NULL. dims are the first two; 1-D has dims[0] = 1. */
float *oclora_golden_floats(const oclora_golden *golden, const char *module, const char *field,
                            size_t dims[2]);
/* An i32 tensor of `count` values, or NULL. */
int32_t *oclora_golden_ints(const oclora_golden *golden, const char *module, const char *field,
                            size_t *count);

size_t oclora_golden_modules(const oclora_golden *golden);
const char *oclora_golden_module(const oclora_golden *golden, size_t index);

#endif
