/* runtime.c - an unmodified llama.cpp: backends, model, context. */
#include "tools/generate/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* llama.cpp's log callback has no owner, so its latest complaints live here. */
static struct {
    bool verbose;
    bool keep; /* what continues the line belongs to it */
    char last[768];
} log_state;

static void keep_log(const char *text, bool goes_on)
{
    size_t used = strlen(log_state.last);
    snprintf(log_state.last + used, sizeof log_state.last - used, "%s%s",
             used && !goes_on ? "; " : "", text);
    size_t end = strlen(log_state.last);
    while (end > 0 && log_state.last[end - 1] == '\n') log_state.last[--end] = '\0';
}

static void on_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (log_state.verbose) fputs(text, stderr);
    bool goes_on = level == GGML_LOG_LEVEL_CONT;
    if (!goes_on) log_state.keep = level >= GGML_LOG_LEVEL_WARN;
    if (log_state.keep) keep_log(text, goes_on);
}

const char *oclora_runtime_last_log(void)
{
    return log_state.last;
}

void oclora_runtime_forget_log(void)
{
    log_state.last[0] = '\0';
}

static bool say(const oclora_runtime *r, const char *what, const char *where)
{
    const char *log = oclora_runtime_last_log();
    fprintf(stderr, "%s: %s%s%s%s%s\n", r->options->program, what, where ? ": " : "",
            where ? where : "", log[0] ? ": " : "", log);
    return false;
}

/* The plugin beside this program: bin/../lib. */
static void default_plugin_path(char *out, size_t size)
{
    char self[3072];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) *slash = '\0';
    snprintf(out, size, "%s/../lib/libggml-oclora.so", self);
}

static const oclora_ggml_api *api_of(ggml_backend_reg_t reg)
{
    void *address = reg ? ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API) : NULL;
    oclora_ggml_get_api_fn get;
    _Static_assert(sizeof get == sizeof address, "function and data pointers have one size");
    memcpy(&get, &address, sizeof get);
    return address ? get(OCLORA_GGML_MAJOR) : NULL;
}

/* The host may have loaded the plugin itself by GGML_BACKEND_PATH. */
static ggml_backend_reg_t find_loaded_plugin(void)
{
    for (size_t i = 0; i < ggml_backend_reg_count(); ++i) {
        ggml_backend_reg_t reg = ggml_backend_reg_get(i);
        if (ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API)) return reg;
    }
    return NULL;
}

static bool pick_device(oclora_runtime *r)
{
    const char *wanted = r->options->device;
    size_t count = ggml_backend_reg_dev_count(r->reg);
    for (size_t i = 0; i < count && !r->devices[0]; ++i) {
        ggml_backend_dev_t device = ggml_backend_reg_dev_get(r->reg, i);
        if (count == 1 || !wanted || strstr(ggml_backend_dev_name(device), wanted) ||
            strstr(ggml_backend_dev_description(device), wanted)) {
            r->devices[0] = device;
        }
    }
    return r->devices[0] ||
           say(r, "OCLORA_NO_DEVICE: the plugin offers no usable OpenCL device", wanted);
}

static bool load_plugin(oclora_runtime *r)
{
    char beside[4096];
    const char *path = r->options->plugin ? r->options->plugin : getenv("OCLORA_PLUGIN");
    if (!path) {
        default_plugin_path(beside, sizeof beside);
        path = beside;
    }
    if (r->options->device && setenv("OCLORA_DEVICES", r->options->device, 1) != 0) {
        return say(r, "the environment could not be set", NULL);
    }
    if (access(path, R_OK) != 0) return say(r, "OCLORA_FILE_NOT_FOUND: no plugin (--plugin)", path);
    r->reg = find_loaded_plugin();
    if (!r->reg) r->reg = ggml_backend_load(path);
    if (!r->reg) return say(r, "the plugin could not be loaded", path);
    if (!pick_device(r)) return false;
    r->api = api_of(r->reg);
    return r->api || say(r, "OCLORA_ABI_MISMATCH: the plugin has another control interface", path);
}

bool oclora_runtime_open(oclora_runtime *out, const oclora_options *options)
{
    *out = (oclora_runtime){.options = options};
    log_state.verbose = options->verbose;
    llama_log_set(on_log, NULL);
    const char *folder = getenv("OCLORA_LLAMA_LIB");
    ggml_backend_load_all_from_path(folder ? folder : OCLORA_LLAMA_LIB_DIR);
    llama_backend_init();
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) {
        return say(out, "llama.cpp's CPU backend was not found (OCLORA_LLAMA_LIB names its folder)",
                   folder ? folder : OCLORA_LLAMA_LIB_DIR);
    }
    oclora_runtime_forget_log();
    return options->stock || load_plugin(out);
}

bool oclora_runtime_load_model(oclora_runtime *r)
{
    const oclora_options *o = r->options;
    struct llama_model_params params = llama_model_default_params();
    params.devices = r->devices; /* stock: an empty list, the CPU alone */
    params.n_gpu_layers = o->stock ? 0 : o->gpu_layers;
    if (access(o->model, R_OK) != 0) return say(r, "OCLORA_FILE_NOT_FOUND: no model", o->model);
    oclora_runtime_forget_log();
    r->model = llama_model_load_from_file(o->model, params);
    if (!r->model) return say(r, "the model could not be loaded", o->model);
    r->n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(r->model));
    return true;
}

bool oclora_runtime_create_context(oclora_runtime *r, int32_t n_seq, int32_t ctx)
{
    static const enum ggml_type kv_types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0};
    const oclora_options *o = r->options;
    if (r->context) llama_free(r->context);
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)ctx * (uint32_t)n_seq;
    params.n_seq_max = (uint32_t)n_seq;
    params.n_batch = (uint32_t)(o->batch > n_seq ? o->batch : n_seq);
    params.n_ubatch = (uint32_t)o->ubatch;
#ifndef OCLORA_LLAMA_BEFORE_OUTPUTS_MAX /* tests build this against an older llama.h too */
    params.n_outputs_max = (uint32_t)n_seq; /* one row of logits per sequence and batch */
#endif
    if (o->threads) params.n_threads = params.n_threads_batch = o->threads;
    params.type_k = params.type_v = kv_types[o->kv];
    params.flash_attn_type = (enum llama_flash_attn_type)o->flash;
    params.kv_unified = o->kv_unified;
    params.offload_kqv = o->kv_offload;
    params.no_perf = true;
    oclora_runtime_forget_log();
    r->context = llama_init_from_model(r->model, params);
    if (!r->context) return say(r, "the llama.cpp context could not be created", NULL);
    r->n_seq = n_seq;
    r->n_ctx_seq = ctx;
    return true;
}

void oclora_runtime_close(oclora_runtime *r)
{
    if (r->context) llama_free(r->context);
    if (r->model) llama_model_free(r->model);
    llama_backend_free();
    *r = (oclora_runtime){0};
}

void oclora_runtime_describe(const oclora_runtime *r, char *out, size_t size)
{
    ggml_backend_dev_t device = r->devices[0];
    if (!device) device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    snprintf(out, size, "%s: %s", ggml_backend_dev_name(device),
             ggml_backend_dev_description(device));
}
