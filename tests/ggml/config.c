#include "plugin/ggml/config.h"
#include "host/graph/session.h"
#include "support/files.h"
#include "support/harness.h"
#include "support/meter.h"
#include "support/mutate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_ggml_config *read_good(const char *text)
{
    oclora_ggml_config *config = NULL;
    oclora_error err = {0};
    oclora_keep_seed("config", NULL, 0, text, strlen(text));
    CHECK_OK(oclora_ggml_config_read(&config, oclora_test_env(), text, &err), &err);
    return config;
}

static void read_bad(const char *text, oclora_status wanted, const char *part)
{
    oclora_ggml_config *config = NULL;
    oclora_error err = {0};
    oclora_keep_seed("config", NULL, 0, text, strlen(text));
    CHECK_STATUS(oclora_ggml_config_read(&config, oclora_test_env(), text, &err), wanted, &err);
    CHECK_CONTAINS(err.text, part);
    CHECK(config == NULL);
}

static void test_all_keys(void)
{
    oclora_ggml_config *c = read_good(
        " {\"model\": \"m.gguf\", \"pool_bytes\": 1000000, \"store\": \"q8_0\", \"partial\": true,"
        "  \"adapters\": {\"a\": \"path/a\", \"b\": \"b.gguf\"},"
        "  \"slots\": {\"0\": \"a\", \"255\": [{\"name\": \"b\", \"weight\": -0.5}, {\"name\": "
        "\"a\"}],"
        "             \"2\": null, \"3\": []}}");
    if (c == NULL) return;
    CHECK(strcmp(c->model, "m.gguf") == 0);
    CHECK_INT(c->pool_bytes, 1000000);
    CHECK_INT(c->store, OCLORA_STORE_Q8_0);
    CHECK(c->partial && !c->has_all);
    CHECK_INT(c->n_adapters, 2);
    CHECK(strcmp(c->adapters[1].path, "b.gguf") == 0);
    CHECK_INT(c->n_slots, 4);
    CHECK_INT(c->slots[0].count, 1);
    CHECK(c->slots[0].uses[0].name == c->adapters[0].name && c->slots[0].uses[0].weight == 1.0f);
    CHECK_INT(c->slots[1].seq, 255);
    CHECK_INT(c->slots[1].count, 2);
    CHECK(c->slots[1].uses[0].weight == -0.5f && c->slots[1].uses[1].weight == 1.0f);
    CHECK_INT(c->slots[2].count, 0);
    CHECK_INT(c->slots[3].count, 0);
    oclora_ggml_config_free(c);
}

static void test_all_rows(void)
{
    oclora_ggml_config *c = read_good("{\"adapters\": {\"a\": \"p\"}, \"all\": \"a\"}");
    if (c == NULL) return;
    CHECK(c->has_all);
    CHECK_INT(c->all.count, 1);
    oclora_ggml_config_free(c);
    c = read_good("{\"adapters\": {\"a\": \"p\"}, \"all\": null}");
    if (c == NULL) return;
    CHECK(c->has_all && c->all.count == 0);
    oclora_ggml_config_free(c);
}

