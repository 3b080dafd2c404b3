/* refusals.c - what the plugin must refuse, asked for by a real llama.cpp through the control
 * table. Usage: refusals MODEL.gguf CASE; without CASE lists the cases. Exit status 0 if it was
 * refused. */
#include "tools/generate/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test {
    oclora_options options;
    oclora_runtime runtime;
    const oclora_ggml_api *api;
    oclora_ggml_message message;
    int failed;
} test;

static const char *const folders[] = {"pirate", "brief"};

static void expect(test *t, const char *what, oclora_status actual, oclora_status wanted)
{
    bool ok = actual == wanted;
    printf("%s %s: %s, %s\n", ok ? "ok    " : "FAILED", what, t->api->status_name(actual),
           t->message.text);
    if (!ok) printf("       wanted %s\n", t->api->status_name(wanted));
    if (ok && wanted != OCLORA_OK && strlen(t->message.text) < 10) {
        printf("FAILED %s: the refusal has no text\n", what);
        ok = false;
    }
    t->failed += !ok;
}

static void expect_true(test *t, const char *what, bool ok)
{
    printf("%s %s\n", ok ? "ok    " : "FAILED", what);
    t->failed += !ok;
}

static oclora_status load_as(test *t, oclora_ggml_session *session, const char *name,
                             const char *folder)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/adapters/%s", OCLORA_TEST_DATA, folder);
    return t->api->adapter_load(session, name, strlen(name), path, strlen(path), &t->message);
}

static oclora_status load(test *t, oclora_ggml_session *session, const char *name)
{
    return load_as(t, session, name, name);
}

static oclora_status map(test *t, oclora_ggml_session *session, uint32_t seq, const char *name)
{
    oclora_ggml_adapter one = {.name = name, .name_length = name ? strlen(name) : 0, .weight = 1};
    return t->api->map(session, seq, &one, name ? 1 : 0, &t->message);
}

static oclora_status configure(test *t)
{
    oclora_ggml_session_args args = {.struct_size = sizeof args,
                                     .model_path = t->options.model,
                                     .model_path_length = strlen(t->options.model)};
    return t->api->configure(&args, &t->message);
}

/* Configures, loads the model and both adapters, creates the context. */
static bool open_all(test *t, int32_t n_seq)
{
    bool ok = configure(t) == OCLORA_OK && oclora_runtime_load_model(&t->runtime);
    for (size_t i = 0; ok && i < 2; ++i) ok = load(t, NULL, folders[i]) == OCLORA_OK;
    ok = ok && oclora_runtime_create_context(&t->runtime, n_seq, 64);
    if (!ok) expect_true(t, t->message.text, false);
    return ok;
}

/* One token for each of `count` sequences from `first` on. */
static int32_t decode(struct llama_context *context, int32_t first, int32_t count, int32_t pos)
{
    struct llama_batch batch = llama_batch_init(count, 0, 1);
    for (int32_t i = 0; i < count; ++i) {
        batch.token[i] = 504;
        batch.pos[i] = pos;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = first + i;
        batch.logits[i] = 1;
    }
    batch.n_tokens = count;
    int32_t code = llama_decode(context, batch);
    llama_batch_free(batch);
    return code;
}

static void expect_refused(test *t, oclora_ggml_session *session, const char *what, int32_t code,
                           oclora_status wanted)
{
    expect_true(t, "llama_decode fails", code != 0);
    expect(t, what, t->api->last_error(session, &t->message), wanted);
}

static void case_no_metadata(test *t)
{
    if (!oclora_runtime_load_model(&t->runtime)) {
        t->failed++;
        return;
    }
    expect(t, "PEFT adapter on q and k without the model's metadata", load(t, NULL, "pirate"),
           OCLORA_METADATA_MISSING);
    const char *file = getenv("OCLORA_TEST_GGUF"); /* its rows are in llama.cpp's order already */
    if (file) {
        expect(t, "GGUF LoRA needs none",
               t->api->adapter_load(NULL, "file", 4, file, strlen(file), &t->message), OCLORA_OK);
    }
}

