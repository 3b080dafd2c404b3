/* golden_model.h - a golden case's base as the smallest model that has what the plugin looks for: a
 * named weight, MUL_MAT, and the K cache's SET_ROWS with 64-bit indices, built with public ggml
 * calls alone. The model's metadata are a GGUF of an architecture whose rows keep their order, so
 * that PEFT's modules are q_proj -> blk.0.attn_q, down_proj -> blk.3.ffn_down. */
#ifndef OCLORA_TESTS_GOLDEN_MODEL_H
#define OCLORA_TESTS_GOLDEN_MODEL_H

#include "abi/oclora_ggml.h"

#include "support/harness.h"
#include "support/terms_reference.h"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

enum { LAYERS = 3, ROWS = 16, ENTRIES = 3, CELLS = 24, STREAMS = 20 };

typedef struct layer {
    const char *module;
    char name[64]; /* in the GGUF */
    float *w, *x, *bias;
    size_t rows, d_in, d_out;
    struct ggml_tensor *weight, *shift;
} layer;

/* A case's base as a model on the device. */
typedef struct model {
    oclora_golden golden;
    layer layers[LAYERS];
    size_t n_layers;
    oclora_ggml_session *session;
    struct ggml_context *ctx;
    ggml_backend_buffer_t buffer;
    ggml_backend_t backend;
} model;

/* Row t belongs to sequence seq[t]; a sequence is served by its first row's entries. */
typedef struct mapping {
    uint32_t seq[ROWS];
    uint32_t count[ROWS];
    char adapter[ROWS][ENTRIES][32];
    float weight[ROWS][ENTRIES];
} mapping;

/* What all models of a run share; set before golden_start. */
typedef struct golden_run {
    ggml_backend_reg_t reg;
    const oclora_ggml_api *api;
    bool without_biases;
    uint32_t store;     /* OCLORA_STORE_* of the sessions */
    uint64_t pool_bytes;
    const char *folder; /* of the cases */
    json_t *listed;     /* the folder's index */
} golden_run;

extern golden_run run;

/* Reads the folder's index and writes the GGUF with the metadata. */
bool golden_begin(const char *folder);
void golden_end(void);
/* The plugin and its control table; false (skipped) where there is no device. */
bool golden_start(void);
bool check_ok(oclora_status status, const oclora_ggml_message *message, const char *what);
/* Opens a case with a session of its own; false also if this seed's folder lacks the case. */
bool open_model(model *m, const char *name);
void close_model(model *m);
/* Loads member "", "task0" or "#task=1" of the case under the name `as`. */
bool load(const model *m, const char *as, const char *member);
void map_rows(const model *m, const mapping *map, size_t rows);
/* x -> MUL_MAT (-> ADD) -> SET_ROWS into the K cache; `y` gets what went in. */
bool compute(const model *m, const layer *l, const mapping *map, float *y);

#endif
