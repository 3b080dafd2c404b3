/* main.c - oclora-stock: the same requests on llama.cpp's own CPU backend and LoRA, for comparison.
 * llama.cpp applies every set adapter to every row, so requests with different adapters take turns.
 */
#include "tools/generate/serve.h"

typedef struct llama_adapter_lora *loaded;

static bool load(oclora_service *s, size_t index)
{
    const oclora_named_path *a = &s->options.adapters[index];
    loaded *own = (loaded *)s->loaded + index;
    oclora_runtime_forget_log();
    *own = llama_adapter_lora_init(s->runtime.model, a->path);
    if (*own) return true;
    fprintf(stderr, "%s: adapter \"%s\": %s: %s\n", s->options.program, a->name, a->path,
            oclora_runtime_last_log());
    return false;
}

/* NULL if it is not loaded: the last entry is empty. */
static loaded find(const oclora_service *s, const char *name)
{
    return ((const loaded *)s->loaded)[oclora_serve_find(s, name)];
}

static void check(const oclora_service *s, oclora_request *r, const char *name)
{
    if (!find(s, name)) oclora_request_fail(r, "adapter \"%s\" is not loaded", name);
}

static bool set_adapters(const oclora_service *s, const oclora_request *r)
{
    loaded adapters[OCLORA_MIX_MAX];
    float scales[OCLORA_MIX_MAX];
    for (size_t k = 0; k < r->n_mix; ++k) {
        adapters[k] = find(s, r->mix[k].name);
        scales[k] = r->mix[k].weight;
    }
    return llama_set_adapters_lora(s->runtime.context, adapters, r->n_mix, scales) == 0;
}

/* The first unserved request and all others with its adapters, up to the sequence limit. */
static int32_t collect(oclora_service *s)
{
    int32_t count = 0;
    for (size_t i = 0; i < s->requests.count && count < s->runtime.n_seq; ++i) {
        oclora_request *r = &s->requests.items[i];
        if (s->served[i] || r->error[0]) continue;
        if (count > 0 && !oclora_request_same_adapters(s->wave[0], r)) continue;
        s->served[i] = true;
        s->wave[count++] = r;
    }
    return count;
}

static int32_t fill(oclora_service *s)
{
    int32_t count;
    while ((count = collect(s)) > 0 && !set_adapters(s, s->wave[0])) {
        for (int32_t i = 0; i < count; ++i)
            oclora_request_fail(s->wave[i], "llama_set_adapters_lora failed");
    }
    return count;
}

int main(int argc, char **argv)
{
    static const oclora_server server = {.stock = true,
                                         .sequences_min = 1,
                                         .loaded_bytes = sizeof(loaded),
                                         .load = load,
                                         .check = check,
                                         .fill = fill};
    static oclora_service service;
    return oclora_serve_main(&service, &server, argc, argv);
}
