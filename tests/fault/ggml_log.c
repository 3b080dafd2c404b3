#include "fault/ggml_log.h"

#include "support/harness.h"

#include <ggml.h>
#include <stdio.h>
#include <string.h>

static char log_text[2048];
static size_t log_used;

/* Errors, one after the other, as far as there is room. */
static void keep_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level != GGML_LOG_LEVEL_ERROR || log_used >= sizeof log_text) return;
    const int length = snprintf(log_text + log_used, sizeof log_text - log_used, "%s", text);
    log_used += length > 0 ? (size_t)length : 0;
}

void ggml_log_clear(void)
{
    log_text[0] = '\0';
    log_used = 0;
}

oclora_status ggml_log_status(char *text)
{
    oclora_status found = OCLORA_OK;
    const char *last = NULL, *at;
#define LOOK(name, code, words)                                                                    \
    if ((at = strstr(log_text, "OCLORA_" #name)) != NULL && (last == NULL || at > last)) {         \
        last = at;                                                                                 \
        found = code;                                                                              \
    }
    OCLORA_STATUS_MAP(LOOK)
#undef LOOK
    if (found != OCLORA_OK) snprintf(text, 512, "%.500s", log_text);
    return found;
}

oclora_status ggml_log_unsaid(char *text)
{
    const oclora_status status = ggml_log_status(text);
    if (CHECK(status != OCLORA_OK)) return status;
    snprintf(text, 512, "no status in the log: %.400s", log_text);
    return OCLORA_INTERNAL;
}

void ggml_log_listen(void)
{
    ggml_log_set(keep_log, NULL);
}
