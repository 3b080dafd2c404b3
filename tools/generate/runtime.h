/* runtime.h - an unmodified llama.cpp: backends, model, context. Public headers only. */
#ifndef OCLORA_GENERATE_RUNTIME_H
#define OCLORA_GENERATE_RUNTIME_H

#include "abi/oclora_ggml.h"
#include "tools/generate/options.h"

#include <ggml-backend.h>
#include <llama.h>

typedef struct oclora_runtime {
    const oclora_options *options;
    struct llama_model *model;
    struct llama_context *context;
    ggml_backend_reg_t reg;        /* the plugin; NULL in oclora-stock */
    ggml_backend_dev_t devices[2]; /* one device and the terminating NULL */
    const oclora_ggml_api *api;    /* NULL in oclora-stock */
    int32_t n_vocab;
    int32_t n_seq;     /* sequences of the context */
    int32_t n_ctx_seq; /* context of each */
} oclora_runtime;

/* Loads llama.cpp's CPU backend and, unless options->stock, the plugin, and picks the device. Each
 * function says on stderr what failed and returns false; close copes with any half-open state. */
bool oclora_runtime_open(oclora_runtime *out, const oclora_options *options);
bool oclora_runtime_load_model(oclora_runtime *runtime);
/* A context of `n_seq` sequences of `ctx` tokens each. Replaces an earlier one. */
bool oclora_runtime_create_context(oclora_runtime *runtime, int32_t n_seq, int32_t ctx);
void oclora_runtime_close(oclora_runtime *runtime);

/* "name: description" of the device that computes. */
void oclora_runtime_describe(const oclora_runtime *runtime, char *out, size_t size);

/* The warnings and errors that llama.cpp or a backend logged since oclora_runtime_forget_log. */
const char *oclora_runtime_last_log(void);
void oclora_runtime_forget_log(void);

#endif
