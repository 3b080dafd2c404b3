/* outputs.c - which outputs a case expects, told from what it holds and not from its kind. */
#include "tools/apply/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MAX = 64 };

static bool expects(const oclora_apply *a, const char *field)
{
    return oclora_case_has(&a->file, oclora_case_module(&a->file, 0), field);
}

/* One adapter on every row of every module. */
static oclora_status check_one(oclora_apply *a, const char *suffix, const char *field,
                               oclora_error *err)
{
    oclora_error refused = {0};
    const oclora_adapter_t adapter = oclora_apply_load(a, suffix, &refused);
    return oclora_apply_uniform(a, &adapter, 1, false, field, &refused, err);
}

/* Y.task0, Y.task1, ...; Y.task<n>_joined has the task's adapter and the base adapter, each at one;
 * Y.base_adapter is what an unknown task gets. */
static oclora_status check_tasks(oclora_apply *a, oclora_error *err)
{
    char suffix[32], field[32];
    for (uint32_t n = 0;; n++) {
        snprintf(suffix, sizeof suffix, "#task=%u", n);
        snprintf(field, sizeof field, "Y.task%u", n);
        if (!expects(a, field)) break;
        OCLORA_TRY(check_one(a, suffix, field, err));
        snprintf(field, sizeof field, "Y.task%u_joined", n);
        if (!expects(a, field)) continue;
        oclora_error refused = {0};
        oclora_adapter_t both[2] = {oclora_apply_load(a, suffix, &refused), 0};
        if (both[0] != 0) both[1] = oclora_apply_load(a, "", &refused);
        OCLORA_TRY(oclora_apply_uniform(a, both, 2, false, field, &refused, err));
    }
    return expects(a, "Y.base_adapter") ? check_one(a, "", "Y.base_adapter", err) : OCLORA_OK;
}

/* A set of adapters, mixed by the case's row_weights. */
static oclora_status check_weighted(oclora_apply *a, oclora_error *err)
{
    oclora_adapter_t members[MEMBERS_MAX] = {0};
    oclora_error refused = {0};
    size_t dims[2] = {0, 0};
    const char *module =
        oclora_case_has(&a->file, NULL, "row_weights") ? NULL : oclora_case_module(&a->file, 0);
    free(oclora_case_values(&a->file, module, "row_weights", dims));
    if (dims[1] == 0 || dims[1] > MEMBERS_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "row_weights of %zu adapters (1 to %d)",
                           dims[1], (int)MEMBERS_MAX);
    for (size_t k = 0; k < dims[1] && refused.status == OCLORA_OK; k++) {
        char suffix[32];
        snprintf(suffix, sizeof suffix, "#task=%zu", k);
        members[k] = oclora_apply_load(a, suffix, &refused);
    }
    return oclora_apply_uniform(a, members, (uint32_t)dims[1], true, "Y", &refused, err);
}

/* --- a batch in which every row has its own adapter --- */

/* Row t of the batch must equal row t of its adapter alone, bit by bit. */
static void compare_bits(oclora_apply *a, const float *together, const float *alone,
                         const oclora_apply_map *map, oclora_adapter_t adapter, size_t d_out)
{
    oclora_apply_result *result = &a->results[a->n_results - 1];
    for (uint32_t t = 0; t < map->n; t++) {
        if (map->adapter[t] != adapter || result->reason[0] != '\0') continue;
        if (memcmp(together + t * d_out, alone + t * d_out, d_out * sizeof *alone) == 0) continue;
        result->error = INFINITY;
        snprintf(result->reason, sizeof result->reason,
                 "row %u of the mixed batch differs from the same row alone", t);
    }
}

/* Rows of the batch that name `name` have its adapter; NULL is no adapter. */
static bool same_name(const json_t *row, const char *name)
{
    const char *own = json_string_value(row);
    return own == NULL || name == NULL ? own == name : strcmp(own, name) == 0;
}

