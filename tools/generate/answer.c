/* answer.c - JSON lines out. */
#include "tools/generate/request.h"

#include "tools/generate/text.h"

#include <stdlib.h>

static json_t *top_list(const oclora_request *r)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < r->n_top; ++i) {
        json_array_append_new(list, json_pack("{s:i,s:f}", "id", (int)r->top_ids[i], "logit",
                                              (double)r->top_logits[i]));
    }
    return list;
}

static json_t *id_list(const int32_t *ids, int32_t count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < count; ++i) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static bool print_error(const oclora_request *r, const oclora_options *options, const char *error)
{
    char *id = json_dumps(r->id, JSON_ENCODE_ANY);
    fprintf(stderr, "%s: request %s: %s\n", options->program, id ? id : "?", error);
    free(id);
    return false;
}

bool oclora_request_print(const oclora_request *r, const oclora_options *options,
                          const struct llama_model *model)
{
    if (r->error[0]) return print_error(r, options, r->error);
    char *text = oclora_text_from_ids(model, r->ids, r->n_ids);
    json_t *answer =
        text ? json_pack("{s:O,s:O,s:o,s:s,s:o,s:f}", "id", r->id, "adapter", r->adapter, "ids",
                         id_list(r->ids, r->n_ids), "text", text, "top", top_list(r), "ms", r->ms)
             : NULL;
    /* Nine digits give every float back exactly. */
    char *line = answer ? json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool ok = line && puts(line) >= 0;
    if (!ok) print_error(r, options, "the answer could not be written");
    free(line);
    json_decref(answer);
    free(text);
    return ok;
}
