/* serve.c - what both programs do: load, plan, decode wave by wave, print, sum up. */
#include "tools/generate/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT_STEP = 32 };

static void open_logits(const oclora_options *options, oclora_request *r)
{
    char path[4096];
    const char *name = json_string_value(r->id);
    char number[32];
    if (!name) {
        snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(r->id));
        name = number;
    }
    if (strchr(name, '/') || strlen(name) > 200) {
        oclora_request_fail(r, "--logits needs an id that is a file name");
        return;
    }
    snprintf(path, sizeof path, "%s/%s.f32", options->logits_dir, name);
    r->logits = fopen(path, "wb");
    if (!r->logits) oclora_request_fail(r, "%s: %s", path, strerror(errno));
}

/* Creates a context that fits the requests; requests that cannot fit into -c fail. False only if
 * the context could not be created. */
static bool prepare(oclora_runtime *runtime, oclora_requests *requests, int32_t min_seq)
{
    const oclora_options *o = runtime->options;
    int32_t good = 0, ctx = o->ctx;
    for (size_t i = 0; i < requests->count; ++i) {
        oclora_request *r = &requests->items[i];
        int32_t need = r->n_prompt + r->n_max;
        if (!r->error[0] && o->ctx && need > o->ctx) {
            oclora_request_fail(r, "%d prompt and %d new tokens do not fit into -c %d",
                                (int)r->n_prompt, (int)r->n_max, (int)o->ctx);
        }
        if (!r->error[0] && o->logits_dir) open_logits(o, r);
        if (r->error[0]) continue;
        ++good;
        if (!o->ctx && need > ctx) ctx = need;
    }
    if (good == 0) return true;
    ctx = (ctx + CONTEXT_STEP - 1) / CONTEXT_STEP * CONTEXT_STEP;
    int32_t n_seq = good < o->parallel ? good : o->parallel;
    return oclora_runtime_create_context(runtime, n_seq > min_seq ? n_seq : min_seq, ctx);
}

static double per_second(int64_t tokens, double ms)
{
    return ms > 0 ? (double)tokens * 1e3 / ms : 0;
}

