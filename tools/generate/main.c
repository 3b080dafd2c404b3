/* main.c - oclora-generate: requests in, answers out, every sequence with its own adapters. */
#include "tools/generate/serve.h"

#include <string.h>

/* Outcome of loading an adapter of the command line. */
typedef struct loaded {
    oclora_status status;
    oclora_ggml_message message;
} loaded;

static bool configure(oclora_service *s)
{
    const oclora_options *o = &s->options;
    oclora_ggml_message message = {.struct_size = sizeof message};
    oclora_ggml_session_args args = {.struct_size = sizeof args,
                                     .model_path = o->model,
                                     .model_path_length = strlen(o->model),
                                     .pool_bytes = o->pool_bytes,
                                     .store = o->store};
    oclora_status status = s->runtime.api->configure(&args, &message);
    if (status != OCLORA_OK) {
        fprintf(stderr, "%s: %s: %s\n", o->program, s->runtime.api->status_name(status),
                message.text);
    }
    return status == OCLORA_OK;
}

static bool load(oclora_service *s, size_t index)
{
    const oclora_named_path *a = &s->options.adapters[index];
    loaded *own = (loaded *)s->loaded + index;
    own->message.struct_size = sizeof own->message;
    own->status = s->runtime.api->adapter_load(NULL, a->name, strlen(a->name), a->path,
                                               strlen(a->path), &own->message);
    if (own->status == OCLORA_OK) return true;
    fprintf(stderr, "%s: adapter \"%s\": %s: %s\n", s->options.program, a->name,
            s->runtime.api->status_name(own->status), own->message.text);
    return false;
}

static void check(const oclora_service *s, oclora_request *r, const char *name)
{
    const size_t i = oclora_serve_find(s, name);
    const bool given = i < s->options.n_adapters;
    const loaded *own = (const loaded *)s->loaded + i;
    const oclora_status status = given ? own->status : OCLORA_ADAPTER_NOT_LOADED;
    if (status == OCLORA_OK) return;
    oclora_request_fail(r, "%s: adapter \"%s\": %s", s->runtime.api->status_name(status), name,
                        given ? own->message.text : "was not given with -a");
}

/* Assigns the request's adapters to a sequence. */
static oclora_status map(const oclora_service *s, uint32_t seq, const oclora_request *r,
                         oclora_ggml_message *message)
{
    oclora_ggml_adapter mix[OCLORA_MIX_MAX];
    memset(mix, 0, sizeof mix);
    for (size_t k = 0; k < r->n_mix; ++k) {
        mix[k].name = r->mix[k].name;
        mix[k].name_length = strlen(r->mix[k].name);
        mix[k].weight = r->mix[k].weight;
    }
    return s->runtime.api->map(NULL, seq, mix, (uint32_t)r->n_mix, message);
}

/* As many requests as there are sequences and room in the pool. */
static int32_t fill(oclora_service *s)
{
    const oclora_ggml_api *api = s->runtime.api;
    int32_t count = 0;
    api->clear(NULL, NULL);
    for (; s->next < s->requests.count && count < s->runtime.n_seq; ++s->next) {
        oclora_request *r = &s->requests.items[s->next];
        if (r->error[0]) continue;
        oclora_ggml_message message = {.struct_size = sizeof message};
        oclora_status status = map(s, (uint32_t)count, r, &message);
        if (status == OCLORA_POOL_FULL && count > 0) return count; /* it goes into the next wave */
        if (status == OCLORA_OK) {
            s->wave[count++] = r;
        } else {
            oclora_request_fail(r, "%s: %s", api->status_name(status), message.text);
        }
    }
    return count;
}

int main(int argc, char **argv)
{
    /* One stream cannot be told from a unified cache, so a context has at least two sequences. */
    static const oclora_server server = {.sequences_min = 2,
                                         .loaded_bytes = sizeof(loaded),
                                         .configure = configure,
                                         .load = load,
                                         .check = check,
                                         .fill = fill};
    static oclora_service service;
    return oclora_serve_main(&service, &server, argc, argv);
}
