/* synth.h - random LoRA adapters for a llama model, as GGUF files and as PEFT folders. */
#ifndef OCLORA_BENCH_SYNTH_H
#define OCLORA_BENCH_SYNTH_H

#include "host/core/env.h"

#include <stdbool.h>

enum { SYNTH_MODULES = 7, SYNTH_LAYERS_MAX = 512 };

/* q, k, v, o; all seven. */
enum { SYNTH_ATTENTION = 0x0f, SYNTH_ALL = 0x7f };

typedef struct bench_model {
    uint32_t n_layer;
    uint32_t d_in[SYNTH_MODULES]; /* of every layer */
    uint32_t d_out[SYNTH_MODULES];
    uint64_t bytes;     /* of the weights a token reads: all but token_embd, unless it is tied */
    uint64_t kv_floats; /* a token's keys and values, all layers */
} bench_model;

/* False after a message; only llama models are known. */
bool bench_model_read(bench_model *out, const char *path);

/* f16 values; the same seed gives the same file. An existing file of the right size is kept unless
 * `anew`. False after a message. */
bool bench_synth_gguf(const bench_model *model, const char *path, uint32_t rank, uint32_t modules,
                      uint32_t seed, bool anew);
bool bench_synth_peft(const bench_model *model, const char *folder, uint32_t rank, uint32_t modules,
                      uint32_t seed);

/* Bytes of the factors. */
uint64_t bench_synth_bytes(const bench_model *model, uint32_t rank, uint32_t modules);

#endif
