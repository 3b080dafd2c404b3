/* make_f32.c - an F32 copy of a quantised model, for comparisons without activation rounding.
 * Usage: make_f32 IN.gguf OUT.gguf */
#include <llama.h>

#include <stdio.h>

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s IN.gguf OUT.gguf\n", argv[0]);
        return 2;
    }
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(OCLORA_LLAMA_LIB_DIR);
    llama_backend_init();
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    params.ftype = LLAMA_FTYPE_ALL_F32;
    params.allow_requantize = true;
    uint32_t status = llama_model_quantize(argv[1], argv[2], &params);
    llama_backend_free();
    return status == 0 ? 0 : 1;
}
