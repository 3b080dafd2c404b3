/* What loaders refuse, by name, and the good neighbours of what they refuse. */
#include "load_cases.h"

#include "host/adapter/convert.h"
#include "host/adapter/loader.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *config;
    const char *tensors;
    oclora_status status;
    const char *text;
} rejects[] = {
    /* config */
    {"", AB, OCLORA_FILE_FORMAT, "not JSON"},
    {"{\"r\":2,}", AB, OCLORA_FILE_FORMAT, "not JSON"},
    {"{\"r\":2,\"r\":3}", AB, OCLORA_FILE_FORMAT, "not JSON"},
    {"[]", AB, OCLORA_FILE_FORMAT, "no peft_type"},
    {"{\"peft_type\":7}", AB, OCLORA_FILE_FORMAT, "no peft_type"},
    {KIND("LOHA", ""), AB, OCLORA_UNKNOWN_KIND, "LOHA"},
    {KIND("lora", ""), AB, OCLORA_UNKNOWN_KIND, "lora"},
    {LORA(",\"bias\":\"all\""), AB, OCLORA_NOT_SUPPORTED, "bias is all"},
    {LORA(",\"modules_to_save\":[\"lm_head\"]"), AB, OCLORA_NOT_SUPPORTED, "modules_to_save"},
    {LORA(",\"use_bdlora\":true"), AB, OCLORA_NOT_SUPPORTED, "use_bdlora"},
    {LORA(",\"alora_invocation_tokens\":[1]"), AB, OCLORA_NOT_SUPPORTED, "alora"},
    {LORA(",\"init_lora_weights\":\"pissa_niter_4\""), AB, OCLORA_NOT_SUPPORTED, "pissa"},
    {LORA(",\"use_dora\":1"), AB, OCLORA_FILE_FORMAT, "use_dora is not true or false"},
    {LORA(",\"use_dora\":true,\"lora_bias\":true"), AB, OCLORA_NOT_SUPPORTED, "lora_bias"},
    {"{\"peft_type\":\"LORA\",\"r\":\"2\",\"target_modules\":[\"q\"]}", AB, OCLORA_FILE_FORMAT,
     "r is not a number"},
    {"{\"peft_type\":\"LORA\",\"r\":0,\"target_modules\":[\"q\"]}", AB, OCLORA_NOT_SUPPORTED,
     "rank 0"},
    {"{\"peft_type\":\"LORA\",\"r\":2000,\"target_modules\":[\"q\"]}", AB, OCLORA_NOT_SUPPORTED,
     "rank 2000"},
    {LORA(",\"rank_pattern\":{\"(\":3}"), AB, OCLORA_FILE_FORMAT, "regular expression"},
    {LORA(",\"rank_pattern\":[3]"), AB, OCLORA_FILE_FORMAT, "rank_pattern"},
    {LORA(",\"rank_pattern\":{\"q\":3}"), AB, OCLORA_RANK_MISMATCH, "says 3"},
    /* modules */
    {KIND("LORA", ",\"r\":2"), "k.lora_A.weight:2x6 k.lora_B.weight:4x2", OCLORA_MODULE_MISMATCH,
     "module k"},
    {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":[\"q\",\"v\"]}", AB,
     OCLORA_MODULE_MISMATCH, "target module v"},
    {LORA(",\"exclude_modules\":[\"q\"]"), AB, OCLORA_MODULE_MISMATCH, "module q"},
    {LORA(",\"layers_to_transform\":[1]"),
     "layers.0.q.lora_A.weight:2x6 layers.0.q.lora_B.weight:4x2", OCLORA_MODULE_MISMATCH,
     "layers.0.q"},
    {LORA(",\"layers_to_transform\":[0,1]"),
     "layers.0.q.lora_A.weight:2x6 layers.0.q.lora_B.weight:4x2", OCLORA_MODULE_MISMATCH,
     "layer 1"},
    {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":\"k|v\"}", AB, OCLORA_MODULE_MISMATCH,
     "module q"},
    {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":5}", AB, OCLORA_FILE_FORMAT,
     "target_modules"},
    {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":\"(a|aa)*[bc]\"}",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.lora_A.weight:2x6", OCLORA_FILE_FORMAT,
     "takes too long"},
    /* LoRA tensors */
    {LORA(""), "", OCLORA_MISSING_TENSOR, "no tensors"},
    {LORA(""), "q.lora_A.weight:2x6", OCLORA_MISSING_TENSOR, "q.lora_B.weight"},
    {LORA(""), "q.lora_B.weight:4x2", OCLORA_MISSING_TENSOR, "q.lora_A.weight"},
    {LORA(""), AB " q.extra:3", OCLORA_MODULE_MISMATCH, "q.extra"},
    {LORA(""), AB " /model.q.lora_A.weight:2x6", OCLORA_MODULE_MISMATCH, "model.q.lora_A.weight"},
    {LORA(""), AB " q.lora_embedding_A:2x6", OCLORA_MODULE_MISMATCH, "lora_embedding_A"},
    {LORA(""), "q.lora_A.weight:2x6 q.lora_B.weight:4x3", OCLORA_RANK_MISMATCH, "B has rank 3"},
    {LORA(""), "q.lora_A.weight:3x6 q.lora_B.weight:4x3", OCLORA_RANK_MISMATCH, "says 2"},
    {LORA(""), "q.lora_A.weight:2x6!nan=7 q.lora_B.weight:4x2", OCLORA_NOT_FINITE, "element 7"},
    {LORA(""), "q.lora_A.weight:2x6@f16!nan=7 q.lora_B.weight:4x2", OCLORA_NOT_FINITE, "element 7"},
    {LORA(""), "q.lora_A.weight:2x6 q.lora_B.weight:4x2@bf16!inf=5", OCLORA_NOT_FINITE,
     "q.lora_B.weight"},
    {LORA(""), "q.lora_A.weight:2x6@i32 q.lora_B.weight:4x2", OCLORA_UNSUPPORTED_DTYPE,
     "q.lora_A.weight"},
    {LORA(""), "q.lora_A.weight:2x6@q9 q.lora_B.weight:4x2", OCLORA_UNSUPPORTED_DTYPE, "Q9"},
    {LORA(""), "q.lora_A.weight:12 q.lora_B.weight:4x2", OCLORA_SHAPE_MISMATCH, "no matrix"},
    {LORA(""), "q.lora_A.weight:2x0 q.lora_B.weight:4x2", OCLORA_SHAPE_MISMATCH, "no matrix"},
    {LORA(",\"lora_bias\":true"), AB, OCLORA_MISSING_TENSOR, "q.lora_B.bias"},
    {LORA(",\"lora_bias\":true"), AB " q.lora_B.bias:5", OCLORA_SHAPE_MISMATCH, "q.lora_B.bias"},
    {LORA(""), AB " q.lora_B.bias:4", OCLORA_MODULE_MISMATCH, "lora_bias"},
    {LORA(",\"use_dora\":true"), AB, OCLORA_MISSING_TENSOR, "q.lora_magnitude_vector"},
    {LORA(",\"use_dora\":true"), AB " q.lora_magnitude_vector:3", OCLORA_SHAPE_MISMATCH,
     "lora_magnitude_vector has 3"},
    {LORA(""), AB " q.lora_magnitude_vector:4", OCLORA_MODULE_MISMATCH, "use_dora"},
    {LORA(",\"use_qalora\":true,\"lora_bias\":true"), AB, OCLORA_NOT_SUPPORTED,
     "use_qalora with lora_bias"},
    {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":1e300,\"target_modules\":[\"q\"]}", AB,
     OCLORA_NOT_FINITE, "scale"},
    /* QA-LoRA */
    {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":0,\"qalora_pool\":\"avg\""), AB,
     OCLORA_SHAPE_MISMATCH, "group"},
    {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":2.5,\"qalora_pool\":\"avg\""), AB,
     OCLORA_SHAPE_MISMATCH, "group"},
    {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":2"), AB, OCLORA_NOT_SUPPORTED, "qalora_pool"},
    {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":1048576,\"qalora_pool\":\"sum\""), AB,
     OCLORA_SHAPE_MISMATCH, "inputs"},
    /* chains and blocks */
    {KIND("COLA", ",\"r\":[2,1],\"lora_alpha\":[1,1]"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x6 q.lora_B.1.weight:4x2",
     OCLORA_RANK_MISMATCH, "pair 1 has rank 2"},
    {KIND("COLA", ",\"r\":[2],\"lora_alpha\":[1]"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x6 q.lora_B.1.weight:4x2",
     OCLORA_RANK_MISMATCH, "1 entries"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"), "q.lora_A.0.weight:2x6 q.lora_B.1.weight:4x2",
     OCLORA_MISSING_TENSOR, "q.lora_B.0.weight"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_B.1.weight:4x2", OCLORA_MISSING_TENSOR,
     "no lora_A.1"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"), "q.lora_B.0.weight:4x2", OCLORA_MISSING_TENSOR,
     "no lora_A"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x5 q.lora_B.1.weight:4x2",
     OCLORA_SHAPE_MISMATCH, "differ in input"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.00.weight:2x6 q.lora_B.00.weight:4x2",
     OCLORA_FILE_FORMAT, "mean the same"},
    {KIND("COLA", ",\"r\":2,\"lora_alpha\":1,\"scaling\":\"half\""),
     "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2", OCLORA_NOT_SUPPORTED, "scaling"},
    {KIND("COLA", ",\"r\":600,\"lora_alpha\":1"),
     "q.lora_A.0.weight:600x2 q.lora_B.0.weight:2x600 q.lora_A.1.weight:600x2 "
     "q.lora_B.1.weight:2x600",
     OCLORA_NOT_SUPPORTED, "add up to 1200"},
    {KIND("MELORA", ",\"r\":[2,1],\"lora_alpha\":[1,1]"),
     "q.lora_A.0.weight:2x3 q.lora_B.0.weight:4x2", OCLORA_RANK_MISMATCH, "lists 2 ranks"},
    {KIND("MELORA", ",\"r\":2,\"lora_alpha\":1"), "q.lora_A.1.weight:2x3 q.lora_B.1.weight:4x2",
     OCLORA_MISSING_TENSOR, "block 0"},
    {KIND("MELORA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A.0.weight:2x3 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x4 q.lora_B.1.weight:4x2",
     OCLORA_SHAPE_MISMATCH, "differ"},
    /* Delta-LoRA */
    {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1,\"delta_lambda\":1"), DELTA,
     OCLORA_MISSING_TENSOR, "lora_B_start"},
    {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1"), DELTA "q.lora_B_start.weight:4x2",
     OCLORA_FILE_FORMAT, "delta_lambda"},
    {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1,\"delta_lambda\":1"),
     DELTA "q.lora_B_start.weight:4x1", OCLORA_RANK_MISMATCH, "rank 1"},
    {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1,\"delta_lambda\":1"),
     DELTA "q.lora_B_start.weight:5x2", OCLORA_SHAPE_MISMATCH, "differ"},
    /* shared factors */
    {KIND("LOTR", ",\"rank\":2"), "q.lotr.rhs:6x2 q.lotr.mid:2x3 q.lotr.lhs:2x4",
     OCLORA_SHAPE_MISMATCH, "q.lotr.mid is 2 x 3"},
    {KIND("LOTR", ",\"rank\":2"), "q.lotr.rhs:6x2 q.lotr.lhs:2x4", OCLORA_MISSING_TENSOR,
     "q.lotr.mid"},
    {KIND("LOTR", ",\"rank\":2"), "q.lotr.rhs:6x2 q.lotr.mid:2x2 q.lotr.lhs:3x4",
     OCLORA_RANK_MISMATCH, "rank 3"},
    {KIND("LOTR", ",\"rank\":3"), "q.lotr.rhs:6x2 q.lotr.mid:2x2 q.lotr.lhs:2x4",
     OCLORA_RANK_MISMATCH, "says 3"},
    {KIND("VERA", ",\"r\":2,\"save_projection\":false"), "q.vera_lambda_d:2 q.vera_lambda_b:4",
     OCLORA_NOT_SUPPORTED, "seed"},
    {KIND("VERA", ",\"r\":2"), "q.vera_lambda_d:2 q.vera_lambda_b:4", OCLORA_MISSING_TENSOR,
     "base_model.vera_A"},
    {KIND("VERA", ",\"r\":2"),
     "q.vera_lambda_d:3 q.vera_lambda_b:4 /base_model.vera_A:2x6 /base_model.vera_B:4x2",
     OCLORA_SHAPE_MISMATCH, "vera_lambda_d has 3"},
    {KIND("VERA", ",\"r\":2"),
     "q.vera_lambda_d:2 q.vera_lambda_b:5 /base_model.vera_A:2x6 /base_model.vera_B:4x2",
     OCLORA_SHAPE_MISMATCH, "vera_lambda_b has 5"},
    {KIND("VERA", ",\"r\":2"),
     "q.vera_lambda_d:2 q.vera_lambda_b:4 /base_model.vera_A:2x6 /base_model.vera_B:4x3",
     OCLORA_RANK_MISMATCH, "rank 3"},
    {KIND("VERA", ",\"r\":3"),
     "q.vera_lambda_d:2 q.vera_lambda_b:4 /base_model.vera_A:2x6 /base_model.vera_B:4x2",
     OCLORA_RANK_MISMATCH, "says 3"},
    /* MTL-LoRA: memory has no path to name a task in */
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL "q.lora_lambdas:2x2x2",
     OCLORA_INVALID_ARGUMENT, "2 tasks"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL "q.lora_lambdas:2x2x3",
     OCLORA_SHAPE_MISMATCH, "q.lora_lambdas"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL "q.lora_lambdas:3x2", OCLORA_SHAPE_MISMATCH,
     "q.lora_lambdas"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"), MTL, OCLORA_MISSING_TENSOR, "q.lora_lambdas"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A:1x2x6 q.lora_B:3x4x2 q.lora_B_w:2x4 q.lora_lambdas:2x2", OCLORA_SHAPE_MISMATCH,
     "q.lora_B_w"},
    {KIND("MTL_LORA", ",\"r\":2,\"lora_alpha\":1"),
     "q.lora_A:1x2x6 q.lora_B:3x4x3 q.lora_B_w:2x3 q.lora_lambdas:2x2", OCLORA_RANK_MISMATCH,
     "rank 3"},
    /* MeteoRA */
    {METEORA_CONFIG, "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x5",
     OCLORA_SHAPE_MISMATCH, "q.moe_gate.weight is 2 x 5"},
    {METEORA_CONFIG, "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:3x6",
     OCLORA_SHAPE_MISMATCH, "lists 2 adapters"},
    {METEORA_CONFIG, "q.lora_A.weight:4x6 q.lora_B.weight:5x4", OCLORA_MISSING_TENSOR,
     "q.moe_gate.weight"},
    {METEORA_CONFIG, "q.lora_A.weight:5x6 q.lora_B.weight:5x5 q.moe_gate.weight:2x6",
     OCLORA_RANK_MISMATCH, "does not divide"},
    {METEORA_CONFIG, "q.lora_A.weight:6x6 q.lora_B.weight:5x6 q.moe_gate.weight:2x6",
     OCLORA_RANK_MISMATCH, "has rank 3"},
    {KIND("METEORA", ",\"r\":2,\"lora_alpha\":1,\"top_k\":3"),
     "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x6", OCLORA_RANK_MISMATCH,
     "top_k"},
    {KIND("METEORA", ",\"r\":2,\"lora_alpha\":1,\"router_temperature\":0"),
     "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x6", OCLORA_FILE_FORMAT,
     "temperature"},
    {KIND("METEORA", ",\"adapters\":[\"a\",\"b\"],\"r\":{\"a\":2},\"top_k\":1"),
     "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x6", OCLORA_RANK_MISMATCH,
     "r has no number for adapter 1"},
    {KIND("METEORA", ",\"top_k\":1"),
     "q.lora_A.weight:257x6 q.lora_B.weight:5x257 q.moe_gate.weight:257x6", OCLORA_NOT_SUPPORTED,
     "257 experts"},
    {KIND("METEORA", ",\"top_k\":1"),
     "q.lora_A.weight:1200x2 q.lora_B.weight:2x1200 q.moe_gate.weight:2x2", OCLORA_NOT_SUPPORTED,
     "rank 1200 is over 1024"},
    /* conditional MixLoRA */
    {MIX_CONFIG(""), "q.lora_A.0:1x6 q.lora_B.0:1x4 " GATES2, OCLORA_MISSING_TENSOR, "2 experts"},
    {MIX_CONFIG(""), "q.lora_A.0:1x6 q.lora_A.2:1x6 q.lora_B.0:1x4 q.lora_B.1:1x4 " GATES2,
     OCLORA_MISSING_TENSOR, "q.lora_A.1"},
    {MIX_CONFIG(""), MIX2 "q.cmoa_selector.loraA_selector.weight:2x6", OCLORA_MISSING_TENSOR,
     "loraB_selector"},
    {MIX_CONFIG(""),
     MIX2 "q.cmoa_selector.loraA_selector.weight:2x7 q.cmoa_selector.loraB_selector.weight:2x6",
     OCLORA_SHAPE_MISMATCH, "2 x 7"},
    {MIX_CONFIG(""), "q.lora_A.0:2x6 q.lora_A.1:2x6 q.lora_B.0:1x4 q.lora_B.1:1x4 " GATES2,
     OCLORA_SHAPE_MISMATCH, "q.lora_A.0 is 2 x 6"},
    {MIX_CONFIG(",\"used_scored_weight\":true"), MIX2 GATES2, OCLORA_NOT_SUPPORTED,
     "used_scored_weight"},
    {MIX_CONFIG(",\"cond_type\":\"other\""), MIX2 GATES2, OCLORA_NOT_SUPPORTED, "cond_type other"},
    {MIX_CONFIG(",\"cond_type\":\"input_lora_a_param\""), MIX2 GATES2, OCLORA_MODULE_MISMATCH,
     "does not go with"},
    {MIX_CONFIG(",\"cond_type\":\"input_lora_a_param\""),
     MIX2 "q.cmoa_selector.loraA_selector.weight:2x6 "
          "q.cmoa_loarB_extra_selector.loraB_selector.weight:2x6 "
          "q.cmoa_loarB_extra_selector.loraA_param2loraB_selector.weight:2x7",
     OCLORA_SHAPE_MISMATCH, "2 x 7"},
    {KIND("MIXLORA_CONDITIONAL", ",\"r\":3,\"n_experts\":2"), MIX2 GATES2, OCLORA_RANK_MISMATCH,
     "r is 3"},
    /* multiplicative kinds */
    {KIND("FLORA", ",\"r\":2"), "q.flora_A:2x4", OCLORA_MISSING_TENSOR, "q.flora_B"},
    {KIND("FLORA", ",\"r\":2"), "q.flora_A:2x4 q.flora_B:6x3", OCLORA_RANK_MISMATCH, "rank 3"},
    {KIND("FLORA", ",\"r\":257"), "q.flora_A:257x4 q.flora_B:6x257", OCLORA_NOT_SUPPORTED,
     "rank 257 is over 255"},
    {KIND("FLORA", ",\"r\":3"), "q.flora_A:2x4 q.flora_B:6x2", OCLORA_RANK_MISMATCH, "says 3"},
    {KIND("FLORA", ",\"r\":2,\"flora_reduction\":\"max\""), "q.flora_A:2x4 q.flora_B:6x2",
     OCLORA_NOT_SUPPORTED, "flora_reduction"},
    {KIND("HIRA", ",\"r\":2"), "q.hira_B:4x2", OCLORA_MISSING_TENSOR, "q.hira_A"},
    {KIND("HIRA", ",\"r\":2"), "q.hira_A:3x6 q.hira_B:4x2", OCLORA_RANK_MISMATCH, "rank 3"},
    {KIND("IA3", ""), "q.ia3_l:1x6", OCLORA_SHAPE_MISMATCH, "q.ia3_l is 1 x 6"},
    {KIND("IA3", ",\"feedforward_modules\":[\"q\"]"), "q.ia3_l:4x1", OCLORA_SHAPE_MISMATCH,
     "q.ia3_l is 4 x 1"},
};

