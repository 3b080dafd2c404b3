/* sessions.c - several devices, models and contexts in one process, each context in a session of
 * its own: golden answers from all of them, decoded step by step in turns and then all at once on
 * threads of their own. Usage: sessions MODEL.gguf ADAPTERS_FOLDER; OCLORA_DEVICES says which
 * devices. */
#include "tools/generate/runtime.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLDS = 4, SEQUENCES = 2, QUESTION = 0, TOKENS = 64 };

/* One context. The second one is a second context over the first one's model. */
typedef struct world {
    const char *adapter[SEQUENCES]; /* NULL = the base alone */
    oclora_ggml_session *session;   /* NULL = the default one */
    oclora_runtime runtime;
    json_t *golden[SEQUENCES]; /* the answer wanted */
    int32_t last[SEQUENCES];   /* the newest token */
    int32_t n[SEQUENCES];      /* tokens got */
    int32_t prompt[SEQUENCES]; /* length */
    int failed;
} world;

static world worlds[WORLDS] = {
    {.adapter = {"pirate", NULL}},
    {.adapter = {"json", "pirate"}},
    {.adapter = {"robot", "json"}},
    {.adapter = {NULL, "robot"}},
};
static oclora_options options = {.program = "sessions",
                                 .plugin = OCLORA_PLUGIN,
                                 .batch = 512,
                                 .ubatch = 64,
                                 .gpu_layers = -1,
                                 .flash = OCLORA_FLASH_AUTO,
                                 .kv = OCLORA_KV_F16,
                                 .kv_offload = true};
static const char *folder;

static bool good(world *w, const char *what, bool ok, const char *why)
{
    if (!ok) {
        printf("FAILED world %d: %s: %s\n", (int)(w - worlds), what, why);
        w->failed = 1;
    }
    return ok;
}

static bool done(world *w, oclora_status status, const char *what, const oclora_ggml_message *text)
{
    return good(w, what, status == OCLORA_OK, text->text);
}

static bool read_golden(world *w, int seq)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/golden.json", folder,
             w->adapter[seq] != NULL ? w->adapter[seq] : "base");
    json_t *all = json_load_file(path, 0, NULL);
    w->golden[seq] = json_incref(json_array_get(all, QUESTION));
    json_decref(all);
    return good(w, path, w->golden[seq] != NULL, "no golden answer");
}

static bool assign(world *w, int seq)
{
    const oclora_ggml_api *api = w->runtime.api;
    oclora_ggml_message text = {sizeof text, ""};
    const char *name = w->adapter[seq];
    char path[1024];
    if (name == NULL)
        return done(w, api->map(w->session, (uint32_t)seq, NULL, 0, &text), "map", &text);
    const oclora_ggml_adapter one = {.name = name, .name_length = strlen(name), .weight = 1.0f};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return done(w, api->adapter_load(w->session, name, strlen(name), path, strlen(path), &text),
                name, &text) &&
           done(w, api->map(w->session, (uint32_t)seq, &one, 1, &text), "map", &text);
}

/* Session, model and context of one world, on device `index` of those offered. */
static bool open_world(world *w, const oclora_runtime *base, size_t index)
{
    const oclora_ggml_api *api = base->api;
    oclora_ggml_message text = {sizeof text, ""};
    const oclora_ggml_session_args args = {.struct_size = sizeof args,
                                           .model_path = options.model,
                                           .model_path_length = strlen(options.model)};
    w->runtime = *base;
    w->runtime.devices[0] =
        ggml_backend_reg_dev_get(base->reg, index % ggml_backend_reg_dev_count(base->reg));
    bool ok = w == worlds
                  ? done(w, api->configure(&args, &text), "configure", &text)
                  : done(w, api->session_create(&args, &w->session, &text), "session", &text);
    if (!ok || !done(w, api->session_bind(w->session, &text), "bind", &text)) return false;
    if (w == worlds + 1) {
        w->runtime.model = worlds[0].runtime.model;
        w->runtime.n_vocab = worlds[0].runtime.n_vocab;
    } else if (!good(w, "model", oclora_runtime_load_model(&w->runtime), "not loaded")) {
        return false;
    }
    ok = good(w, "context", oclora_runtime_create_context(&w->runtime, SEQUENCES, 256), "none");
    (void)api->session_bind(NULL, &text);
    for (int seq = 0; ok && seq < SEQUENCES; seq++) ok = read_golden(w, seq) && assign(w, seq);
    return ok;
}

