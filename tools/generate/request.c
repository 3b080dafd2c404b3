/* request.c - JSON lines in. */
#include "tools/generate/request.h"

#include "tools/generate/text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void oclora_request_fail(oclora_request *request, const char *fmt, ...)
{
    if (request->error[0]) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(request->error, sizeof request->error, fmt, args);
    va_end(args);
}

static void read_mix_item(oclora_request *r, const json_t *item)
{
    const json_t *name = json_is_string(item) ? item : json_object_get(item, "name");
    const json_t *weight = json_is_object(item) ? json_object_get(item, "weight") : NULL;
    if (!json_is_string(name) || json_string_length(name) == 0 ||
        (weight && !json_is_number(weight))) {
        oclora_request_fail(r, "an adapter is a name or {\"name\": .., \"weight\": ..}");
        return;
    }
    if (r->n_mix == OCLORA_MIX_MAX) {
        oclora_request_fail(r, "at most %d adapters can be mixed", OCLORA_MIX_MAX);
        return;
    }
    double value = weight ? json_number_value(weight) : 1.0;
    if (!isfinite((float)value)) {
        oclora_request_fail(r, "the weight of adapter \"%s\" is not finite",
                            json_string_value(name));
        return;
    }
    char *copy = malloc(json_string_length(name) + 1);
    if (!copy) {
        oclora_request_fail(r, "out of memory");
        return;
    }
    memcpy(copy, json_string_value(name), json_string_length(name) + 1);
    r->mix[r->n_mix++] = (oclora_mix){copy, (float)value};
}

static void read_adapters(oclora_request *r, const json_t *line)
{
    json_t *one = json_object_get(line, "adapter");
    json_t *many = json_object_get(line, "adapters");
    if (one && many) {
        oclora_request_fail(r, "\"adapter\" and \"adapters\" exclude each other");
        return;
    }
    if (one && !json_is_null(one)) {
        if (json_is_string(one)) {
            read_mix_item(r, one);
        } else {
            oclora_request_fail(r, "\"adapter\" must be a name or null");
        }
    }
    if (many && !json_is_array(many)) oclora_request_fail(r, "\"adapters\" must be a list");
    size_t index;
    json_t *item;
    json_array_foreach(many, index, item) read_mix_item(r, item);
    r->adapter = json_incref(one ? one : many ? many : json_null());
}

/* Reads a list of token ids into new memory. */
static void read_ids(oclora_request *r, const json_t *list, const char *key, int32_t n_vocab,
                     int32_t **out, int32_t *count)
{
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > (1u << 24)) {
        oclora_request_fail(r, "\"%s\" must be a list of at least one token id", key);
        return;
    }
    int32_t *ids = malloc(json_array_size(list) * sizeof *ids);
    if (!ids) {
        oclora_request_fail(r, "out of memory");
        return;
    }
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id >= n_vocab) {
            oclora_request_fail(r, "\"%s\"[%zu] is not a token id from 0 to %d", key, index,
                                (int)n_vocab - 1);
            free(ids);
            return;
        }
        ids[index] = (int32_t)id;
    }
    *out = ids;
    *count = (int32_t)json_array_size(list);
}

static void read_prompt(oclora_request *r, const json_t *line, const oclora_options *options,
                        const struct llama_model *model)
{
    const json_t *text = json_object_get(line, "prompt");
    const json_t *ids = json_object_get(line, "ids");
    const json_t *system = json_object_get(line, "system");
    if (!text == !ids) {
        oclora_request_fail(r, "one of \"prompt\" and \"ids\" is needed");
    } else if (ids) {
        read_ids(r, ids, "ids", oclora_text_vocab_size(model), &r->prompt, &r->n_prompt);
    } else if (!json_is_string(text) || (system && !json_is_string(system))) {
        oclora_request_fail(r, "\"prompt\" and \"system\" must be text");
    } else {
        char error[256] = "";
        r->n_prompt =
            oclora_text_tokenize(model, system ? json_string_value(system) : options->system,
                                 json_string_value(text), &r->prompt, error, sizeof error);
        if (r->n_prompt <= 0) oclora_request_fail(r, "%s", error);
    }
}