static void test_rejects(void)
{
    for (size_t i = 0; i < sizeof rejects / sizeof rejects[0]; i++) {
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        bool right = CHECK_STATUS(load(&image, rejects[i].config, rejects[i].tensors, 0, &err),
                                  rejects[i].status, &err);
        right &= CHECK_CONTAINS(err.text, rejects[i].text);
        CHECK(image == NULL);
        right &= CHECK_INT(oclora_test_live_allocations(), 0);
        if (!right)
            fprintf(stderr, "  case %zu: %s\n  %s\n", i, rejects[i].config, rejects[i].tensors);
    }
}

/* The good neighbours of the rejects above: the table would prove nothing without them. */
static void test_accepts(void)
{
    static const char *const good[][2] = {
        {LORA(""), AB},
        {LORA(",\"lora_bias\":true"), AB " q.lora_B.bias:4"},
        {LORA(",\"use_dora\":true"), AB " q.lora_magnitude_vector:4"},
        {LORA(",\"layers_to_transform\":[0]"),
         "layers.0.q.lora_A.weight:2x6 layers.0.q.lora_B.weight:4x2"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":\"all-linear\"}", AB},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"target_modules\":\".*q|v\"}",
         "x.q.lora_A.weight:2x6 x.q.lora_B.weight:4x2"},
        {KIND("QALORA", ",\"r\":2,\"qalora_group_size\":2,\"qalora_pool\":\"avg\""), AB},
        {KIND("COLA", ",\"r\":2,\"lora_alpha\":1"),
         "q.lora_A.0.weight:2x6 q.lora_B.0.weight:4x2 q.lora_A.7.weight:2x6 q.lora_B.7.weight:4x2"},
        {KIND("MELORA", ",\"r\":2,\"lora_alpha\":1"),
         "q.lora_A.0.weight:2x3 q.lora_B.0.weight:4x2 q.lora_A.1.weight:2x3 q.lora_B.1.weight:4x2"},
        {KIND("DELTA_LORA", ",\"r\":2,\"lora_alpha\":1,\"delta_lambda\":1"),
         DELTA "q.lora_B_start.weight:4x2"},
        {KIND("LOTR", ",\"rank\":2"), "q.lotr.rhs:6x2 q.lotr.mid:2x2 q.lotr.lhs:2x4"},
        {KIND("VERA", ",\"r\":2"),
         "q.vera_lambda_d:2 q.vera_lambda_b:4 /base_model.vera_A:2x6 /base_model.vera_B:5x2"},
        {METEORA_CONFIG, "q.lora_A.weight:4x6 q.lora_B.weight:5x4 q.moe_gate.weight:2x6"},
        {MIX_CONFIG(""), MIX2 GATES2},
        {MIX_CONFIG(",\"cond_type\":\"input_lora_a_param\""),
         MIX2 "q.cmoa_selector.loraA_selector.weight:2x6 "
              "q.cmoa_loarB_extra_selector.loraB_selector.weight:2x6 "
              "q.cmoa_loarB_extra_selector.loraA_param2loraB_selector.weight:2x6"},
        {KIND("FLORA", ",\"r\":2"), "q.flora_A:2x4 q.flora_B:6x2"},
        {KIND("HIRA", ",\"r\":2"), "q.hira_A:2x6 q.hira_B:4x2"},
        {KIND("IA3", ""), "q.ia3_l:4x1"},
        {KIND("IA3", ",\"feedforward_modules\":[\"q\"]"), "q.ia3_l:1x6"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        CHECK_OK(load(&image, good[i][0], good[i][1], 0, &err), &err);
        CHECK(image != NULL && image->n_modules == 1);
        oclora_adapter_image_destroy(image);
    }
}

