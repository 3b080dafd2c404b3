/* wave.h - several requests decoded together, one sequence each. */
#ifndef OCLORA_GENERATE_WAVE_H
#define OCLORA_GENERATE_WAVE_H

#include "tools/generate/request.h"
#include "tools/generate/runtime.h"

typedef struct oclora_timing {
    double prompt_ms;
    double decode_ms;
    int64_t prompt_tokens;
    int64_t new_tokens; /* of the decode steps; the first of each request comes with its prompt */
    int64_t steps;      /* llama_decode calls of the decode steps */
    int64_t prompt_launches;
    int64_t decode_launches;
    int64_t waves;
} oclora_timing;

/* Decodes rows[i] as sequence i, greedily, until all are done; adds to `timing`. On failure the
 * unfinished rows carry the error. The KV cache is cleared first. `limit` > 0 stops each row after
 * so many tokens (a warm-up). */
void oclora_wave_decode(oclora_runtime *runtime, oclora_request **rows, int32_t count,
                        int32_t limit, oclora_timing *timing);

#endif
