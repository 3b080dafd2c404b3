/* main.c - oclora-generate: requests in, answers out, every sequence with its own adapters. */
#include "tools/generate/serve.h"

#include <stdlib.h>
#include <string.h>

/* Outcome of loading each adapter of the command line, in its order. */
typedef struct loaded {
    oclora_status status;
    oclora_ggml_message message;
} loaded;

typedef struct program {
    oclora_options options;
    oclora_runtime runtime;
    oclora_requests requests;
    oclora_timing timing;
    loaded *loaded;
    oclora_request **wave;
} program;

static bool configure(program *p)
{
    const oclora_options *o = &p->options;
    oclora_ggml_message message = {.struct_size = sizeof message};
    oclora_ggml_session_args args = {.struct_size = sizeof args,
                                     .model_path = o->model,
                                     .model_path_length = strlen(o->model),
                                     .pool_bytes = o->pool_bytes,
                                     .store = o->store};
    oclora_status status = p->runtime.api->configure(&args, &message);
    if (status != OCLORA_OK) {
        fprintf(stderr, "%s: %s: %s\n", o->program, p->runtime.api->status_name(status),
                message.text);
    }
    return status == OCLORA_OK;
}

static bool load_adapters(program *p)
{
    const oclora_options *o = &p->options;
    bool ok = true;
    for (size_t i = 0; i < o->n_adapters; ++i) {
        const oclora_named_path *a = &o->adapters[i];
        p->loaded[i].message.struct_size = sizeof p->loaded[i].message;
        p->loaded[i].status = p->runtime.api->adapter_load(NULL, a->name, strlen(a->name), a->path,
                                                           strlen(a->path), &p->loaded[i].message);
        if (p->loaded[i].status == OCLORA_OK) continue;
        fprintf(stderr, "%s: adapter \"%s\": %s: %s\n", o->program, a->name,
                p->runtime.api->status_name(p->loaded[i].status), p->loaded[i].message.text);
        ok = false;
    }
    return ok;
}

/* A request whose adapters are not all loaded fails before anything is decoded. */
static void check_adapters(const program *p, oclora_request *r)
{
    const oclora_options *o = &p->options;
    for (size_t k = 0; k < r->n_mix; ++k) {
        size_t i = 0;
        while (i < o->n_adapters && strcmp(o->adapters[i].name, r->mix[k].name) != 0) ++i;
        oclora_status status = i < o->n_adapters ? p->loaded[i].status : OCLORA_ADAPTER_NOT_LOADED;
        if (status == OCLORA_OK) continue;
        oclora_request_fail(
            r, "%s: adapter \"%s\": %s", p->runtime.api->status_name(status), r->mix[k].name,
            i < o->n_adapters ? p->loaded[i].message.text : "was not given with -a");
    }
}

/* Assigns the request's adapters to a sequence. */
static oclora_status map(const program *p, uint32_t seq, oclora_request *r,
                         oclora_ggml_message *message)
{
    oclora_ggml_adapter mix[OCLORA_MIX_MAX];
    memset(mix, 0, sizeof mix);
    for (size_t k = 0; k < r->n_mix; ++k) {
        mix[k].name = r->mix[k].name;
        mix[k].name_length = strlen(r->mix[k].name);
        mix[k].weight = r->mix[k].weight;
    }
    return p->runtime.api->map(NULL, seq, mix, (uint32_t)r->n_mix, message);
}

/* Fills a wave from *next on: as many requests as there are sequences and room in the pool. */
static int32_t fill_wave(program *p, size_t *next)
{
    const oclora_ggml_api *api = p->runtime.api;
    int32_t count = 0;
    api->clear(NULL, NULL);
    for (; *next < p->requests.count && count < p->runtime.n_seq; ++*next) {
        oclora_request *r = &p->requests.items[*next];
        if (r->error[0]) continue;
        oclora_ggml_message message = {.struct_size = sizeof message};
        oclora_status status = map(p, (uint32_t)count, r, &message);
        if (status == OCLORA_POOL_FULL && count > 0) return count; /* it goes into the next wave */
        if (status == OCLORA_OK) {
            p->wave[count++] = r;
        } else {
            oclora_request_fail(r, "%s: %s", api->status_name(status), message.text);
        }
    }
    return count;
}

static void decode_all(program *p)
{
    size_t next = 0;
    oclora_timing ignored = {0};
    for (int32_t count; (count = fill_wave(p, &next)) > 0;) {
        if (p->options.warmup && p->timing.waves == 0) {
            oclora_wave_decode(&p->runtime, p->wave, count, 2, &ignored);
            for (int32_t i = 0; i < count; ++i) {
                if (p->wave[i]->error[0]) return;
            }
        }
        oclora_wave_decode(&p->runtime, p->wave, count, 0, &p->timing);
    }
}

/* One stream cannot be told from a unified cache, so a context has at least two sequences. */
enum { SEQUENCES_MIN = 2 };

static int run(program *p)
{
    if (!oclora_runtime_open(&p->runtime, &p->options) || !configure(p) ||
        !oclora_runtime_load_model(&p->runtime)) {
        return OCLORA_EXIT_ENVIRONMENT;
    }
    p->loaded = calloc(p->options.n_adapters + 1, sizeof *p->loaded);
    p->wave = calloc((size_t)p->options.parallel, sizeof(oclora_request *));
    if (!p->loaded || !p->wave) {
        fprintf(stderr, "%s: out of memory\n", p->options.program);
        return OCLORA_EXIT_ENVIRONMENT;
    }
    bool all_loaded = load_adapters(p);
    if (!oclora_requests_read(&p->requests, &p->options, p->runtime.model)) {
        return OCLORA_EXIT_ENVIRONMENT;
    }
    for (size_t i = 0; i < p->requests.count; ++i) check_adapters(p, &p->requests.items[i]);
    if (!oclora_serve_prepare(&p->runtime, &p->requests, SEQUENCES_MIN)) {
        return OCLORA_EXIT_ENVIRONMENT;
    }
    if (p->runtime.context) decode_all(p);
    int status = oclora_serve_finish(&p->runtime, &p->requests, &p->timing);
    return all_loaded ? status : OCLORA_EXIT_REQUEST;
}

int main(int argc, char **argv)
{
    static program p;
    int status = oclora_options_parse(&p.options, false, argc, argv);
    if (status == OCLORA_EXIT_OK) {
        status = run(&p);
        oclora_runtime_close(&p.runtime);
    }
    oclora_requests_release(&p.requests);
    oclora_options_release(&p.options);
    free(p.loaded);
    free(p.wave);
    return status == OCLORA_EXIT_HELP ? OCLORA_EXIT_OK : status;
}
