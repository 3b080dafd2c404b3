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
#define MTL1             "q.lora_A:1x2x6 q.lora_B:3x4x2 q.lora_B_w:1x3 q.lora_lambdas:1x2x2"
#define DELTA            "q.lora_A.weight:2x6 q.lora_B.weight:4x2 q.lora_A_start.weight:2x6 "
#define MIX2             "q.lora_A.0:1x6 q.lora_A.1:1x6 q.lora_B.0:1x4 q.lora_B.1:1x4 "
#define GATES2           "q.cmoa_selector.loraA_selector.weight:2x6 q.cmoa_selector.loraB_selector.weight:2x6"
#define MIX_CONFIG(more)                                                                           \
    KIND("MIXLORA_CONDITIONAL", ",\"r\":1,\"lora_alpha\":2,\"n_experts\":2" more)
#define METEORA_CONFIG                                                                             \
    KIND("METEORA", ",\"adapters\":[\"a\",\"b\"],\"r\":{\"a\":2,\"b\":2},"                         \
                    "\"lora_alpha\":{\"a\":2,\"b\":4},\"top_k\":1")

/* Small good adapters of many kinds. */
static const char *const good_peft[][2] = {
    {KIND("LORA", ",\"r\":2,\"lora_alpha\":4,\"rank_pattern\":{\"q\":2}"),
     "q.lora_A.weight:2x6 q.lora_B.weight:4x2"},
    {KIND("LORA", ",\"r\":2,\"use_dora\":true"),
     "q.lora_A.weight:2x6@f16 q.lora_B.weight:4x2@bf16 q.lora_magnitude_vector:4"},
    {KIND("LORA", ",\"r\":2,\"lora_bias\":true,\"use_rslora\":true"),
     "q.lora_A.weight:2x6@f64 q.lora_B.weight:4x2 q.lora_B.bias:4"},
    {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":2,\"qalora_pool\":\"avg\""),
     "q.lora_A.weight:2x3 q.lora_B.weight:4x2"},
    {KIND("COLA", ",\"r\":[2,1],\"lora_alpha\":[1,1]"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.1.weight:1x6 q.lora_B.1.weight:4x1"},
    {KIND("MELORA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A.0.weight:2x3 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x3 q.lora_B.1.weight:4x2"},
    {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1,\"delta_lambda\":1"),
     "q.lora_A.weight:2x6 q.lora_B.weight:4x2 q.lora_A_start.weight:2x6 q.lora_B_start.weight:4x2"},
    {KIND("LOTR", ",\"rank\":2"), "q.lotr.rhs:6x2 q.lotr.mid:2x2 q.lotr.lhs:2x4"},
    {KIND("VERA", ",\"r\":2"),
     "q.vera_lambda_d:2 q.vera_lambda_b:4 /base_model.vera_A:2x6 /base_model.vera_B:4x2"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL1},
    {KIND("METEORA", ",\"r\":2,\"lora_alpha\":1,\"top_k\":1"),
     "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x6"},
    {KIND("MIXLORA_CONDITIONAL", ",\"r\":1,\"lora_alpha\":2,\"n_experts\":2"),
     "q.lora_A.0:1x6 q.lora_A.1:1x6 q.lora_B.0:1x4 q.lora_B.1:1x4 "
     "q.cmoa_selector.loraA_selector.weight:2x6 q.cmoa_selector.loraB_selector.weight:2x6"},
    {KIND("FLORA", ",\"r\":2"), "q.flora_A:2x4 q.flora_B:6x2"},
    {KIND("HIRA", ",\"r\":2"), "q.hira_A:2x6 q.hira_B:4x2"},
    {KIND("IA3", ""), "q.ia3_l:4x1"},
};

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
