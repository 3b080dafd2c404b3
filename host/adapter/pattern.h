/* pattern.h - regular expressions of adapter configs; hostile ones are expected. */
#ifndef OCLORA_ADAPTER_PATTERN_H
#define OCLORA_ADAPTER_PATTERN_H

#include "host/core/env.h"

#include <stdbool.h>

enum {
    OCLORA_PATTERN_WHOLE = 1, /* the expression must match the whole name (Python's re.fullmatch) */
    OCLORA_PATTERN_KEY = 2    /* "(.*\.)?(KEY)$" from the start: PEFT's rank_pattern keys */
};

/* Whether `expression` matches `name`. Matching is limited in steps, depth and memory. Errors:
 * FILE_FORMAT (no regular expression, or limits exceeded; the expression is named). */
oclora_status oclora_pattern_match(const char *expression, int mode, const char *name,
                                   bool *matches, oclora_error *err);

#endif
