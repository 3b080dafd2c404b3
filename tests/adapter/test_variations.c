/* Good adapters of every kind with one thing in them another: each field of the config gone or of
 * every other type and size, each tensor gone, of another shape or type, or with a value that is no
 * number. What comes of it is a named refusal or an adapter, and nothing is left behind. */
#include "load_cases.h"

#include "fuzz/use.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static size_t loaded, refused;

static bool is_named(oclora_status status)
{
    return (status >= OCLORA_FILE_NOT_FOUND && status <= OCLORA_VALUE_OVERFLOW) ||
           status == OCLORA_INVALID_ARGUMENT || status == OCLORA_NOT_SUPPORTED;
}

static oclora_status try_one(const char *config, const char *tensors)
{
    oclora_bytes bytes = oclora_make_safetensors(tensors);
    oclora_adapter_image *image = NULL;
    oclora_error err = {0};
    const oclora_status status =
        oclora_adapter_load_memory(&image, oclora_test_env(), config, strlen(config), bytes.data,
                                   bytes.size, OCLORA_STORE_AUTO, &err);
    if (status == OCLORA_OK) oclora_fuzz_use(image);
    oclora_adapter_image_destroy(image);
    oclora_bytes_free(&bytes);
    *(status == OCLORA_OK ? &loaded : &refused) += 1;
    bool right = CHECK(status == OCLORA_OK || (is_named(status) && strlen(err.text) > 10));
    right &= CHECK_INT(oclora_test_live_allocations(), 0);
    if (!right)
        fprintf(stderr, "  %s: %s\n  %s\n  %s\n", oclora_status_name(status), err.text, config,
                tensors);
    return status;
}

static const char *const values[] = {
    "null",     "true",    "false",         "-1",        "0",      "1",
    "2",        "1.5",     "1e300",         "\"\"",      "[]",     "[1]",
    "[7]",      "[\"\"]",  "\"all\"",       "{}",        "\"(\"",  "{\"q\":1}",
    "\"q\"",    "\"max\"", "{\"q\":\"x\"}", "{\"(\":1}", "[null]", "9007199254740993",
    "[\"q\",3]"};

static const char *const fields[] = {"peft_type",
                                     "r",
                                     "rank",
                                     "lora_alpha",
                                     "target_modules",
                                     "exclude_modules",
                                     "modules_to_save",
                                     "layers_to_transform",
                                     "layers_pattern",
                                     "rank_pattern",
                                     "alpha_pattern",
                                     "bias",
                                     "use_dora",
                                     "use_rslora",
                                     "use_qalora",
                                     "lora_bias",
                                     "fan_in_fan_out",
                                     "qalora_group_size",
                                     "qalora_pool",
                                     "scaling",
                                     "delta_lambda",
                                     "save_projection",
                                     "B_scale",
                                     "adapters",
                                     "top_k",
                                     "router_temperature",
                                     "n_experts",
                                     "cond_type",
                                     "ifs_weight",
                                     "independent_rank",
                                     "used_scored_weight",
                                     "flora_reduction",
                                     "feedforward_modules",
                                     "init_lora_weights",
                                     "alora_invocation_tokens"};

/* The config with one field set, or without it where `value` is NULL. */
static void vary_config(const char *config, const char *tensors, const char *field,
                        const char *value)
{
    json_t *root = json_loads(config, 0, NULL);
    if (value != NULL)
        json_object_set_new(root, field, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(root, field);
    char *text = json_dumps(root, JSON_COMPACT);
    if (CHECK(text != NULL)) try_one(text, tensors);
    free(text);
    json_decref(root);
}

static void test_config(void)
{
    for (size_t i = 0; i < sizeof good_peft / sizeof *good_peft; i++) {
        if (!CHECK_INT(try_one(good_peft[i][0], good_peft[i][1]), OCLORA_OK))
            fprintf(stderr, "  %s\n", good_peft[i][0]);
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            vary_config(good_peft[i][0], good_peft[i][1], fields[f], NULL);
            for (size_t v = 0; v < sizeof values / sizeof *values; v++)
                vary_config(good_peft[i][0], good_peft[i][1], fields[f], values[v]);
        }
    }
}

/* What stands behind a tensor's name, in place of its shape or behind it. */
static const char *const shapes[] = {"",    "1",         "6",     "0x6",    "1x1",   "2x2",
                                     "6x2", "4x4",       "1x2x6", "2x2x6",  "2x2x2", "2x3x2",
                                     "5x7", "1048577x1", "1x3",   "1x1x2x6"};
static const char *const spoils[] = {"@f16",   "@bf16",  "@f64",   "@i32",       "@q9",
                                     "!nan=0", "!inf=1", "!big=0", "@f16!nan=1", "!zero"};

static void vary_tensor(const char *config, const char *tensors, const char *at, size_t length)
{
    char text[1024];
    const char *colon = memchr(at, ':', length), *end = at + length;
    if (!CHECK(colon != NULL)) return;
    const int head = (int)(at - tensors), name = (int)(colon + 1 - at);
    snprintf(text, sizeof text, "%.*s%s", head, tensors, *end == ' ' ? end + 1 : end);
    if (*end != ' ' && head > 0) text[head - 1] = '\0';
    try_one(config, text);
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        snprintf(text, sizeof text, "%.*s%.*s%s%s", head, tensors, name, at, shapes[s], end);
        try_one(config, text);
    }
    for (size_t s = 0; s < sizeof spoils / sizeof *spoils; s++) {
        snprintf(text, sizeof text, "%.*s%.*s%s%s", head, tensors,
                 (int)(strcspn(at, "@! ") < length ? strcspn(at, "@! ") : length), at, spoils[s],
                 end);
        try_one(config, text);
    }
    snprintf(text, sizeof text, "%s %.*s.more%s", tensors, name - 1, at, ":2x2");
    try_one(config, text);
}

static void test_tensors(void)
{
    for (size_t i = 0; i < sizeof good_peft / sizeof *good_peft; i++)
        for (const char *at = good_peft[i][1]; *at != '\0';) {
            const size_t length = strcspn(at, " ");
            vary_tensor(good_peft[i][0], good_peft[i][1], at, length);
            at += length + (at[length] == ' ');
        }
    printf("  %zu variations refused, %zu load\n", refused, loaded);
    CHECK(refused > 2000 && loaded > 2000);
}

int main(void)
{
    static const oclora_test tests[] = {{"every field of the config", test_config},
                                        {"every tensor", test_tensors}};
    return oclora_test_main("adapter_variations", tests, sizeof tests / sizeof *tests);
}
