#include "support/harness.h"

#include "host/adapter/config.h"
#include "host/adapter/pattern.h"

#include <stdio.h>
#include <string.h>

/* The rules PEFT applies, case by case. */
static void test_targets(void)
{
    static const struct {
        const char *config, *module;
        bool targeted;
    } cases[] = {
        {"\"target_modules\":[\"q_proj\"]", "model.layers.0.self_attn.q_proj", true},
        {"\"target_modules\":[\"q_proj\"]", "q_proj", true},
        {"\"target_modules\":[\"q_proj\"]", "model.seq_proj", false},
        {"\"target_modules\":[\"self_attn.q_proj\"]", "model.layers.0.self_attn.q_proj", true},
        {"\"target_modules\":[\"q\"]", "model.q_proj", false},
        {"\"target_modules\":\".*\\\\.(q|v)_proj\"", "model.layers.0.v_proj", true},
        {"\"target_modules\":\"q_proj\"", "model.q_proj", false}, /* the whole name */
        {"\"target_modules\":\"a|model\"", "model.q_proj", false},
        {"\"target_modules\":\"all-linear\"", "anything", true},
        {"\"target_modules\":null", "anything", true},
        {"\"target_modules\":[\"q\"],\"exclude_modules\":[\"layers.1.q\"]", "m.layers.1.q", false},
        {"\"target_modules\":[\"q\"],\"exclude_modules\":[\"layers.1.q\"]", "m.layers.2.q", true},
        {"\"target_modules\":[\"q\"],\"exclude_modules\":\".*1.*\"", "m.layers.1.q", false},
        {"\"target_modules\":[\"q\"],\"layers_to_transform\":3", "m.layers.3.q", true},
        {"\"target_modules\":[\"q\"],\"layers_to_transform\":[2,3]", "m.layers.4.q", false},
        {"\"target_modules\":[\"q\"],\"layers_to_transform\":[2,3]", "m.q", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256] = "{\"peft_type\":\"LORA\",";
        oclora_config config = {0};
        oclora_error err = {0};
        bool targeted = !cases[i].targeted;
        strcat(strcat(text, cases[i].config), "}");
        CHECK_OK(oclora_config_parse(&config, text, strlen(text), &err), &err);
        CHECK_OK(oclora_config_targets(&config, cases[i].module, &targeted, &err), &err);
        if (!CHECK_INT(targeted, cases[i].targeted)) fprintf(stderr, "  %s\n", text);
        oclora_config_free(&config);
    }
}

static void test_ranks(void)
{
    static const char text[] = "{\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":2.5,"
                               "\"rank_pattern\":{\"down\":3,\".*\\\\.1\\\\..*\":5,\"^layers\\\\.["
                               "2-3]\\\\..*\":7,\"proj\":99},"
                               "\"alpha_pattern\":{\"layers.0.down\":1}}";
    static const struct {
        const char *module;
        uint32_t rank;
        double alpha;
    } cases[] = {{"layers.0.up", 8, 2.5},       {"layers.0.down", 3, 1.0},
                 {"layers.1.down", 3, 2.5}, /* the first match wins */
                 {"layers.1.up", 5, 2.5},       {"layers.2.up", 7, 2.5},
                 {"model.layers.2.up", 8, 2.5}, /* ^ means the beginning */
                 {"layers.0.o_proj", 8, 2.5},   /* a key begins at a dot */
                 {"layers.0.proj", 99, 2.5}};
    oclora_config config = {0};
    oclora_error err = {0};
    CHECK_OK(oclora_config_parse(&config, text, strlen(text), &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t rank;
        double alpha;
        CHECK_OK(oclora_config_rank(&config, cases[i].module, &rank, &alpha, &err), &err);
        if (!CHECK_INT(rank, cases[i].rank)) fprintf(stderr, "  %s\n", cases[i].module);
        CHECK(alpha == cases[i].alpha);
    }
    oclora_config_free(&config);
}

static void test_patterns(void)
{
    bool matches = false;
    oclora_error err = {0};
    CHECK_OK(oclora_pattern_match("a.c", OCLORA_PATTERN_WHOLE, "abc", &matches, &err), &err);
    CHECK(matches);
    CHECK_OK(oclora_pattern_match("a", OCLORA_PATTERN_WHOLE, "ab", &matches, &err), &err);
    CHECK(!matches);
    CHECK_OK(oclora_pattern_match("b|c", OCLORA_PATTERN_KEY, "x.c", &matches, &err), &err);
    CHECK(matches);
    CHECK_STATUS(oclora_pattern_match("*", OCLORA_PATTERN_WHOLE, "a", &matches, &err),
                 OCLORA_FILE_FORMAT, &err);
    CHECK_STATUS(oclora_pattern_match("a)|(b", OCLORA_PATTERN_WHOLE, "a", &matches, &err),
                 OCLORA_FILE_FORMAT, &err);
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    CHECK_STATUS(oclora_pattern_match(text, OCLORA_PATTERN_WHOLE, "a", &matches, &err),
                 OCLORA_FILE_FORMAT, &err);
    CHECK_STATUS(oclora_pattern_match("(?:a|aa)*[bc]", OCLORA_PATTERN_WHOLE, text, &matches, &err),
                 OCLORA_FILE_FORMAT, &err);
    CHECK_CONTAINS(err.text, "takes too long");
}

static void test_large_config(void)
{
    static char text[(1 << 20) + 2];
    oclora_config config = {0};
    oclora_error err = {0};
    memset(text, ' ', sizeof text);
    CHECK_STATUS(oclora_config_parse(&config, text, sizeof text, &err), OCLORA_FILE_FORMAT, &err);
    memset(text, '[', sizeof text);
    CHECK_STATUS(oclora_config_parse(&config, text, 1 << 20, &err), OCLORA_FILE_FORMAT, &err);
}

int main(void)
{
    static const oclora_test tests[] = {{"targets", test_targets},
                                        {"ranks", test_ranks},
                                        {"patterns", test_patterns},
                                        {"large config", test_large_config}};
    return oclora_test_main("config", tests, sizeof tests / sizeof tests[0]);
}
