/* rows.c - one output of a case: its rows mapped to adapters, computed and compared. */
#include "tools/apply/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double oclora_apply_bound(const oclora_apply *apply, size_t layers)
{
    double bound = 0.0;
    if (apply->options->store == OCLORA_STORE_F16) bound = layers > 1 ? 2e-2 : 2e-3;
    if (apply->options->store == OCLORA_STORE_Q8_0) bound = layers > 1 ? 5e-1 : 3e-2;
    return bound > apply->file.tolerance ? bound : apply->file.tolerance;
}

oclora_status oclora_apply_add(oclora_apply *a, const char *module, const char *field,
                               size_t layers, oclora_apply_result **out, oclora_error *err)
{
    oclora_apply_result *grown = realloc(a->results, (a->n_results + 1) * sizeof *grown);
    if (grown == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for one more result");
    a->results = grown;
    *out = &grown[a->n_results++];
    memset(*out, 0, sizeof **out);
    snprintf((*out)->module, sizeof(*out)->module, "%s", module != NULL ? module : "");
    snprintf((*out)->field, sizeof(*out)->field, "%s", field);
    (*out)->error = INFINITY;
    (*out)->bound = oclora_apply_bound(a, layers);
    return OCLORA_OK;
}

void oclora_apply_explain(oclora_apply_result *result, const oclora_error *why)
{
    snprintf(result->reason, sizeof result->reason, "%s: %s", oclora_status_name(why->status),
             why->text);
}

/* A NaN anywhere makes the error infinite. */
static double largest_error(const float *y, const float *expected, size_t count)
{
    double difference = 0.0, scale = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)y[i] - (double)expected[i]);
        if (!(d <= INFINITY)) return INFINITY;
        if (d > difference) difference = d;
        if (fabs((double)expected[i]) > scale) scale = fabs((double)expected[i]);
    }
    return scale > 0.0 ? difference / scale : difference > 0.0 ? INFINITY : 0.0;
}

void oclora_apply_compare(const oclora_apply *a, oclora_apply_result *result, const char *module,
                          const float *y, uint32_t rows, uint32_t d_out)
{
    size_t dims[2] = {0};
    float *expected = oclora_case_values(&a->file, module, result->field, dims);
    uint8_t digest[32];
    result->rows = rows;
    if (oclora_sha256(y, (uint64_t)rows * d_out * sizeof *y, digest))
        for (size_t i = 0; i < sizeof digest; i++)
            snprintf(result->digest + 2 * i, 3, "%02x", digest[i]);
    if (expected == NULL || dims[0] != rows || dims[1] != d_out)
        snprintf(result->reason, sizeof result->reason,
                 "the case has no such output of %u rows and %u columns", rows, d_out);
    else
        result->error = largest_error(y, expected, (size_t)rows * d_out);
    free(expected);
}

/* Rows of one request have one number; without `instances` all rows are one request. */
static void number_rows(const oclora_apply *a, uint32_t n, uint32_t *instance)
{
    size_t dims[2] = {0};
    float *ranges = oclora_case_values(&a->file, NULL, "instances", dims);
    for (uint32_t t = 0; t < n; t++) {
        instance[t] = 0;
        for (size_t i = 0; ranges != NULL && dims[1] == 2 && i < dims[0]; i++)
            if ((float)t >= ranges[2 * i] && (float)t < ranges[2 * i + 1])
                instance[t] = (uint32_t)i;
    }
    free(ranges);
}

oclora_status oclora_apply_serve(oclora_apply *a, size_t module, const oclora_apply_map *map,
                                 const float *x, float *y, oclora_error *err)
{
    const size_t room = (size_t)map->n * map->k + 1;
    uint32_t *start = calloc((size_t)map->n + 1, sizeof *start);
    uint32_t *instance = calloc((size_t)map->n + 1, sizeof *instance);
    oclora_adapter_t *entries = calloc(room, sizeof *entries);
    float *weights = calloc(room, sizeof *weights);
    oclora_status status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for the rows");
    if (start == NULL || instance == NULL || entries == NULL || weights == NULL) goto out;
    number_rows(a, map->n, instance);
    for (uint32_t t = 0; t < map->n; t++) {
        start[t + 1] = start[t];
        for (uint32_t k = 0; k < map->k; k++) {
            const size_t at = (size_t)t * map->k + k;
            if (map->adapter[at] == 0) continue;
            entries[start[t + 1]] = map->adapter[at];
            weights[start[t + 1]++] = map->weight != NULL ? map->weight[at] : 1.0f;
        }
    }
    const oclora_batch_args args = {.struct_size = sizeof args,
                                    .row_start = start,
                                    .adapter = entries,
                                    .weight = weights,
                                    .n_rows = map->n,
                                    .instance = instance};
    status = oclora_layers_run(&a->layers, module, &args, x, y, err);
out:
    free(start);
    free(instance);
    free(entries);
    free(weights);
    return status;
}