static void case_no_model(test *t)
{
    expect(t, "configure", configure(t), OCLORA_OK);
    expect(t, "adapter before the model is loaded", load(t, NULL, "brief"),
           OCLORA_WEIGHT_NOT_ON_DEVICE);
}

static void case_names(test *t)
{
    if (!open_all(t, 2)) return;
    expect(t, "a name twice", load(t, NULL, "pirate"), OCLORA_ALREADY_EXISTS);
    expect(t, "another adapter of that name", load_as(t, NULL, "pirate", "brief"),
           OCLORA_ALREADY_EXISTS);
    expect(t, "map to an unknown adapter", map(t, NULL, 0, "nobody"), OCLORA_ADAPTER_NOT_LOADED);
    expect(t, "unload an unknown adapter", t->api->adapter_unload(NULL, "nobody", 6, &t->message),
           OCLORA_ADAPTER_NOT_LOADED);
    expect(t, "sequence 256", map(t, NULL, 256, "pirate"), OCLORA_INVALID_ARGUMENT);
}

static void case_unload_mapped(test *t)
{
    if (!open_all(t, 2)) return;
    expect(t, "map", map(t, NULL, 0, "pirate"), OCLORA_OK);
    expect(t, "map", map(t, NULL, 1, NULL), OCLORA_OK);
    expect(t, "unload while mapped", t->api->adapter_unload(NULL, "pirate", 6, &t->message),
           OCLORA_ADAPTER_IN_USE);
    expect_true(t, "the map still serves", decode(t->runtime.context, 0, 2, 0) == 0);
    expect(t, "clear", t->api->clear(NULL, &t->message), OCLORA_OK);
    expect(t, "unload", t->api->adapter_unload(NULL, "pirate", 6, &t->message), OCLORA_OK);
    expect(t, "map to what was unloaded", map(t, NULL, 0, "pirate"), OCLORA_ADAPTER_NOT_LOADED);
}

static void case_unified(test *t)
{
    t->options.kv_unified = true;
    if (!open_all(t, 4)) return;
    oclora_status status = map(t, NULL, 0, "pirate");
    if (status == OCLORA_OK) {
        expect_refused(t, NULL, "a map on a unified cache", decode(t->runtime.context, 0, 2, 0),
                       OCLORA_SINGLE_STREAM);
    } else {
        expect(t, "a map on a unified cache", status, OCLORA_SINGLE_STREAM);
    }
}

static void case_unified_none(test *t)
{
    t->options.kv_unified = true;
    if (!open_all(t, 4)) return;
    oclora_status status = map(t, NULL, 1, NULL);
    if (status == OCLORA_OK) {
        expect_refused(t, NULL, "even the base alone", decode(t->runtime.context, 0, 2, 0),
                       OCLORA_SINGLE_STREAM);
    } else {
        expect(t, "even the base alone", status, OCLORA_SINGLE_STREAM);
    }
}

static void case_unified_all(test *t)
{
    t->options.kv_unified = true;
    oclora_ggml_adapter one = {.name = "pirate", .name_length = 6, .weight = 1};
    if (!open_all(t, 4)) return;
    expect(t, "one assignment for the context", t->api->map_all(NULL, &one, 1, &t->message),
           OCLORA_OK);
    expect_true(t, "it serves a unified cache", decode(t->runtime.context, 0, 3, 0) == 0);
}

static void case_single_sequence(test *t)
{
    if (!open_all(t, 1)) return;
    oclora_status status = map(t, NULL, 0, "pirate");
    if (status == OCLORA_OK) {
        expect_refused(t, NULL, "a map with one stream", decode(t->runtime.context, 0, 1, 0),
                       OCLORA_SINGLE_STREAM);
    } else {
        expect(t, "a map with one stream", status, OCLORA_SINGLE_STREAM);
    }
}