/* More parts than a kind may have. */
static void test_many_parts(void)
{
    static const struct {
        const char *config;
        int count;
        const char *a, *b; /* behind the number */
        const char *text;
    } cases[] = {
        {KIND("MELORA", ",\"r\":1,\"lora_alpha\":1"), 65, ".weight:1x2", ".weight:2x1",
         "65 blocks"},
        {KIND("MIXLORA_CONDITIONAL", ",\"r\":1,\"n_experts\":257"), 257, ":1x2", ":1x2",
         "257 experts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *tensors = malloc(64 * (size_t)cases[i].count);
        oclora_adapter_image *image = NULL;
        oclora_error err = {0};
        size_t used = 0;
        if (!CHECK(tensors != NULL)) return;
        for (int n = 0; n < cases[i].count; n++)
            used += (size_t)snprintf(tensors + used, 64, "q.lora_A.%d%s q.lora_B.%d%s ", n,
                                     cases[i].a, n, cases[i].b);
        tensors[used - 1] = '\0';
        CHECK_STATUS(load(&image, cases[i].config, tensors, 0, &err), OCLORA_NOT_SUPPORTED, &err);
        CHECK_CONTAINS(err.text, cases[i].text);
        free(tensors);
    }
}

/* What no file reaches, since views are checked before. */
static void test_guards(void)
{
    oclora_matrix matrix = {0};
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    oclora_factor factor = {0};
    float value = 1.0f;
    const oclora_file_tensor tensor = {
        .name = "t", .type = OCLORA_TYPE_F32, .data = (const uint8_t *)&value};
    const oclora_view empty = {&tensor, 0, 0, 1}, wide = {&tensor, 0, 1, OCLORA_DIM_MAX + 1};
    const oclora_env *env = oclora_test_env();
    CHECK_STATUS(oclora_matrix_create(&matrix, env, 0, 1, &err), OCLORA_SHAPE_MISMATCH, &err);
    CHECK_STATUS(oclora_matrix_create(&matrix, env, 1, OCLORA_DIM_MAX + 1, &err),
                 OCLORA_SHAPE_MISMATCH, &err);
    CHECK_OK(oclora_image_create(&image, env, &err), &err);
    CHECK_STATUS(oclora_image_factor_of(image, &factor, empty, false, 0, &err),
                 OCLORA_SHAPE_MISMATCH, &err);
    CHECK_STATUS(oclora_image_factor_of(image, &factor, wide, true, 0, &err), OCLORA_SHAPE_MISMATCH,
                 &err);
    oclora_adapter_image_destroy(image);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"rejections", test_rejects},
        {"their good neighbours", test_accepts},
        {"more parts than a kind may have", test_many_parts},
        {"guards", test_guards},
    };
    return oclora_test_main("adapter_load_cases", tests, sizeof tests / sizeof tests[0]);
}