static double ratio(int64_t a, int64_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

static void print_summary(const oclora_runtime *runtime, const oclora_timing *t, size_t served,
                          size_t failed)
{
    char device[256];
    oclora_ggml_stats stats = {.struct_size = sizeof stats};
    oclora_runtime_describe(runtime, device, sizeof device);
    if (runtime->api) runtime->api->stats(NULL, &stats, NULL);
    double prompt_rate = per_second(t->prompt_tokens, t->prompt_ms);
    double decode_rate = per_second(t->new_tokens, t->decode_ms);
    if (!runtime->options->json_summary) {
        fprintf(stderr, "device   %s\nrequests %zu served, %zu failed, %lld waves\n", device,
                served, failed, (long long)t->waves);
        fprintf(stderr,
                "prompt   %lld tokens, %.1f tokens/s\ndecode   %lld tokens, %.1f tokens/s\n",
                (long long)t->prompt_tokens, prompt_rate, (long long)t->new_tokens, decode_rate);
        if (runtime->api) {
            fprintf(stderr, "launches %.1f per token, %.1f per step\npool     %llu of %llu bytes\n",
                    ratio(t->decode_launches, t->new_tokens), ratio(t->decode_launches, t->steps),
                    (unsigned long long)stats.pool_used_bytes,
                    (unsigned long long)stats.pool_budget_bytes);
        }
        return;
    }
    json_t *line = json_pack(
        "{s:s,s:I,s:I,s:I,s:I,s:f,s:I,s:f,s:f,s:f,s:I,s:I,s:I,s:I}", "device", device, "served",
        (json_int_t)served, "failed", (json_int_t)failed, "waves", (json_int_t)t->waves,
        "prompt_tokens", (json_int_t)t->prompt_tokens, "prompt_ms", t->prompt_ms, "new_tokens",
        (json_int_t)t->new_tokens, "decode_ms", t->decode_ms, "prompt_tokens_per_s", prompt_rate,
        "decode_tokens_per_s", decode_rate, "decode_steps", (json_int_t)t->steps, "decode_launches",
        (json_int_t)t->decode_launches, "pool_used_bytes", (json_int_t)stats.pool_used_bytes,
        "pool_budget_bytes", (json_int_t)stats.pool_budget_bytes);
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    fprintf(stderr, "%s\n", text ? text : "{}");
    free(text);
    json_decref(line);
}

/* Prints every answer in input order and the summary. Returns the exit status. */
static int finish(const oclora_runtime *runtime, const oclora_requests *requests,
                  const oclora_timing *timing)
{
    size_t failed = 0;
    for (size_t i = 0; i < requests->count; ++i) {
        if (!oclora_request_print(&requests->items[i], runtime->options, runtime->model)) ++failed;
    }
    bool flushed = fflush(stdout) == 0;
    if (!flushed)
        fprintf(stderr, "%s: standard output: %s\n", runtime->options->program, strerror(errno));
    print_summary(runtime, timing, requests->count - failed, failed);
    return failed || !flushed ? OCLORA_EXIT_REQUEST : OCLORA_EXIT_OK;
}

size_t oclora_serve_find(const oclora_service *service, const char *name)
{
    size_t i = 0;
    while (i < service->options.n_adapters && strcmp(service->options.adapters[i].name, name) != 0)
        ++i;
    return i;
}

static bool failed_in(oclora_request *const *wave, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        if (wave[i]->error[0]) return true;
    return false;
}

/* Chains of launches are compiled when a second graph has used their kernels, see open_service. */
enum { WARMUP_TOKENS = 4 };

static void decode_all(oclora_service *s)
{
    oclora_timing ignored = {0};
    for (int32_t count; (count = s->server->fill(s)) > 0;) {
        if (s->options.warmup && s->timing.waves == 0) {
            oclora_wave_decode(&s->runtime, s->wave, count, WARMUP_TOKENS, &ignored);
            if (failed_in(s->wave, count)) return;
        }
        oclora_wave_decode(&s->runtime, s->wave, count, 0, &s->timing);
    }
}

static bool out_of_memory(const oclora_service *s)
{
    fprintf(stderr, "%s: out of memory\n", s->options.program);
    return false;
}

/* A request whose adapters are not all loaded fails before anything is decoded. */
static bool read_requests(oclora_service *s)
{
    if (!oclora_requests_read(&s->requests, &s->options, s->runtime.model)) return false;
    s->served = calloc(s->requests.count + 1, sizeof *s->served);
    if (!s->served) return out_of_memory(s);
    for (size_t i = 0; i < s->requests.count; ++i) {
        oclora_request *r = &s->requests.items[i];
        for (size_t k = 0; k < r->n_mix; ++k) s->server->check(s, r, r->mix[k].name);
    }
    return true;
}

static bool open_service(oclora_service *s)
{
    /* Nothing is compiled beside what is timed. */
    if (s->options.warmup) setenv("OCLORA_TUNE", "chain_wait_at=2", 0);
    if (!oclora_runtime_open(&s->runtime, &s->options)) return false;
    if (s->server->configure && !s->server->configure(s)) return false;
    if (!oclora_runtime_load_model(&s->runtime)) return false;
    s->loaded = calloc(s->options.n_adapters + 1, s->server->loaded_bytes);
    s->wave = calloc((size_t)s->options.parallel, sizeof(oclora_request *));
    return (s->loaded && s->wave) || out_of_memory(s);
}

static int run(oclora_service *s)
{
    bool all_loaded = true;
    if (!open_service(s)) return OCLORA_EXIT_ENVIRONMENT;
    for (size_t i = 0; i < s->options.n_adapters; ++i) all_loaded &= s->server->load(s, i);
    if (!read_requests(s) || !prepare(&s->runtime, &s->requests, s->server->sequences_min))
        return OCLORA_EXIT_ENVIRONMENT;
    if (s->runtime.context) decode_all(s);
    int status = finish(&s->runtime, &s->requests, &s->timing);
    return all_loaded ? status : OCLORA_EXIT_REQUEST;
}

int oclora_serve_main(oclora_service *service, const oclora_server *server, int argc, char **argv)
{
    service->server = server;
    int status = oclora_options_parse(&service->options, server->stock, argc, argv);
    if (status == OCLORA_EXIT_OK) {
        status = run(service);
        oclora_runtime_close(&service->runtime);
    }
    oclora_requests_release(&service->requests);
    oclora_options_release(&service->options);
    free(service->loaded);
    free(service->wave);
    free(service->served);
    return status == OCLORA_EXIT_HELP ? OCLORA_EXIT_OK : status;
}