static void test_refusals(void)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{", "not JSON"},
        {"{\"model\": \"m\", \"model\": \"n\"}", "duplicate"},
        {"{\"modle\": \"m\"}", "unknown key \"modle\""},
        {"{\"model\": 1}", "\"model\" is a path"},
        {"{\"pool_bytes\": 0}", "pool_bytes"},
        {"{\"pool_bytes\": 1.5}", "pool_bytes"},
        {"{\"store\": \"q4\"}", "\"store\""},
        {"{\"partial\": 1}", "\"partial\""},
        {"{\"store\": 1}", "\"store\""},
        {"{\"adapters\": []}", "\"adapters\""},
        {"{\"adapters\": {\"a\": 3}}", "adapter \"a\""},
        {"{\"slots\": {\"0\": \"a\"}}", "has no \"a\""},
        {"{\"slots\": {\"x\": null}}", "\"x\""},
        {"{\"slots\": {\"-1\": null}}", "\"-1\""},
        {"{\"slots\": {\"256\": null}}", "\"256\""},
        {"{\"slots\": {\"1 \": null}}", "\"1 \""},
        {"{\"slots\": []}", "\"slots\""},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[\"a\"]}}", "entries are"},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[{\"name\":\"a\",\"wight\":1}]}}",
         "\"wight\""},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[{\"name\":\"a\",\"weight\":\"1\"}]}}",
         "weight"},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[{\"name\":\"a\",\"weight\":1e300}]}}",
         "finite"},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":\"a\"},\"all\":\"a\"}", "exclude"},
        {"{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[{\"name\":1}]}}", "a name is a string"},
        {"{\"slots\": {\"99999999999999999999\": null}}", "99999999999999999999"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        read_bad(cases[i].text, OCLORA_INVALID_ARGUMENT, cases[i].part);
    read_bad("/nonexistent/oclora.json", OCLORA_FILE_NOT_FOUND, "/nonexistent/oclora.json");
}

static void test_mixture_limit(void)
{
    char text[1024] = "{\"adapters\":{\"a\":\"p\"},\"slots\":{\"0\":[";
    for (int i = 0; i <= OCLORA_MIXTURE_MAX; i++)
        strcat(text, i ? ",{\"name\":\"a\"}" : "{\"name\":\"a\"}");
    strcat(text, "]}}");
    read_bad(text, OCLORA_INVALID_ARGUMENT, "at most 16");
}

static void test_file(void)
{
    char path[] = "/tmp/oclora-config-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    CHECK(file != NULL);
    if (file == NULL) return;
    fputs("{\"adapters\": {\"a\": \"p\"}}", file);
    fclose(file);
    oclora_ggml_config *c = read_good(path);
    CHECK(c != NULL && c->n_adapters == 1);
    oclora_ggml_config_free(c);
    remove(path);
}

/* Reads under a meter and says what was wrong with that; counts what is good. */
static const char *judge(const char *text, size_t *read)
{
    static oclora_meter meter;
    oclora_env env = oclora_meter_start(&meter);
    oclora_ggml_config *config = NULL;
    oclora_error err = {0};
    const oclora_status status = oclora_ggml_config_read(&config, &env, text, &err);
    const size_t peak = meter.peak;
    *read += status == OCLORA_OK;
    oclora_ggml_config_free(config);
    if (status != OCLORA_OK && status != OCLORA_INVALID_ARGUMENT &&
        status != OCLORA_FILE_NOT_FOUND && status != OCLORA_FILE_READ)
        return oclora_status_name(status);
    if (status != OCLORA_OK && strlen(err.text) < 20) return "no text";
    if (peak > strlen(text) + (16 << 20)) return "takes more than its size and 16 MiB";
    return meter.live != 0 ? "leaves memory behind" : NULL;
}

static void test_mutations(void)
{
    static const char *const good[] = {
        "{\"model\":\"m.gguf\",\"pool_bytes\":1000000,\"store\":\"q8_0\",\"partial\":true,"
        "\"adapters\":{\"a\":\"path/a\",\"b\":\"b.gguf\"},\"slots\":{\"0\":\"a\",\"255\":["
        "{\"name\":\"b\",\"weight\":-0.5},{\"name\":\"a\"}],\"2\":null,\"3\":[]}}",
        "{\"adapters\":{\"a\":\"p\"},\"all\":[{\"name\":\"a\",\"weight\":0.25}]}"};
    enum { ROUNDS = 6000 };
    size_t read = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const char *text = good[round % 2], *other = good[1 - round % 2];
        const oclora_bytes from = {(uint8_t *)(uintptr_t)text, strlen(text)};
        const oclora_bytes second = {(uint8_t *)(uintptr_t)other, strlen(other)};
        oclora_bytes bytes = oclora_mutate(&from, &second, from.size, 0);
        oclora_bytes_add(&bytes, "", 1);
        const char *problem = judge((const char *)bytes.data, &read);
        if (!CHECK(problem == NULL)) fprintf(stderr, "  mutation %d: %s\n", round, problem);
        oclora_bytes_free(&bytes);
    }
    printf("OCLORA_CONFIG: %d mutations, %zu good\n", ROUNDS, read);
    CHECK(read > 100);
}

static void test_dense(void)
{
    static const char *const parts[] = {",0", ",[]", ",{}", ",\"x\"", ",\"\\u0061\""};
    const size_t size = 4 << 20;
    char *text = malloc(size + 64);
    if (!CHECK(text != NULL)) return;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t used = (size_t)sprintf(text, "{\"all\":[0"), read = 0;
        for (; used + 16 < size; used += strlen(parts[i])) strcpy(text + used, parts[i]);
        strcpy(text + used, "]}");
        const char *problem = judge(text, &read);
        if (!CHECK(problem == NULL)) fprintf(stderr, "  %s: %s\n", parts[i], problem);
    }
    free(text);
}

/* What is no file with JSON in it. */
static void test_no_file(void)
{
    char path[512];
    oclora_make_folder(path, sizeof path - 8, "config");
    read_bad(path, OCLORA_FILE_READ, "not a regular file");
    strcat(path, "/empty");
    CHECK(oclora_write_file(path, "", 0));
    read_bad(path, OCLORA_INVALID_ARGUMENT, "not JSON");
    CHECK(oclora_write_file(path, "[1]", 3));
    read_bad(path, OCLORA_INVALID_ARGUMENT, "not a JSON object");
    char *dense = malloc(1 << 20);
    if (!CHECK(dense != NULL)) return;
    memset(dense, '[', 1 << 20);
    CHECK(oclora_write_file(path, dense, 1 << 20));
    read_bad(path, OCLORA_INVALID_ARGUMENT, "larger than any configuration, or denser than one");
    free(dense);
    remove(path);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"every key", test_all_keys},  {"all rows", test_all_rows},
        {"refusals", test_refusals},   {"mixture limit", test_mixture_limit},
        {"a file", test_file},         {"no file", test_no_file},
        {"mutations", test_mutations}, {"dense text", test_dense},
    };
    return oclora_test_main("ggml config", tests, sizeof tests / sizeof tests[0]);
}
