/* convert_model.c - a copy of a model in another type. F32 copies are for comparisons without the
 * rounding of activations that llama.cpp's CPU kernels do beside quantised weights.
 * Usage: convert_model IN.gguf OUT.gguf [TYPE]; TYPE is f32 if not given. */
#include <llama.h>

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum llama_ftype type;
} types[] = {
    {"f32", LLAMA_FTYPE_ALL_F32},        {"f16", LLAMA_FTYPE_MOSTLY_F16},
    {"bf16", LLAMA_FTYPE_MOSTLY_BF16},   {"q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
    {"q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},   {"q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},
    {"q5_0", LLAMA_FTYPE_MOSTLY_Q5_0},   {"q5_1", LLAMA_FTYPE_MOSTLY_Q5_1},
    {"q4_k", LLAMA_FTYPE_MOSTLY_Q4_K_S}, {"q5_k", LLAMA_FTYPE_MOSTLY_Q5_K_S},
    {"q6_k", LLAMA_FTYPE_MOSTLY_Q6_K},
};

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static int convert(const char *in, const char *out, enum llama_ftype type)
{
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(OCLORA_LLAMA_LIB_DIR);
    llama_backend_init();
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = type;
    params.allow_requantize = true;
    uint32_t status = llama_model_quantize(in, out, &params);
    llama_backend_free();
    return status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *wanted = argc == 4 ? argv[3] : "f32";
    for (size_t i = 0; argc >= 3 && argc <= 4 && i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, wanted) == 0) return convert(argv[1], argv[2], types[i].type);
    fprintf(stderr, "usage: %s IN.gguf OUT.gguf [TYPE]\n", argv[0]);
    return 2;
}
