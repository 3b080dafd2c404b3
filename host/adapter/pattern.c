#define PCRE2_CODE_UNIT_WIDTH 8
#include "host/adapter/pattern.h"

#include <pcre2.h>
#include <stdio.h>
#include <string.h>

enum { EXPRESSION_MAX = 1024, MATCH_LIMIT = 200000, DEPTH_LIMIT = 2000, HEAP_LIMIT_KIB = 1024 };

static int run_match(pcre2_code *code, const char *name)
{
    int result = PCRE2_ERROR_NOMEMORY;
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (limits != NULL && data != NULL) {
        pcre2_set_match_limit(limits, MATCH_LIMIT);
        pcre2_set_depth_limit(limits, DEPTH_LIMIT);
        pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
        result = pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, data, limits);
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    return result;
}

oclora_status oclora_pattern_match(const char *expression, int mode, const char *name,
                                   bool *matches, oclora_error *err)
{
    char text[EXPRESSION_MAX + 32];
    if (strlen(expression) > EXPRESSION_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the expression %.40s... is over %d bytes long",
                           expression, EXPRESSION_MAX);
    bool key = mode == OCLORA_PATTERN_KEY;
    snprintf(text, sizeof text, key ? "(?:.*\\.)?(?:%s)$" : "%s", expression);

    int code_error;
    PCRE2_SIZE where;
    uint32_t options = PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C | PCRE2_NEVER_UTF;
    if (!key) options |= PCRE2_ENDANCHORED;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &code_error, &where, NULL);
    if (code == NULL)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "%.100s is not a regular expression",
                           expression);
    int result = run_match(code, name);
    pcre2_code_free(code);
    if (result == PCRE2_ERROR_NOMEMORY) return oclora_fail_memory(err, 0, "pattern match");
    if (result < 0 && result != PCRE2_ERROR_NOMATCH)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "the expression %.100s takes too long on %.100s: write it simpler",
                           expression, name);
    *matches = result >= 0;
    return OCLORA_OK;
}