oclora_status oclora_apply_module(oclora_apply *a, size_t module, const oclora_apply_map *map,
                                  const char *field, const oclora_error *refused, float **y_out,
                                  oclora_error *err)
{
    oclora_apply_result *result = NULL;
    oclora_error why = {0};
    const char *name = oclora_case_module(&a->file, module);
    const oclora_file_tensor *w = oclora_case_tensor(&a->file, name, "W");
    const uint32_t d_out = (uint32_t)w->dims[0];
    size_t dims[2] = {0};
    OCLORA_TRY(oclora_apply_add(a, name, field, 1, &result, err));
    float *x = oclora_case_values(&a->file, name, "X", dims);
    float *y = calloc((size_t)map->n * d_out + 1, sizeof *y);
    if (refused->status != OCLORA_OK)
        oclora_apply_explain(result, refused);
    else if (x == NULL || y == NULL || dims[0] != map->n || dims[1] != w->dims[1])
        snprintf(result->reason, sizeof result->reason, "the case's X does not fit");
    else if (oclora_apply_serve(a, module, map, x, y, &why) != OCLORA_OK)
        oclora_apply_explain(result, &why);
    else
        oclora_apply_compare(a, result, name, y, map->n, d_out);
    free(x);
    if (y_out != NULL)
        *y_out = y;
    else
        free(y);
    return OCLORA_OK;
}

oclora_adapter_t oclora_apply_load(oclora_apply *a, const char *suffix, oclora_error *refused)
{
    char path[1280];
    oclora_message msg = {.struct_size = sizeof msg};
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    oclora_adapter_t adapter = 0;
    if (suffix != NULL)
        snprintf(path, sizeof path, "%s%s", a->file.folder, suffix);
    else
        snprintf(path, sizeof path, "%s", a->options->adapter);
    if (oclora_layers_load(&a->layers, path, a->options->store, &adapter, refused) != OCLORA_OK)
        return 0;
    if (a->layers.api->adapter_query(a->layers.pool, adapter, &desc, &msg) == OCLORA_OK) {
        if (a->kind != 0 && a->kind != desc.kind) a->several = true;
        a->kind = desc.kind;
    }
    return adapter;
}

uint32_t oclora_apply_row_count(const oclora_apply *a, size_t module)
{
    const oclora_file_tensor *x =
        oclora_case_tensor(&a->file, oclora_case_module(&a->file, module), "X");
    return x != NULL && x->n_dims == 2 ? (uint32_t)x->dims[0] : 0;
}

oclora_status oclora_apply_uniform(oclora_apply *a, const oclora_adapter_t *adapters, uint32_t k,
                                   bool weighted, const char *field, const oclora_error *refused,
                                   oclora_error *err)
{
    for (size_t m = 0; m < a->file.n_modules; m++) {
        const char *name = oclora_case_module(&a->file, m);
        oclora_apply_map map = {.n = oclora_apply_row_count(a, m), .k = k};
        size_t dims[2] = {map.n, k};
        float *weights = NULL;
        oclora_error why = *refused;
        if (weighted) {
            const bool shared = oclora_case_has(&a->file, NULL, "row_weights");
            weights = oclora_case_values(&a->file, shared ? NULL : name, "row_weights", dims);
        }
        if (weighted && (weights == NULL || dims[0] != map.n || dims[1] != k))
            oclora_fail(&why, OCLORA_FILE_FORMAT, "row_weights do not fit the rows and adapters");
        map.adapter = calloc((size_t)map.n * k + 1, sizeof *map.adapter);
        map.weight = weights;
        oclora_status status = OCLORA_OUT_OF_HOST_MEMORY;
        if (map.adapter == NULL)
            oclora_fail(err, status, "no memory for the rows of %s", name);
        else {
            for (size_t i = 0; i < (size_t)map.n * k; i++) map.adapter[i] = adapters[i % k];
            status = oclora_apply_module(a, m, &map, field, &why, NULL, err);
        }
        free(map.adapter);
        free(weights);
        OCLORA_TRY(status);
    }
    return OCLORA_OK;
}
