/* main.c - oclora-stock: the same requests on llama.cpp's own CPU backend and LoRA, for comparison.
 * llama.cpp applies every set adapter to every row, so requests with different adapters take turns.
 */
#include "tools/generate/serve.h"

#include <stdlib.h>
#include <string.h>

typedef struct program {
    oclora_options options;
    oclora_runtime runtime;
    oclora_requests requests;
    oclora_timing timing;
    struct llama_adapter_lora **loaded;
    oclora_request **wave;
    bool *served;
} program;

static bool load_adapters(program *p)
{
    bool ok = true;
    for (size_t i = 0; i < p->options.n_adapters; ++i) {
        const oclora_named_path *a = &p->options.adapters[i];
        oclora_runtime_forget_log();
        p->loaded[i] = llama_adapter_lora_init(p->runtime.model, a->path);
        if (p->loaded[i]) continue;
        fprintf(stderr, "%s: adapter \"%s\": %s: %s\n", p->options.program, a->name, a->path,
                oclora_runtime_last_log());
        ok = false;
    }
    return ok;
}

static struct llama_adapter_lora *find_adapter(const program *p, const char *name)
{
    for (size_t i = 0; i < p->options.n_adapters; ++i) {
        if (strcmp(p->options.adapters[i].name, name) == 0) return p->loaded[i];
    }
    return NULL;
}

static void check_adapters(const program *p, oclora_request *r)
{
    for (size_t k = 0; k < r->n_mix; ++k) {
        if (!find_adapter(p, r->mix[k].name)) {
            oclora_request_fail(r, "adapter \"%s\" is not loaded", r->mix[k].name);
        }
    }
}

static bool set_adapters(program *p, const oclora_request *r)
{
    struct llama_adapter_lora *adapters[OCLORA_MIX_MAX];
    float scales[OCLORA_MIX_MAX];
    for (size_t k = 0; k < r->n_mix; ++k) {
        adapters[k] = find_adapter(p, r->mix[k].name);
        scales[k] = r->mix[k].weight;
    }
    return llama_set_adapters_lora(p->runtime.context, adapters, r->n_mix, scales) == 0;
}

/* The first unserved request and all others with its adapters, up to the sequence limit. */
static int32_t fill_wave(program *p)
{
    int32_t count = 0;
    for (size_t i = 0; i < p->requests.count && count < p->runtime.n_seq; ++i) {
        oclora_request *r = &p->requests.items[i];
        if (p->served[i] || r->error[0]) continue;
        if (count > 0 && !oclora_request_same_adapters(p->wave[0], r)) continue;
        p->served[i] = true;
        p->wave[count++] = r;
    }
    return count;
}

static void decode_all(program *p)
{
    oclora_timing ignored = {0};
    for (int32_t count; (count = fill_wave(p)) > 0;) {
        if (!set_adapters(p, p->wave[0])) {
            for (int32_t i = 0; i < count; ++i) {
                oclora_request_fail(p->wave[i], "llama_set_adapters_lora failed");
            }
            continue;
        }
        if (p->options.warmup && p->timing.waves == 0) {
            oclora_wave_decode(&p->runtime, p->wave, count, 2, &ignored);
        }
        oclora_wave_decode(&p->runtime, p->wave, count, 0, &p->timing);
    }
}

static int run(program *p)
{
    if (!oclora_runtime_open(&p->runtime, &p->options) || !oclora_runtime_load_model(&p->runtime)) {
        return OCLORA_EXIT_ENVIRONMENT;
    }
    p->loaded = calloc(p->options.n_adapters + 1, sizeof *p->loaded);
    p->wave = calloc((size_t)p->options.parallel, sizeof(oclora_request *));
    if (!p->loaded || !p->wave) return OCLORA_EXIT_ENVIRONMENT;
    bool all_loaded = load_adapters(p);
    if (!oclora_requests_read(&p->requests, &p->options, p->runtime.model)) {
        return OCLORA_EXIT_ENVIRONMENT;
    }
    p->served = calloc(p->requests.count + 1, sizeof *p->served);
    if (!p->served) return OCLORA_EXIT_ENVIRONMENT;
    for (size_t i = 0; i < p->requests.count; ++i) check_adapters(p, &p->requests.items[i]);
    if (!oclora_serve_prepare(&p->runtime, &p->requests, 1)) return OCLORA_EXIT_ENVIRONMENT;
    if (p->runtime.context) decode_all(p);
    int status = oclora_serve_finish(&p->runtime, &p->requests, &p->timing);
    return all_loaded ? status : OCLORA_EXIT_REQUEST;
}

int main(int argc, char **argv)
{
    static program p;
    int status = oclora_options_parse(&p.options, true, argc, argv);
    if (status == OCLORA_EXIT_OK) {
        status = run(&p);
        oclora_runtime_close(&p.runtime);
    }
    oclora_requests_release(&p.requests);
    oclora_options_release(&p.options);
    free(p.loaded);
    free(p.wave);
    free(p.served);
    return status == OCLORA_EXIT_HELP ? OCLORA_EXIT_OK : status;
}
