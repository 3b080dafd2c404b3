/* load_cases.h - small configs and tensor lists, so that a case fits on a few lines. */
#ifndef OCLORA_TESTS_LOAD_CASES_H
#define OCLORA_TESTS_LOAD_CASES_H

#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/load.h"

#include <string.h>

#define LORA(more)                                                                                 \
    "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,\"target_modules\":[\"q\"]" more "}"
#define KIND(kind, more) "{\"peft_type\":\"" kind "\",\"target_modules\":[\"q\"]" more "}"
#define AB               "q.lora_A.weight:2x6 q.lora_B.weight:4x2"
#define MTL              "q.lora_A:1x2x6 q.lora_B:3x4x2 q.lora_B_w:2x3 "
#define DELTA            "q.lora_A.weight:2x6 q.lora_B.weight:4x2 q.lora_A_start.weight:2x6 "
#define MIX2             "q.lora_A.0:1x6 q.lora_A.1:1x6 q.lora_B.0:1x4 q.lora_B.1:1x4 "
#define GATES2           "q.cmoa_selector.loraA_selector.weight:2x6 q.cmoa_selector.loraB_selector.weight:2x6"
#define MIX_CONFIG(more)                                                                           \
    KIND("MIXLORA_CONDITIONAL", ",\"r\":1,\"lora_alpha\":2,\"n_experts\":2" more)
#define METEORA_CONFIG                                                                             \
    KIND("METEORA", ",\"adapters\":[\"a\",\"b\"],\"r\":{\"a\":2,\"b\":2},"                         \
                    "\"lora_alpha\":{\"a\":2,\"b\":4},\"top_k\":1")

static inline oclora_status load(oclora_adapter_image **out, const char *config,
                                 const char *tensors, uint32_t store, oclora_error *err)
{
    oclora_bytes bytes = oclora_make_safetensors(tensors);
    oclora_keep_seed("adapter", config, strlen(config), bytes.data, bytes.size);
    oclora_status status = oclora_adapter_load_memory(
        out, oclora_test_env(), config, strlen(config), bytes.data, bytes.size, store, err);
    oclora_bytes_free(&bytes);
    return status;
}

#endif