static void close_world(world *w)
{
    if (w->runtime.context != NULL) llama_free(w->runtime.context);
    if (w->runtime.model != NULL && w != worlds + 1) llama_model_free(w->runtime.model);
    if (w->runtime.api != NULL) w->runtime.api->session_destroy(w->session);
    for (int seq = 0; seq < SEQUENCES; seq++) json_decref(w->golden[seq]);
}

static void put(struct llama_batch *batch, int32_t token, int32_t position, int seq, bool output)
{
    const int32_t i = batch->n_tokens++;
    batch->token[i] = token;
    batch->pos[i] = position;
    batch->n_seq_id[i] = 1;
    batch->seq_id[i][0] = seq;
    batch->logits[i] = output;
}

static int32_t best(const float *logits, int32_t count)
{
    int32_t at = 0;
    for (int32_t i = 1; i < count; i++)
        if (logits[i] > logits[at]) at = i;
    return at;
}

static int32_t wanted(const world *w, int seq, int32_t index)
{
    const json_t *ids = json_object_get(w->golden[seq], "greedy_ids");
    return (int32_t)json_integer_value(json_array_get(ids, (size_t)index));
}

static int32_t length(const world *w, int seq)
{
    return (int32_t)json_array_size(json_object_get(w->golden[seq], "greedy_ids"));
}

/* Prompts of all sequences in one batch, or their newest tokens in one. False at the end. */
static bool step(world *w)
{
    struct llama_batch batch = llama_batch_init(2 * 256, 0, 1);
    int32_t row[SEQUENCES];
    for (int seq = 0; seq < SEQUENCES; seq++) {
        const json_t *prompt = json_object_get(w->golden[seq], "prompt_ids");
        const int32_t count = (int32_t)json_array_size(prompt);
        row[seq] = -1;
        if (w->n[seq] == length(w, seq)) continue;
        for (int32_t i = 0; w->n[seq] == 0 && i < count; i++)
            put(&batch, (int32_t)json_integer_value(json_array_get(prompt, (size_t)i)), i, seq,
                i == count - 1);
        if (w->n[seq] > 0) put(&batch, w->last[seq], count + w->n[seq] - 1, seq, true);
        row[seq] = batch.n_tokens - 1;
    }
    const bool more = batch.n_tokens > 0;
    oclora_ggml_message text = {sizeof text, ""};
    bool ok = !more || llama_decode(w->runtime.context, batch) == 0;
    if (!ok) w->runtime.api->last_error(w->session, &text);
    good(w, "llama_decode", ok, text.text);
    for (int seq = 0; ok && seq < SEQUENCES; seq++) {
        if (row[seq] < 0) continue;
        w->last[seq] = best(llama_get_logits_ith(w->runtime.context, row[seq]), w->runtime.n_vocab);
        ok = good(w, w->adapter[seq] != NULL ? w->adapter[seq] : "base",
                  w->last[seq] == wanted(w, seq, w->n[seq]), "not golden");
        w->n[seq]++;
    }
    llama_batch_free(batch);
    return more && ok;
}

static void start_anew(world *w)
{
    llama_memory_clear(llama_get_memory(w->runtime.context), true);
    memset(w->n, 0, sizeof w->n);
}

static void *run_all(void *user)
{
    world *w = user;
    while (step(w)) {
    }
    return NULL;
}

static void in_turns(void)
{
    bool more = true;
    while (more) {
        more = false;
        for (int i = 0; i < WORLDS; i++)
            if (!worlds[i].failed) more |= step(&worlds[i]);
    }
}

static void at_once(void)
{
    pthread_t threads[WORLDS];
    bool started[WORLDS];
    for (int i = 0; i < WORLDS; i++) {
        start_anew(&worlds[i]);
        started[i] = pthread_create(&threads[i], NULL, run_all, &worlds[i]) == 0;
        good(&worlds[i], "thread", started[i], "not started");
    }
    for (int i = 0; i < WORLDS; i++)
        if (started[i]) pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    static oclora_runtime base;
    int failed = 0;
    bool ok = argc == 3;
    if (!ok) return 2;
    options.model = argv[1];
    folder = argv[2];
    if (!oclora_runtime_open(&base, &options)) return 3;
    printf("%d devices\n", (int)ggml_backend_reg_dev_count(base.reg));
    for (int i = 0; ok && i < WORLDS; i++) ok = open_world(&worlds[i], &base, (size_t)i / 2);
    if (ok) in_turns();
    if (ok) at_once();
    for (int i = 0; i < WORLDS; i++) failed |= worlds[i].failed;
    for (int i = WORLDS - 1; i >= 0; i--) close_world(&worlds[i]);
    oclora_runtime_close(&base);
    puts(ok && !failed ? "all golden" : "FAILED");
    return ok && !failed ? 0 : 1;
}
