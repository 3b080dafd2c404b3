/* cases.c - the operators' self-test: every kernel, type and variant on shapes that have tails,
 * single elements and broadcasts in them. */
#include "tools/clinfo-bench/selftest.h"

#define TIGHT 1e-11
#define LOOSE 1e-9

#define BINARY(NAME, text, q)                                                                      \
    {                                                                                              \
        "elementwise", text, q, OCLORA_OP_##NAME, 2, {0},                                          \
            {SRC(F32, UNIFORM, 0, 67, 3, 2, 2), SRC(F32, POSITIVE, 0, 67, 1, 2, 1)},               \
            DST(F32, 67, 3, 2, 2), .bound = TIGHT                                                  \
    }
#define UNARY_AS(NAME, text, q, fill_name)                                                         \
    {                                                                                              \
        "elementwise", "unary_" text, q, OCLORA_OP_UNARY, 1, {.variant = OCLORA_UNARY_##NAME},     \
            {SRC(F32, fill_name, 0, 131, 3, 1, 1)}, DST(F32, 131, 3, 1, 1), .bound = LOOSE         \
    }
#define GLU_AS(NAME, text, q)                                                                      \
    {                                                                                              \
        "elementwise", "glu_" text, q, OCLORA_OP_GLU, 1,                                           \
            {.variant = OCLORA_GLU_##NAME, .f = {1.702f, 7.0f}},                                   \
            {SRC(F32, WIDE, 0, 154, 3, 1, 1)}, DST(F32, 77, 3, 1, 1), .bound = LOOSE               \
    }
#define NORM_AS(NAME, text, n, rows)                                                               \
    {                                                                                              \
        "norm", text, true, OCLORA_OP_##NAME, 1, {.f = {1e-5f}},                                   \
            {SRC(F32, UNIFORM, 0, n, rows, 1, 1)}, DST(F32, n, rows, 1, 1), .bound = TIGHT         \
    }
#define MATMUL_AS(TYPE, text, k, m, n, q)                                                          \
    {                                                                                              \
        "matmul_plain", "mul_mat_" text, q, OCLORA_OP_MUL_MAT, 2, {0},                             \
            {SRC(TYPE, UNIFORM, 0, k, m, 1, 1), SRC(F32, UNIFORM, 0, k, n, 1, 1)},                 \
            DST(F32, m, n, 1, 1), .bound = TIGHT                                                   \
    }
#define ROWS_AS(TYPE, text, q)                                                                     \
    {                                                                                              \
        "rows", "get_rows_" text, q, OCLORA_OP_GET_ROWS, 2, {0},                                   \
            {SRC(TYPE, UNIFORM, 0, 256, 9, 1, 1), SRC(I32, INDEX, 9, 5, 1, 1, 1)},                 \
            DST(F32, 256, 5, 1, 1), .bound = 1e-14                                                 \
    }
#define COPY_AS(FROM, TO, text, perm)                                                              \
    {                                                                                              \
        "elementwise", "copy_" text, true, OCLORA_OP_COPY, 1, {0},                                 \
            {SRC(FROM, UNIFORM, 0, 37, 5, 3, 1)}, DST(TO, 37, 5, 3, 1), .bound = 1e-6,             \
                                                                        .permuted = perm           \
    }
#define QUANTIZE_AS(TYPE, text, limit, q)                                                          \
    {                                                                                              \
        "quantize", "set_rows_" text, q, OCLORA_OP_SET_ROWS, 2, {0},                               \
            {SRC(F32, UNIFORM, 0, 96, 5, 1, 1), SRC(I64, INDEX, 5, 5, 1, 1, 1)},                   \
            DST(TYPE, 96, 5, 1, 1), .bound = limit                                                 \
    }
#define DEQUANTIZE_AS(TYPE, text, n, q)                                                            \
    {                                                                                              \
        "quantize", "dequantize_" text, q, OCLORA_OP_COPY, 1, {0},                                 \
            {SRC(TYPE, UNIFORM, 0, n, 5, 1, 1)}, DST(F32, n, 5, 1, 1), .bound = 1e-14              \
    }
#define ATTENTION_AS(text, TYPE, d, rows, heads, kv, kv_heads, n, q, ...)                          \
    {                                                                                              \
        "attention", "flash_attn_" text, q, OCLORA_OP_FLASH_ATTN, n,                               \
            {.f = {0.125f, 0, __VA_ARGS__}},                                                       \
            {SRC(F32, UNIFORM, 0, d, rows, heads, 1), SRC(TYPE, UNIFORM, 0, d, kv, kv_heads, 1),   \
             SRC(TYPE, UNIFORM, 0, d, kv, kv_heads, 1), SRC(F16, MASK, 0, kv, rows, 1, 1),         \
             SRC(F32, UNIFORM, 0, heads, 1, 1, 1)},                                                \
            DST(F32, d, heads, rows, 1), .bound = LOOSE                                            \
    }
#define ROPE_AS(text, mode, dims, n, q)                                                            \
    {                                                                                              \
        "rope", "rope_" text, q, OCLORA_OP_ROPE, n,                                                \
            {.variant = mode, .i = {dims, 2048}, .f = {10000.0f, 1.0f, 0, 1.0f, 32.0f, 1.0f}},     \
            {SRC(F32, UNIFORM, 0, 64, 3, 5, 1), SRC(I32, POSITION, 0, 5, 1, 1, 1),                 \
             SRC(F32, POSITIVE, 0, dims / 2, 1, 1, 1)},                                            \
            DST(F32, 64, 3, 5, 1), .bound = 1e-8                                                   \
    }
#define SECTIONS_AS(text, mode, dims, q)                                                           \
    {                                                                                              \
        "rope", "rope_" text, q, OCLORA_OP_ROPE, 2,                                                \
            {.variant = mode,                                                                      \
             .i = {dims, 2048, 5 | 7 << 16, 3 | 2 << 16},                                          \
             .f = {10000.0f, 1.0f, 0, 1.0f, 32.0f, 1.0f}},                                         \
            {SRC(F32, UNIFORM, 0, 64, 3, 5, 1), SRC(I32, POSITION, 0, 20, 1, 1, 1)},               \
            DST(F32, 64, 3, 5, 1), .bound = 1e-8                                                   \
    }

/* clang-format off: one case a line or three */
const op_case bench_op_cases[] = {
    MATMUL_AS(F32, "f32_one_row", 65, 37, 1, true),
    MATMUL_AS(F32, "f32", 130, 19, 9, false),
    MATMUL_AS(F16, "f16", 130, 37, 5, true),
    MATMUL_AS(BF16, "bf16", 96, 21, 5, false),
    MATMUL_AS(Q8_0, "q8_0", 96, 37, 5, false),
    MATMUL_AS(Q4_0, "q4_0", 96, 37, 5, false),
    MATMUL_AS(Q4_1, "q4_1", 96, 37, 5, true),
    MATMUL_AS(Q5_0, "q5_0", 96, 37, 5, false),
    MATMUL_AS(Q5_1, "q5_1", 96, 37, 5, false),
    MATMUL_AS(Q4_K, "q4_K", 512, 21, 5, true),
    MATMUL_AS(Q5_K, "q5_K", 512, 21, 5, false),
    MATMUL_AS(Q6_K, "q6_K", 512, 21, 5, true),
    MATMUL_AS(F16, "f16_one_row", 130, 37, 1, false),
    MATMUL_AS(BF16, "bf16_one_row", 96, 21, 1, false),
    MATMUL_AS(Q8_0, "q8_0_one_row", 96, 37, 1, false),
    MATMUL_AS(Q4_0, "q4_0_one_row", 96, 37, 1, false),
    MATMUL_AS(Q4_1, "q4_1_one_row", 96, 37, 1, false),
    MATMUL_AS(Q5_0, "q5_0_one_row", 96, 37, 1, false),
    MATMUL_AS(Q5_1, "q5_1_one_row", 96, 37, 1, false),
    MATMUL_AS(Q4_K, "q4_K_one_row", 512, 21, 1, false),
    MATMUL_AS(Q5_K, "q5_K_one_row", 512, 21, 1, false),
    MATMUL_AS(Q6_K, "q6_K_one_row", 512, 21, 1, false),
    {"matmul_plain",
     "mul_mat_f16_broadcast",
     true,
     OCLORA_OP_MUL_MAT,
     2,
     {0},
     {SRC(F16, UNIFORM, 0, 64, 33, 2, 1), SRC(F32, UNIFORM, 0, 64, 3, 6, 2)},
     DST(F32, 33, 3, 6, 2),
     .bound = TIGHT},
    {"matmul_plain",
     "mul_mat_id",
     false,
     OCLORA_OP_MUL_MAT_ID,
     3,
     {0},
     {SRC(Q8_0, UNIFORM, 0, 64, 33, 4, 1), SRC(F32, UNIFORM, 0, 64, 1, 5, 1),
      SRC(I32, INDEX, 4, 2, 5, 1, 1)},
     DST(F32, 33, 2, 5, 1),
     .bound = TIGHT},
    BINARY(ADD, "add", true),
    BINARY(SUB, "sub", false),
    BINARY(MUL, "mul", true),
    BINARY(DIV, "div", false),
    {"rows",
     "add_id",
     false,
     OCLORA_OP_ADD_ID,
     3,
     {0},
     {SRC(F32, UNIFORM, 0, 33, 2, 5, 1), SRC(F32, UNIFORM, 0, 33, 4, 1, 1),
      SRC(I32, INDEX, 4, 2, 5, 1, 1)},
     DST(F32, 33, 2, 5, 1),
     .bound = TIGHT},
    {"elementwise",
     "scale",
     true,
     OCLORA_OP_SCALE,
     1,
     {.f = {-1.25f, 0.5f}},
     {SRC(F32, UNIFORM, 0, 33, 5, 1, 1)},
     DST(F32, 33, 5, 1, 1),
     .bound = TIGHT},
    {"elementwise",
     "clamp",
     false,
     OCLORA_OP_CLAMP,
     1,
     {.f = {-0.25f, 0.5f}},
     {SRC(F32, UNIFORM, 0, 33, 5, 1, 1)},
     DST(F32, 33, 5, 1, 1),
     .bound = 0},
    UNARY_AS(ABS, "abs", false, WIDE),
    UNARY_AS(NEG, "neg", false, WIDE),
    UNARY_AS(TANH, "tanh", false, UNIFORM),
    UNARY_AS(RELU, "relu", false, WIDE),
    UNARY_AS(SIGMOID, "sigmoid", false, WIDE),
    UNARY_AS(GELU, "gelu", false, WIDE),
    UNARY_AS(GELU_QUICK, "gelu_quick", false, WIDE),
    UNARY_AS(GELU_ERF, "gelu_erf", false, WIDE),
    UNARY_AS(SILU, "silu", true, WIDE),
    UNARY_AS(EXP, "exp", false, UNIFORM),
    UNARY_AS(SQR, "sqr", false, WIDE),
    UNARY_AS(SQRT, "sqrt", false, POSITIVE),
    UNARY_AS(LOG, "log", false, POSITIVE),
    UNARY_AS(SIN, "sin", false, WIDE),
    UNARY_AS(COS, "cos", false, WIDE),
    UNARY_AS(STEP, "step", false, WIDE),
    UNARY_AS(SOFTPLUS, "softplus", false, WIDE),
    GLU_AS(REGLU, "reglu", false),
    GLU_AS(GEGLU, "geglu", false),
    GLU_AS(SWIGLU, "swiglu", true),
    GLU_AS(GEGLU_ERF, "geglu_erf", false),
    GLU_AS(GEGLU_QUICK, "geglu_quick", false),
    {"elementwise",
     "glu_swiglu_two",
     true,
     OCLORA_OP_GLU,
     2,
     {.variant = OCLORA_GLU_SWIGLU},
     {SRC(F32, WIDE, 0, 77, 3, 1, 1), SRC(F32, WIDE, 0, 77, 3, 1, 1)},
     DST(F32, 77, 3, 1, 1),
     .bound = LOOSE},
    {"elementwise",
     "glu_swiglu_oai",
     false,
     OCLORA_OP_GLU,
     2,
     {.variant = OCLORA_GLU_SWIGLU_OAI, .f = {1.702f, 7.0f}},
     {SRC(F32, WIDE, 0, 77, 3, 1, 1), SRC(F32, WIDE, 0, 77, 3, 1, 1)},
     DST(F32, 77, 3, 1, 1),
     .bound = LOOSE},
    COPY_AS(F32, F16, "f32_f16", false),
    COPY_AS(F16, F32, "f16_f32", false),
    {"shape",
     "copy_reshaped",
     true,
     OCLORA_OP_COPY,
     1,
     {0},
     {SRC(F32, UNIFORM, 0, 37, 6, 3, 1)},
     DST(F32, 74, 9, 1, 1),
     .bound = 0},
    COPY_AS(F32, F32, "permuted", true),
    {"elementwise",
     "copy_f32_bf16",
     false,
     OCLORA_OP_COPY,
     1,
     {0},
     {SRC(F32, UNIFORM, 0, 37, 5, 3, 1)},
     DST(BF16, 37, 5, 3, 1),
     .bound = 1e-5},
    COPY_AS(BF16, F32, "bf16_f32", false),
    {"shape",
     "copy_i32_permuted",
     true,
     OCLORA_OP_COPY,
     1,
     {0},
     {SRC(I32, INDEX, 99, 33, 3, 2, 1)},
     DST(I32, 33, 3, 2, 1),
     .bound = 0,
     .permuted = true},
    {"elementwise",
     "copy_i32",
     false,
     OCLORA_OP_COPY,
     1,
     {0},
     {SRC(I32, INDEX, 99, 33, 3, 1, 1)},
     DST(I32, 33, 3, 1, 1),
     .bound = 0},
    NORM_AS(NORM, "norm", 577, 3),
    NORM_AS(RMS_NORM, "rms_norm", 577, 3),
    NORM_AS(RMS_NORM, "rms_norm_short", 5, 2),
    NORM_AS(L2_NORM, "l2_norm", 131, 3),
    {"norm",
     "sum_rows",
     true,
     OCLORA_OP_SUM_ROWS,
     1,
     {0},
     {SRC(F32, POSITIVE, 0, 131, 3, 2, 1)},
     DST(F32, 1, 3, 2, 1),
     .bound = TIGHT},
    ROPE_AS("normal", 0, 64, 2, true),
    ROPE_AS("neox", 2, 64, 2, true),
    ROPE_AS("neox_part_factors", 2, 32, 3, false),
    SECTIONS_AS("sections", 8, 64, true),
    SECTIONS_AS("sections_vision", 24, 32, false),
    SECTIONS_AS("sections_in_turns", 40, 64, false),
    {"softmax",
     "soft_max",
     true,
     OCLORA_OP_SOFT_MAX,
     1,
     {.f = {0.5f}},
     {SRC(F32, WIDE, 0, 133, 3, 2, 1)},
     DST(F32, 133, 3, 2, 1),
     .bound = LOOSE},
    {"softmax",
     "soft_max_mask",
     true,
     OCLORA_OP_SOFT_MAX,
     2,
     {.f = {0.5f}},
     {SRC(F32, WIDE, 0, 37, 5, 2, 1), SRC(F16, MASK, 0, 37, 5, 1, 1)},
     DST(F32, 37, 5, 2, 1),
     .bound = LOOSE},
    {"shape",
     "argsort",
     false,
     OCLORA_OP_ARGSORT,
     1,
     {.i = {0}},
     {SRC(F32, UNIFORM, 0, 37, 3, 1, 1)},
     DST(I32, 37, 3, 1, 1),
     .bound = 0},
    {"shape",
     "argsort_descending",
     false,
     OCLORA_OP_ARGSORT,
     1,
     {.i = {1}},
     {SRC(F32, UNIFORM, 0, 37, 3, 1, 1)},
     DST(I32, 37, 3, 1, 1),
     .bound = 0},
    ROWS_AS(F32, "f32", true),
    ROWS_AS(F16, "f16", false),
    ROWS_AS(Q8_0, "q8_0", false),
    ROWS_AS(Q4_0, "q4_0", false),
    ROWS_AS(Q4_1, "q4_1", true),
    ROWS_AS(Q6_K, "q6_K", false),
    ROWS_AS(BF16, "bf16", false),
    ROWS_AS(Q5_0, "q5_0", false),
    ROWS_AS(Q5_1, "q5_1", false),
    ROWS_AS(Q4_K, "q4_K", false),
    ROWS_AS(Q5_K, "q5_K", false),
    {"rows",
     "set_rows_f16",
     true,
     OCLORA_OP_SET_ROWS,
     2,
     {0},
     {SRC(F32, UNIFORM, 0, 67, 5, 1, 1), SRC(I64, INDEX, 9, 5, 1, 1, 1)},
     DST(F16, 67, 9, 1, 1),
     .bound = 1e-6,
     .dst_is_input = true},
    {"rows",
     "set_rows_f32",
     false,
     OCLORA_OP_SET_ROWS,
     2,
     {0},
     {SRC(F32, UNIFORM, 0, 67, 5, 1, 1), SRC(I64, INDEX, 9, 5, 1, 1, 1)},
     DST(F32, 67, 9, 1, 1),
     .bound = 0,
     .dst_is_input = true},
    QUANTIZE_AS(Q8_0, "q8_0", 2e-5, true),
    QUANTIZE_AS(Q4_0, "q4_0", 2e-2, false),
    QUANTIZE_AS(Q4_1, "q4_1", 2e-2, false),
    QUANTIZE_AS(Q5_0, "q5_0", 5e-3, false),
    QUANTIZE_AS(Q5_1, "q5_1", 5e-3, false),
    DEQUANTIZE_AS(Q8_0, "q8_0", 96, false),
    DEQUANTIZE_AS(Q4_0, "q4_0", 96, false),
    DEQUANTIZE_AS(Q4_1, "q4_1", 96, true),
    DEQUANTIZE_AS(Q5_0, "q5_0", 96, false),
    DEQUANTIZE_AS(Q5_1, "q5_1", 96, false),
    DEQUANTIZE_AS(Q4_K, "q4_K", 512, false),
    DEQUANTIZE_AS(Q5_K, "q5_K", 512, false),
    DEQUANTIZE_AS(Q6_K, "q6_K", 512, false),
    {"shape",
     "concat_0",
     true,
     OCLORA_OP_CONCAT,
     2,
     {.i = {0}},
     {SRC(F32, UNIFORM, 0, 33, 3, 2, 1), SRC(F32, UNIFORM, 0, 18, 3, 2, 1)},
     DST(F32, 51, 3, 2, 1),
     .bound = 0},
    {"shape",
     "concat_1",
     false,
     OCLORA_OP_CONCAT,
     2,
     {.i = {1}},
     {SRC(F32, UNIFORM, 0, 33, 3, 2, 1), SRC(F32, UNIFORM, 0, 33, 2, 2, 1)},
     DST(F32, 33, 5, 2, 1),
     .bound = 0},
    {"shape",
     "repeat",
     true,
     OCLORA_OP_REPEAT,
     1,
     {0},
     {SRC(F32, UNIFORM, 0, 19, 1, 2, 1)},
     DST(F32, 38, 3, 4, 1),
     .bound = 0},
    ATTENTION_AS("f16", F16, 64, 3, 6, 77, 2, 4, true, 0),
    ATTENTION_AS("f32_one_key", F32, 64, 2, 2, 1, 1, 4, false, 0),
    ATTENTION_AS("f32_softcap", F32, 80, 3, 2, 33, 1, 4, false, 20.0f),
    ATTENTION_AS("f16_sinks", F16, 128, 2, 4, 40, 4, 5, false, 0),
    ATTENTION_AS("q8_0", Q8_0, 64, 2, 4, 130, 2, 4, false, 0),
    ATTENTION_AS("f16_many_rows", F16, 64, 37, 2, 77, 1, 4, false, 0),
    ATTENTION_AS("bf16", BF16, 64, 2, 2, 33, 1, 4, false, 0),
    ATTENTION_AS("q4_0", Q4_0, 64, 2, 2, 33, 1, 4, false, 0),
    ATTENTION_AS("q4_1", Q4_1, 64, 2, 2, 33, 1, 4, false, 0),
    ATTENTION_AS("q5_0", Q5_0, 64, 2, 2, 33, 1, 4, false, 0),
    ATTENTION_AS("q5_1", Q5_1, 64, 2, 2, 33, 1, 4, false, 0),
};
/* clang-format on */
const size_t bench_n_op_cases = sizeof bench_op_cases / sizeof bench_op_cases[0];
