/* case.c - reading golden-style cases. */
#include "tools/shared/case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_status read_meta(oclora_case *c, oclora_error *err)
{
    char path[1100];
    json_error_t where;
    snprintf(path, sizeof path, "%s/case.json", c->folder);
    c->meta = json_load_file(path, 0, &where);
    if (c->meta == NULL)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "%s: %s (line %d); give the folder of a case, with its case.json", path,
                           where.text, where.line);
    c->kind = json_string_value(json_object_get(c->meta, "kind"));
    c->tolerance = json_number_value(json_object_get(c->meta, "tolerance_fp32"));
    c->n_modules = json_array_size(json_object_get(c->meta, "modules"));
    for (size_t m = 0; m < c->n_modules; m++)
        if (oclora_case_module(c, m) == NULL) c->n_modules = 0;
    if (c->kind == NULL || !(c->tolerance > 0.0) || c->n_modules == 0)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "%s: kind, tolerance_fp32 and modules (each with a name) are needed",
                           path);
    return OCLORA_OK;
}

oclora_status oclora_case_open(oclora_case *out, const char *folder, oclora_error *err)
{
    char path[1100];
    const oclora_env env = {0};
    memset(out, 0, sizeof *out);
    const int length = snprintf(out->folder, sizeof out->folder, "%s", folder);
    if (length < 0 || (size_t)length >= sizeof out->folder)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the case's path is too long");
    for (size_t i = (size_t)length; i > 1 && out->folder[i - 1] == '/'; i--)
        out->folder[i - 1] = '\0';
    OCLORA_TRY(read_meta(out, err));
    snprintf(path, sizeof path, "%s/case.safetensors", out->folder);
    OCLORA_TRY(oclora_map_open(&out->map, path, err));
    return oclora_safetensors_parse(&out->tensors, &env, &out->map, err);
}

void oclora_case_close(oclora_case *c)
{
    oclora_safetensors_free(&c->tensors);
    oclora_map_close(&c->map);
    if (c->meta != NULL) json_decref(c->meta);
    memset(c, 0, sizeof *c);
}

const char *oclora_case_module(const oclora_case *c, size_t index)
{
    const json_t *module = json_array_get(json_object_get(c->meta, "modules"), index);
    return json_string_value(json_object_get(module, "name"));
}

const oclora_file_tensor *oclora_case_tensor(const oclora_case *c, const char *module,
                                             const char *field)
{
    char name[512];
    if (module == NULL)
        snprintf(name, sizeof name, "%s", field);
    else
        snprintf(name, sizeof name, "%s.%s", module, field);
    return oclora_safetensors_find(&c->tensors, name);
}

bool oclora_case_has(const oclora_case *c, const char *module, const char *field)
{
    return oclora_case_tensor(c, module, field) != NULL;
}

float *oclora_case_values(const oclora_case *c, const char *module, const char *field,
                          size_t dims[2])
{
    const oclora_file_tensor *tensor = oclora_case_tensor(c, module, field);
    if (tensor == NULL || tensor->n_dims < 1 || tensor->n_dims > 2) return NULL;
    if (tensor->type != OCLORA_TYPE_F32 && tensor->type != OCLORA_TYPE_I32) return NULL;
    float *values = malloc((size_t)tensor->bytes + 1);
    if (values == NULL) return NULL;
    memcpy(values, tensor->data, (size_t)tensor->bytes);
    if (tensor->type == OCLORA_TYPE_I32)
        for (size_t i = 0; i < tensor->bytes / 4; i++) {
            int32_t whole;
            memcpy(&whole, tensor->data + 4 * i, 4);
            values[i] = (float)whole;
        }
    dims[0] = tensor->n_dims == 2 ? (size_t)tensor->dims[0] : 1;
    dims[1] = (size_t)tensor->dims[tensor->n_dims - 1];
    return values;
}
