/* tensors.c - writing safetensors files. */
#include "tools/shared/tensors.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ALIGNMENT = 64 };

oclora_status oclora_tensors_add(oclora_tensors *list, const char *name, const char *dtype,
                                 uint64_t rows, uint64_t cols, const void *data, uint64_t bytes,
                                 oclora_error *err)
{
    oclora_tensor_out one = {
        .dtype = dtype, .n_dims = rows != 0 ? 2 : 1, .dims = {rows != 0 ? rows : cols, cols}};
    oclora_tensor_out *grown = realloc(list->items, (list->count + 1) * sizeof *grown);
    if (grown != NULL) list->items = grown;
    one.name = malloc(strlen(name) + 1);
    one.data = malloc((size_t)bytes + 1);
    one.bytes = bytes;
    if (grown == NULL || one.name == NULL || one.data == NULL) {
        free(one.name);
        free(one.data);
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for tensor %s", name);
    }
    memcpy(one.name, name, strlen(name) + 1);
    if (bytes != 0) memcpy(one.data, data, (size_t)bytes);
    list->items[list->count++] = one;
    return OCLORA_OK;
}

oclora_status oclora_tensors_add_f32(oclora_tensors *list, const char *name, uint64_t rows,
                                     uint64_t cols, const double *values, oclora_error *err)
{
    const size_t count = (size_t)((rows != 0 ? rows : 1) * cols);
    float *narrow = malloc(count * sizeof *narrow + 1);
    if (narrow == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for tensor %s", name);
    oclora_status status = OCLORA_OK;
    for (size_t i = 0; i < count && status == OCLORA_OK; i++) {
        narrow[i] = (float)values[i];
        if (!isfinite(narrow[i]))
            status = oclora_fail(err, OCLORA_VALUE_OVERFLOW, "tensor %s: %g is no finite f32", name,
                                 values[i]);
    }
    if (status == OCLORA_OK)
        status =
            oclora_tensors_add(list, name, "F32", rows, cols, narrow, count * sizeof *narrow, err);
    free(narrow);
    return status;
}

void oclora_tensors_free(oclora_tensors *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].data);
    }
    free(list->items);
    memset(list, 0, sizeof *list);
}

static json_t *header_of(const oclora_tensors *list, const json_t *metadata)
{
    json_t *header = json_object();
    json_int_t at = 0;
    if (metadata != NULL) json_object_set_new(header, "__metadata__", json_deep_copy(metadata));
    for (size_t i = 0; i < list->count; i++) {
        const oclora_tensor_out *one = &list->items[i];
        json_t *shape = json_array();
        for (uint32_t d = 0; d < one->n_dims; d++)
            json_array_append_new(shape, json_integer((json_int_t)one->dims[d]));
        json_object_set_new(header, one->name,
                            json_pack("{s:s,s:o,s:[I,I]}", "dtype", one->dtype, "shape", shape,
                                      "data_offsets", at, at + (json_int_t)one->bytes));
        at += (json_int_t)one->bytes;
    }
    return header;
}

oclora_status oclora_tensors_pack(const oclora_tensors *list, const json_t *metadata, void **out,
                                  size_t *size, oclora_error *err)
{
    json_t *header = header_of(list, metadata);
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    const size_t length = text != NULL ? strlen(text) : 0;
    const size_t padded = (8 + length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - 8;
    size_t total = 8 + padded;
    for (size_t i = 0; i < list->count; i++) total += (size_t)list->items[i].bytes;
    uint8_t *bytes = text != NULL ? malloc(total) : NULL;
    if (bytes == NULL) {
        free(text);
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for a file of %zu bytes",
                           total);
    }
    for (uint32_t i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    memcpy(bytes + 8, text, length);
    memset(bytes + 8 + length, ' ', padded - length);
    uint8_t *at = bytes + 8 + padded;
    for (size_t i = 0; i < list->count; i++) {
        memcpy(at, list->items[i].data, (size_t)list->items[i].bytes);
        at += list->items[i].bytes;
    }
    free(text);
    *out = bytes;
    *size = total;
    return OCLORA_OK;
}

oclora_status oclora_write_file(const char *path, const void *data, size_t size, oclora_error *err)
{
    char beside[2112];
    const int length = snprintf(beside, sizeof beside, "%s.new", path);
    if (length < 0 || (size_t)length >= sizeof beside)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the path %.64s... is too long", path);
    FILE *file = fopen(beside, "wb");
    if (file == NULL)
        return oclora_fail(err, OCLORA_FILE_READ, "%s cannot be written: %s", path,
                           strerror(errno));
    const bool whole = fwrite(data, 1, size, file) == size;
    const bool closed = fclose(file) == 0;
    if (whole && closed && rename(beside, path) == 0) return OCLORA_OK;
    const int why = errno;
    remove(beside);
    return oclora_fail(err, OCLORA_FILE_READ, "%s could not be written as a whole: %s", path,
                       strerror(why));
}

static oclora_status write_in(const char *folder, const char *name, const void *data, size_t size,
                              oclora_error *err)
{
    char path[2048];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the path %.64s... is too long", folder);
    return oclora_write_file(path, data, size, err);
}

oclora_status oclora_write_adapter(const char *folder, const json_t *config,
                                   const oclora_tensors *list, oclora_error *err)
{
    void *packed = NULL;
    size_t size = 0;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return oclora_fail(err, OCLORA_FILE_READ, "folder %s cannot be made: %s", folder,
                           strerror(errno));
    char *text = json_dumps(config, JSON_INDENT(1));
    if (text == NULL)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for adapter_config.json");
    oclora_status status = write_in(folder, "adapter_config.json", text, strlen(text), err);
    free(text);
    if (status == OCLORA_OK) status = oclora_tensors_pack(list, NULL, &packed, &size, err);
    if (status == OCLORA_OK)
        status = write_in(folder, "adapter_model.safetensors", packed, size, err);
    free(packed);
    return status;
}
