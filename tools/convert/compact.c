/* compact.c - writing compact files. */
#include "host/adapter/compact.h"
#include "host/base/layout.h"
#include "tools/convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct writer {
    oclora_tensors list;
    const void **known; /* data of the factors written so far */
    json_t *factors;
    uint64_t at; /* bytes of data so far */
    uint32_t n_pads;
} writer;

static oclora_status add(writer *w, const char *name, const char *dtype, uint64_t rows,
                         uint64_t cols, const void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(oclora_tensors_add(&w->list, name, dtype, rows, cols, data, bytes, err));
    w->at += bytes;
    return OCLORA_OK;
}

static oclora_status align(writer *w, oclora_error *err)
{
    static const uint8_t zeros[OCLORA_COMPACT_ALIGN];
    const uint64_t over = w->at % OCLORA_COMPACT_ALIGN;
    char name[32];
    if (over == 0) return OCLORA_OK;
    snprintf(name, sizeof name, "pad.%u", w->n_pads++);
    return add(w, name, "U8", 0, OCLORA_COMPACT_ALIGN - over, zeros, OCLORA_COMPACT_ALIGN - over,
               err);
}

/* Writes a factor unless it is there already; `entry` gets its number under `key`. */
static oclora_status put_factor(writer *w, json_t *entry, const char *key,
                                const oclora_factor *factor, oclora_error *err)
{
    char name[32];
    if (factor->data == NULL) return OCLORA_OK;
    const size_t count = json_array_size(w->factors);
    for (size_t i = 0; i < count; i++) {
        if (w->known[i] != factor->data) continue;
        json_object_set_new(entry, key, json_integer((json_int_t)i));
        return OCLORA_OK;
    }
    const void **grown = realloc(w->known, (count + 1) * sizeof *grown);
    if (grown == NULL) return oclora_fail_memory(err, (count + 1) * sizeof *grown, "factors");
    w->known = grown;
    OCLORA_TRY(align(w, err));
    const bool packed = factor->type == OCLORA_TYPE_Q8_0;
    const uint64_t row_bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    snprintf(name, sizeof name, "factor.%zu", count);
    OCLORA_TRY(add(w, name,
                   packed                             ? "U8"
                   : factor->type == OCLORA_TYPE_F16  ? "F16"
                   : factor->type == OCLORA_TYPE_BF16 ? "BF16"
                                                      : "F32",
                   factor->rows, packed ? row_bytes : factor->cols, factor->data,
                   oclora_factor_bytes(factor), err));
    grown[count] = factor->data;
    json_array_append_new(w->factors,
                          json_pack("{s:s,s:i,s:i}", "type", oclora_type_name(factor->type), "rows",
                                    (int)factor->rows, "cols", (int)factor->cols));
    json_object_set_new(entry, key, json_integer((json_int_t)count));
    return OCLORA_OK;
}

static oclora_status put_vectors(writer *w, oclora_module *m, size_t index, oclora_error *err)
{
    oclora_compact_vector vectors[OCLORA_COMPACT_VECTORS];
    char name[64];
    oclora_compact_vectors(m, vectors);
    for (size_t i = 0; i < OCLORA_COMPACT_VECTORS; i++) {
        const oclora_compact_vector *v = &vectors[i];
        if (*v->values == NULL) continue;
        snprintf(name, sizeof name, "vector.%zu.%s", index, v->field);
        OCLORA_TRY(add(w, name, "F32", v->plain ? 0 : v->rows, v->cols, *v->values,
                       v->rows * v->cols * sizeof(float), err));
    }
    return OCLORA_OK;
}

static oclora_status put_router(writer *w, json_t *entry, const oclora_router *router, size_t index,
                                oclora_error *err)
{
    const float pair[2] = {router->temperature, router->pair_weight};
    char name[64];
    if (router->kind == OCLORA_ROUTER_NONE) return OCLORA_OK;
    json_t *object = json_pack("{s:i,s:i,s:i}", "kind", (int)router->kind, "n_experts",
                               (int)router->n_experts, "top_k", (int)router->top_k);
    json_object_set_new(entry, "router", object);
    snprintf(name, sizeof name, "vector.%zu.router", index);
    OCLORA_TRY(add(w, name, "F32", 0, 2, pair, sizeof pair, err));
    OCLORA_TRY(put_factor(w, object, "gate", &router->gate, err));
    return put_factor(w, object, "gate_b", &router->gate_b, err);
}

static oclora_status put_module(writer *w, json_t *modules, oclora_module *m, size_t index,
                                oclora_error *err)
{
    json_t *entry = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:b}", "name", m->name, "d_in",
                              (int)m->d_in, "d_out", (int)m->d_out, "rank", (int)m->rank, "group",
                              (int)m->group, "n_mul", (int)m->n_mul, "scales_bias", m->scales_bias);
    if (entry == NULL) return oclora_fail_memory(err, 0, "the header");
    json_array_append_new(modules, entry);
    OCLORA_TRY(put_factor(w, entry, "a", &m->a, err));
    OCLORA_TRY(put_factor(w, entry, "b", &m->b, err));
    OCLORA_TRY(put_router(w, entry, &m->router, index, err));
    return put_vectors(w, m, index, err);
}

static const char *kind_name(oclora_kind kind)
{
    static const struct {
        oclora_kind kind;
        const char *name;
    } kinds[] = {
#define OCLORA_CONVERT_KIND(id, code, text) {code, text},
        OCLORA_KIND_MAP(OCLORA_CONVERT_KIND)
#undef OCLORA_CONVERT_KIND
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].kind == kind) return kinds[i].name;
    return "unknown";
}

static oclora_status write_packed(writer *w, const char *path, const oclora_adapter_image *image,
                                  json_t *modules, oclora_error *err)
{
    void *packed = NULL;
    size_t size = 0;
    json_t *head = json_pack("{s:i,s:s,s:s,s:i,s:i,s:s,s:O,s:O}", "version", OCLORA_COMPACT_VERSION,
                             "kind", kind_name(image->kind), "naming",
                             image->naming == OCLORA_NAMING_GGUF ? "gguf" : "peft", "task",
                             (int)image->task, "n_tasks", (int)image->n_tasks, "architecture",
                             image->architecture, "factors", w->factors, "modules", modules);
    char *text = json_dumps(head, JSON_COMPACT);
    json_t *metadata = json_pack("{s:s}", OCLORA_COMPACT_KEY, text != NULL ? text : "");
    oclora_status status = text != NULL && metadata != NULL
                               ? oclora_tensors_pack(&w->list, metadata, &packed, &size, err)
                               : oclora_fail_memory(err, 0, "the header");
    if (status == OCLORA_OK) status = oclora_write_file(path, packed, size, err);
    json_decref(metadata);
    json_decref(head);
    free(text);
    free(packed);
    return status;
}

oclora_status oclora_write_compact(const char *path, const oclora_adapter_image *image,
                                   oclora_error *err)
{
    writer w = {.factors = json_array()};
    json_t *modules = json_array();
    oclora_status status =
        w.factors != NULL && modules != NULL ? OCLORA_OK : oclora_fail_memory(err, 0, "the header");
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++)
        status = put_module(&w, modules, &image->modules[i], i, err);
    if (status == OCLORA_OK) status = write_packed(&w, path, image, modules, err);
    json_decref(modules);
    json_decref(w.factors);
    oclora_tensors_free(&w.list);
    free(w.known);
    return status;
}