static oclora_status check_solo(oclora_apply *a, size_t module, const json_t *names, uint32_t t,
                                const oclora_apply_map *map, const float *together,
                                oclora_error *err)
{
    const char *name = json_string_value(json_array_get(names, t));
    const oclora_error none = {0};
    const oclora_file_tensor *w =
        oclora_case_tensor(&a->file, oclora_case_module(&a->file, module), "W");
    oclora_apply_map solo = {.n = map->n, .k = 1, .adapter = calloc(map->n, sizeof(*map->adapter))};
    float *alone = NULL;
    char field[64];
    for (uint32_t before = 0; before < t; before++)
        if (same_name(json_array_get(names, before), name)) goto known;
    snprintf(field, sizeof field, "Y.solo.%s", name != NULL ? name : "none");
    if (solo.adapter == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for %u rows", map->n);
    for (uint32_t i = 0; i < map->n; i++) solo.adapter[i] = map->adapter[t];
    const oclora_status status = oclora_apply_module(a, module, &solo, field, &none, &alone, err);
    if (status == OCLORA_OK && together != NULL && alone != NULL)
        compare_bits(a, together, alone, map, map->adapter[t], (size_t)w->dims[0]);
    free(alone);
    free(solo.adapter);
    return status;
known:
    free(solo.adapter);
    return OCLORA_OK;
}

static oclora_status check_batch(oclora_apply *a, const json_t *names, const oclora_apply_map *map,
                                 const oclora_error *refused, oclora_error *err)
{
    for (size_t m = 0; m < a->file.n_modules; m++) {
        float *together = NULL;
        oclora_status status = oclora_apply_module(a, m, map, "Y", refused, &together, err);
        for (uint32_t t = 0; t < map->n && status == OCLORA_OK && refused->status == OCLORA_OK; t++)
            status = check_solo(a, m, names, t, map, together, err);
        free(together);
        OCLORA_TRY(status);
    }
    return OCLORA_OK;
}

static oclora_status check_mixed(oclora_apply *a, const json_t *names, oclora_error *err)
{
    oclora_error refused = {0};
    oclora_apply_map map = {.n = (uint32_t)json_array_size(names), .k = 1};
    map.adapter = calloc((size_t)map.n + 1, sizeof *map.adapter);
    if (map.adapter == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for %u rows", map.n);
    for (uint32_t t = 0; t < map.n && refused.status == OCLORA_OK; t++) {
        char suffix[256];
        const char *name = json_string_value(json_array_get(names, t));
        if (name == NULL) continue;
        snprintf(suffix, sizeof suffix, "/%s", name);
        map.adapter[t] = oclora_apply_load(a, suffix, &refused);
    }
    const oclora_status status = check_batch(a, names, &map, &refused, err);
    free(map.adapter);
    return status;
}

/* --- layers in a chain, once for each rank --- */

/* The network's output for one adapter; *y is new memory and *d_out its width. */
static oclora_status run_chain(oclora_apply *a, oclora_adapter_t adapter, bool relu, float **y,
                               uint32_t *rows, uint32_t *d_out, oclora_error *err)
{
    size_t dims[2] = {0};
    float *x = oclora_case_values(&a->file, oclora_case_module(&a->file, 0), "X", dims);
    oclora_apply_map map = {.n = (uint32_t)dims[0], .k = 1};
    oclora_status status =
        x != NULL ? OCLORA_OK : oclora_fail(err, OCLORA_FILE_FORMAT, "the first layer has no X");
    map.adapter = calloc(dims[0] + 1, sizeof *map.adapter);
    for (uint32_t t = 0; t < map.n && map.adapter != NULL; t++) map.adapter[t] = adapter;
    for (size_t m = 0; m < a->file.n_modules && status == OCLORA_OK; m++) {
        const oclora_file_tensor *w =
            oclora_case_tensor(&a->file, oclora_case_module(&a->file, m), "W");
        const size_t count = (size_t)map.n * (size_t)w->dims[0];
        float *next = calloc(count + 1, sizeof *next);
        if (w->dims[1] != dims[1])
            status =
                oclora_fail(err, OCLORA_FILE_FORMAT, "layer %zu does not fit the one before", m);
        else if (next == NULL || map.adapter == NULL)
            status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for layer %zu", m);
        else
            status = oclora_apply_serve(a, m, &map, x, next, err);
        for (size_t i = 0; status == OCLORA_OK && relu && i < count; i++)
            if (next[i] < 0.0f) next[i] = 0.0f;
        free(x);
        x = next;
        dims[1] = (size_t)w->dims[0];
    }
    free(map.adapter);
    *y = x;
    *rows = map.n;
    *d_out = (uint32_t)dims[1];
    return status;
}

static oclora_status check_chains(oclora_apply *a, const json_t *ranks, oclora_error *err)
{
    const bool relu = strstr(a->file.kind, "relu") != NULL;
    for (size_t i = 0; i < json_array_size(ranks); i++) {
        const char *folder = json_string_value(json_object_get(json_array_get(ranks, i), "folder"));
        char suffix[64], field[64];
        oclora_error why = {0};
        oclora_apply_result *result = NULL;
        float *y = NULL;
        uint32_t rows = 0, d_out = 0;
        if (folder == NULL || strlen(folder) > 32)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "case.json: rank %zu has no folder", i);
        snprintf(suffix, sizeof suffix, "/%s", folder);
        snprintf(field, sizeof field, "%s.Y", folder);
        OCLORA_TRY(oclora_apply_add(a, NULL, field, a->file.n_modules, &result, err));
        const oclora_adapter_t adapter = oclora_apply_load(a, suffix, &why);
        if (adapter == 0 || run_chain(a, adapter, relu, &y, &rows, &d_out, &why) != OCLORA_OK)
            oclora_apply_explain(result, &why);
        else
            oclora_apply_compare(a, result, NULL, y, rows, d_out);
        free(y);
    }
    return OCLORA_OK;
}

oclora_status oclora_apply_run(oclora_apply *apply, oclora_error *err)
{
    const json_t *ranks = json_object_get(apply->file.meta, "ranks");
    const json_t *rows = json_object_get(apply->file.meta, "row_adapters");
    const char *first = oclora_case_module(&apply->file, 0);
    if (apply->options->adapter != NULL) return check_one(apply, NULL, apply->options->output, err);
    if (ranks != NULL) return check_chains(apply, ranks, err);
    if (rows != NULL) return check_mixed(apply, rows, err);
    if (oclora_case_has(&apply->file, NULL, "row_weights") ||
        oclora_case_has(&apply->file, first, "row_weights"))
        return check_weighted(apply, err);
    if (expects(apply, "Y.task0")) return check_tasks(apply, err);
    if (expects(apply, "Y.before")) {
        OCLORA_TRY(check_one(apply, "", "Y.before", err));
        return check_one(apply, "/mitigated", "Y", err);
    }
    return check_one(apply, "", "Y", err);
}