static void case_partial_layers(test *t)
{
    t->options.gpu_layers = 15;
    expect_true(t, "the model loads",
                configure(t) == OCLORA_OK && oclora_runtime_load_model(&t->runtime));
    expect(t, "adapter on layers that are on the CPU", load(t, NULL, "brief"),
           OCLORA_WEIGHT_NOT_ON_DEVICE);
}

static void case_cache_on_cpu(test *t)
{
    t->options.kv_offload = false;
    if (!open_all(t, 2)) return;
    expect(t, "map", map(t, NULL, 0, "pirate"), OCLORA_OK);
    expect_refused(t, NULL, "KV cache in host memory", decode(t->runtime.context, 0, 2, 0),
                   OCLORA_WEIGHT_NOT_ON_DEVICE);
}

/* A second context of the same model, bound to nothing. */
static struct llama_context *second_context(test *t)
{
    oclora_runtime other = t->runtime;
    other.context = NULL;
    return oclora_runtime_create_context(&other, 2, 64) ? other.context : NULL;
}

static void case_two_contexts(test *t)
{
    if (!open_all(t, 2)) return;
    struct llama_context *other = second_context(t);
    expect_true(t, "a second context", other != NULL);
    oclora_status status = map(t, NULL, 0, "pirate");
    if (status == OCLORA_OK) {
        int32_t first = decode(t->runtime.context, 0, 2, 0);
        int32_t second = other ? decode(other, 0, 2, 0) : 0;
        expect_refused(t, NULL, "two contexts in one session with a map", first ? first : second,
                       OCLORA_SESSION_CONFLICT);
    } else {
        expect(t, "a map for two contexts", status, OCLORA_SESSION_CONFLICT);
    }
    if (other) llama_free(other);
}

static void case_two_models(test *t)
{
    if (configure(t) != OCLORA_OK || !oclora_runtime_load_model(&t->runtime)) {
        t->failed++;
        return;
    }
    oclora_runtime other = t->runtime;
    expect_true(t, "a second model", oclora_runtime_load_model(&other));
    expect(t, "adapter while two models hold its weights", load(t, NULL, "brief"),
           OCLORA_AMBIGUOUS_WEIGHT);
    if (other.model != t->runtime.model) llama_model_free(other.model);
    expect(t, "adapter when one is gone", load(t, NULL, "brief"), OCLORA_OK);
}

static void case_copy_sequence(test *t)
{
    if (!open_all(t, 2)) return;
    llama_memory_t memory = llama_get_memory(t->runtime.context);
    expect(t, "map", map(t, NULL, 0, "pirate"), OCLORA_OK);
    expect(t, "map", map(t, NULL, 1, "brief"), OCLORA_OK);
    expect_true(t, "the sequence with the adapter decodes",
                decode(t->runtime.context, 0, 1, 0) == 0);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    expect_refused(t, NULL, "cache copied to another adapter's sequence",
                   decode(t->runtime.context, 0, 2, 1), OCLORA_ROWS_UNKNOWN);
    expect_true(t, "the other sequence is not affected", decode(t->runtime.context, 0, 1, 1) == 0);
    llama_memory_clear(memory, true);
    expect_true(t, "an empty cache is served", decode(t->runtime.context, 0, 2, 0) == 0);
    expect(t, "map alike", map(t, NULL, 1, "pirate"), OCLORA_OK);
    llama_memory_clear(memory, true);
    expect_true(t, "one sequence decodes", decode(t->runtime.context, 0, 1, 0) == 0);
    llama_memory_seq_cp(memory, 0, 1, -1, -1);
    expect_true(t, "a copy between sequences served alike", decode(t->runtime.context, 0, 2, 1) == 0);
}

