/* text.c - text to token ids and back. */
#include "tools/generate/text.h"

#include <llama.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t oclora_text_vocab_size(const struct llama_model *model)
{
    return llama_vocab_n_tokens(llama_model_get_vocab(model));
}

/* The prompt under the chat template, in new memory. */
static char *apply_template(const char *tmpl, const char *system, const char *user)
{
    struct llama_chat_message messages[2];
    size_t count = 0;
    if (system) messages[count++] = (struct llama_chat_message){"system", system};
    messages[count++] = (struct llama_chat_message){"user", user};
    size_t room = 2 * (strlen(user) + (system ? strlen(system) : 0)) + 512;
    for (;;) {
        char *text = room <= INT32_MAX ? malloc(room) : NULL;
        if (!text) return NULL;
        int32_t need = llama_chat_apply_template(tmpl, messages, count, true, text, (int32_t)room);
        if (need >= 0 && (size_t)need < room) {
            text[need] = '\0';
            return text;
        }
        free(text);
        if (need < 0) return NULL;
        room = (size_t)need + 1;
    }
}

static char *copy_text(const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    if (copy) memcpy(copy, text, strlen(text) + 1);
    return copy;
}

int32_t oclora_text_tokenize(const struct llama_model *model, const char *system, const char *user,
                             int32_t **out, char *error, size_t error_size)
{
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    const char *tmpl = llama_model_chat_template(model, NULL);
    char *text = tmpl ? apply_template(tmpl, system, user) : copy_text(user);
    int32_t *ids = NULL;
    int32_t count = 0;
    if (!text) {
        snprintf(error, error_size,
                 "the model's chat template is not one llama.cpp knows; give \"ids\"");
        return 0;
    }
    /* A template writes its own begin-of-sequence token, so only plain text gets one added. */
    int32_t need = strlen(text) <= INT32_MAX
                       ? -llama_tokenize(vocab, text, (int32_t)strlen(text), NULL, 0, !tmpl, true)
                       : 0;
    if (need > 0) ids = malloc((size_t)need * sizeof *ids);
    if (ids) {
        count = llama_tokenize(vocab, text, (int32_t)strlen(text), ids, need, !tmpl, true);
    }
    free(text);
    if (count <= 0) {
        snprintf(error, error_size, "the prompt gave no tokens");
        free(ids);
        return 0;
    }
    *out = ids;
    return count;
}

/* Length of the valid UTF-8 sequence at `s`, 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    size_t length = s[0] < 0x80   ? 1
                    : s[0] < 0xC2 ? 0
                    : s[0] < 0xE0 ? 2
                    : s[0] < 0xF0 ? 3
                    : s[0] < 0xF5 ? 4
                                  : 0;
    if (length == 0 || length > left) return 0;
    for (size_t i = 1; i < length; ++i) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    bool bad = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
               (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F);
    return bad ? 0 : length;
}

/* Greedy decoding may stop inside a character: what is no UTF-8 becomes U+FFFD. */
static char *valid_utf8(const char *text, size_t length)
{
    char *out = malloc(3 * length + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < length;) {
        size_t step = text[i] ? utf8_length((const unsigned char *)text + i, length - i) : 0;
        memcpy(out + n, step ? text + i : "\xEF\xBF\xBD", step ? step : 3);
        n += step ? step : 3;
        i += step ? step : 1;
    }
    if (out) out[n] = '\0';
    return out;
}

char *oclora_text_from_ids(const struct llama_model *model, const int32_t *ids, int32_t count)
{
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    int32_t room = 16 * count + 64;
    char *raw = malloc((size_t)room);
    int32_t length = raw ? llama_detokenize(vocab, ids, count, raw, room, false, false) : 0;
    if (raw && length < 0) {
        free(raw);
        room = -length;
        raw = malloc((size_t)room);
        length = raw ? llama_detokenize(vocab, ids, count, raw, room, false, false) : 0;
    }
    char *text = raw && length >= 0 ? valid_utf8(raw, (size_t)length) : NULL;
    free(raw);
    return text;
}