static void read_line(oclora_request *r, const char *text, size_t length, size_t number,
                      const oclora_options *options, const struct llama_model *model)
{
    json_error_t at;
    json_t *line = json_loadb(text, length, JSON_REJECT_DUPLICATES, &at);
    const json_t *id = json_object_get(line, "id");
    const json_t *n = json_object_get(line, "n");
    const json_t *golden = json_object_get(line, "golden");
    r->id = json_is_string(id) || json_is_integer(id) ? json_incref((json_t *)id)
                                                      : json_sprintf("line %zu", number);
    r->n_max = options->n_predict;
    if (!line) oclora_request_fail(r, "not JSON: %s (column %d)", at.text, at.column);
    if (line && !json_is_object(line)) oclora_request_fail(r, "a request is a JSON object");
    if (json_is_object(line)) {
        if (id && !json_is_string(id) && !json_is_integer(id)) {
            oclora_request_fail(r, "\"id\" must be text or a whole number");
        }
        read_adapters(r, line);
        read_prompt(r, line, options, model);
        if (n && (!json_is_integer(n) || json_integer_value(n) < 1 ||
                  json_integer_value(n) > (1 << 20))) {
            oclora_request_fail(r, "\"n\" must be a number of tokens from 1");
        } else if (n) {
            r->n_max = (int32_t)json_integer_value(n);
        }
        if (golden) {
            read_ids(r, golden, "golden", oclora_text_vocab_size(model), &r->golden, &r->n_golden);
            if (r->n_golden) r->n_max = r->n_golden;
        }
    }
    json_decref(line);
    r->ids = malloc((size_t)r->n_max * sizeof *r->ids);
    if (!r->ids) oclora_request_fail(r, "out of memory");
}

static oclora_request *add_request(oclora_requests *list)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        oclora_request *grown = realloc(list->items, capacity * sizeof *grown);
        if (!grown) return NULL;
        list->items = grown;
        list->capacity = capacity;
    }
    oclora_request *request = &list->items[list->count++];
    memset(request, 0, sizeof *request);
    return request;
}

bool oclora_requests_read(oclora_requests *out, const oclora_options *options,
                          const struct llama_model *model)
{
    bool is_stdin = !options->input || strcmp(options->input, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(options->input, "r");
    if (!file) {
        fprintf(stderr, "%s: %s: %s\n", options->program, options->input, strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    bool ok = true;
    for (size_t number = 1; ok && (length = getline(&line, &capacity, file)) >= 0; ++number) {
        if (strspn(line, " \t\r\n") == (size_t)length) continue;
        oclora_request *request = add_request(out);
        ok = request != NULL;
        if (ok) read_line(request, line, (size_t)length, number, options, model);
    }
    if (!ok || ferror(file)) {
        fprintf(stderr, "%s: the requests could not be read: %s\n", options->program,
                ok ? strerror(errno) : "out of memory");
        ok = false;
    }
    free(line);
    if (!is_stdin) fclose(file);
    return ok;
}

void oclora_requests_release(oclora_requests *requests)
{
    for (size_t i = 0; i < requests->count; ++i) {
        oclora_request *r = &requests->items[i];
        json_decref(r->id);
        json_decref(r->adapter);
        for (size_t k = 0; k < r->n_mix; ++k) free(r->mix[k].name);
        free(r->prompt);
        free(r->golden);
        free(r->ids);
        if (r->logits) fclose(r->logits);
    }
    free(requests->items);
    *requests = (oclora_requests){0};
}

bool oclora_request_same_adapters(const oclora_request *a, const oclora_request *b)
{
    if (a->n_mix != b->n_mix) return false;
    for (size_t k = 0; k < a->n_mix; ++k) {
        if (strcmp(a->mix[k].name, b->mix[k].name) != 0 || a->mix[k].weight < b->mix[k].weight ||
            a->mix[k].weight > b->mix[k].weight) {
            return false;
        }
    }
    return true;
}