static void case_restore_state(test *t)
{
    if (!open_all(t, 2)) return;
    expect(t, "map", map(t, NULL, 0, "pirate"), OCLORA_OK);
    expect(t, "map", map(t, NULL, 1, "brief"), OCLORA_OK);
    expect_true(t, "the sequence with the adapter decodes",
                decode(t->runtime.context, 0, 1, 0) == 0);
    size_t size = llama_state_seq_get_size(t->runtime.context, 0);
    uint8_t *state = malloc(size);
    expect_true(t, "its state is saved",
                state && llama_state_seq_get_data(t->runtime.context, state, size, 0) == size);
    size_t restored = state ? llama_state_seq_set_data(t->runtime.context, state, size, 1) : 0;
    free(state);
    if (restored == 0) return; /* refused at once */
    expect_refused(t, NULL, "state restored into a mapped sequence",
                   decode(t->runtime.context, 0, 2, 1), OCLORA_ROWS_UNKNOWN);
}

/* The way it is meant: every context in its own session. */
static void case_two_sessions(test *t)
{
    if (!open_all(t, 2)) return;
    oclora_ggml_session *session = NULL;
    oclora_ggml_session_args args = {.struct_size = sizeof args,
                                     .model_path = t->options.model,
                                     .model_path_length = strlen(t->options.model)};
    expect(t, "session", t->api->session_create(&args, &session, &t->message), OCLORA_OK);
    expect(t, "bind", t->api->session_bind(session, &t->message), OCLORA_OK);
    oclora_runtime other = t->runtime;
    other.model = NULL;
    other.context = NULL;
    bool ok = oclora_runtime_load_model(&other) && oclora_runtime_create_context(&other, 2, 64);
    expect_true(t, "a second model and context", ok);
    expect(t, "bind", t->api->session_bind(NULL, &t->message), OCLORA_OK);
    expect(t, "adapter in the second session", load(t, session, "pirate"), OCLORA_OK);
    expect(t, "map the first", map(t, NULL, 0, "pirate"), OCLORA_OK);
    expect(t, "map the second", map(t, session, 1, "pirate"), OCLORA_OK);
    expect_true(t, "the first decodes", decode(t->runtime.context, 0, 2, 0) == 0);
    expect_true(t, "the second decodes", ok && decode(other.context, 0, 2, 0) == 0);
    if (other.context) llama_free(other.context);
    if (other.model) llama_model_free(other.model);
    t->api->session_destroy(session);
}

static const struct {
    const char *name;
    void (*run)(test *t);
} cases[] = {
    {"no_metadata", case_no_metadata},
    {"no_model", case_no_model},
    {"names", case_names},
    {"unload_mapped", case_unload_mapped},
    {"unified", case_unified},
    {"unified_none", case_unified_none},
    {"unified_all", case_unified_all},
    {"single_sequence", case_single_sequence},
    {"partial_layers", case_partial_layers},
    {"cache_on_cpu", case_cache_on_cpu},
    {"two_contexts", case_two_contexts},
    {"two_models", case_two_models},
    {"copy_sequence", case_copy_sequence},
    {"restore_state", case_restore_state},
    {"two_sessions", case_two_sessions},
};

static int run(test *t, const char *name)
{
    size_t i = 0, count = sizeof cases / sizeof cases[0];
    while (i < count && strcmp(cases[i].name, name) != 0) ++i;
    if (i == count || !oclora_runtime_open(&t->runtime, &t->options)) return 2;
    t->api = t->runtime.api;
    t->message.struct_size = sizeof t->message;
    cases[i].run(t);
    oclora_runtime_close(&t->runtime);
    return t->failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static test t = {.options = {.program = "refusals",
                                 .plugin = OCLORA_PLUGIN,
                                 .batch = 64,
                                 .ubatch = 64,
                                 .gpu_layers = -1,
                                 .flash = OCLORA_FLASH_AUTO,
                                 .kv = OCLORA_KV_F16,
                                 .kv_offload = true}};
    if (argc == 3) {
        t.options.model = argv[1];
        return run(&t, argv[2]);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) puts(cases[i].name);
    return argc == 1 ? 0 : 2;
}
