#include "host/file/safetensors.h"
#include "host/file/json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000 };

static const struct {
    const char *name;
    oclora_type type;
} dtypes[] = {{"F32", OCLORA_TYPE_F32}, {"F16", OCLORA_TYPE_F16}, {"BF16", OCLORA_TYPE_BF16},
              {"F64", OCLORA_TYPE_F64}, {"I8", OCLORA_TYPE_I8},   {"I16", OCLORA_TYPE_I16},
              {"I32", OCLORA_TYPE_I32}, {"I64", OCLORA_TYPE_I64}, {"U8", OCLORA_TYPE_I8},
              {"BOOL", OCLORA_TYPE_I8}};

static uint64_t type_size(oclora_type type)
{
    switch (type) {
    case OCLORA_TYPE_F16:
    case OCLORA_TYPE_BF16:
    case OCLORA_TYPE_I16:
        return 2;
    case OCLORA_TYPE_F32:
    case OCLORA_TYPE_I32:
        return 4;
    case OCLORA_TYPE_F64:
    case OCLORA_TYPE_I64:
        return 8;
    default:
        return 1;
    }
}

static uint64_t read_u64(const uint8_t *bytes)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

static oclora_status parse_dtype(oclora_file_tensor *tensor, const json_t *entry, oclora_error *err)
{
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (name == NULL)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s has no dtype", tensor->name);
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtypes[i].name, name) == 0) {
            tensor->type = dtypes[i].type;
            return OCLORA_OK;
        }
    }
    return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "tensor %s has dtype %.32s", tensor->name,
                       name);
}

static oclora_status parse_shape(oclora_file_tensor *tensor, const json_t *entry, oclora_error *err)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > OCLORA_TENSOR_MAX_DIMS)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "tensor %s: shape is not a list of at most %d sizes", tensor->name,
                           OCLORA_TENSOR_MAX_DIMS);
    tensor->n_dims = (uint32_t)json_array_size(shape);
    tensor->bytes = type_size(tensor->type);
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        const json_t *item = json_array_get(shape, i);
        if (!json_is_integer(item) || json_integer_value(item) < 0)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s: shape holds no size at %u",
                               tensor->name, (unsigned)i);
        uint64_t size = (uint64_t)json_integer_value(item);
        if (size != 0 && tensor->bytes > UINT64_MAX / size)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s: shape overflows", tensor->name);
        tensor->dims[i] = size;
        tensor->bytes *= size;
    }
    return OCLORA_OK;
}

static oclora_status parse_range(oclora_file_tensor *tensor, const json_t *entry,
                                 const uint8_t *data, uint64_t data_size, oclora_error *err)
{
    const json_t *range = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s: data_offsets is not [begin, end]",
                           tensor->name);
    uint64_t begin = (uint64_t)json_integer_value(first), end = (uint64_t)json_integer_value(last);
    if (end > data_size)
        return oclora_fail(err, OCLORA_FILE_TRUNCATED,
                           "tensor %s ends at byte %llu of the data, the file has %llu",
                           tensor->name, (unsigned long long)end, (unsigned long long)data_size);
    if (end - begin != tensor->bytes)
        return oclora_fail(
            err, OCLORA_FILE_FORMAT, "tensor %s takes %llu bytes, its shape and dtype need %llu",
            tensor->name, (unsigned long long)(end - begin), (unsigned long long)tensor->bytes);
    tensor->data = data + begin;
    return OCLORA_OK;
}

static int by_offset(const void *a, const void *b)
{
    const oclora_file_tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static oclora_status check_layout(oclora_safetensors *file, const uint8_t *data, uint64_t size,
                                  oclora_error *err)
{
    qsort(file->tensors, file->count, sizeof *file->tensors, by_offset);
    const uint8_t *end = data;
    for (size_t i = 0; i < file->count; i++) {
        const oclora_file_tensor *tensor = &file->tensors[i];
        if (tensor->data != end)
            return oclora_fail(err, OCLORA_FILE_FORMAT,
                               "tensor %s begins at byte %llu of the data, the one before it ends "
                               "at %llu: hole or overlap",
                               tensor->name, (unsigned long long)(tensor->data - data),
                               (unsigned long long)(end - data));
        end += tensor->bytes;
    }
    if ((uint64_t)(end - data) != size)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "the last tensor ends at byte %llu of the data, the file has %llu",
                           (unsigned long long)(end - data), (unsigned long long)size);
    return OCLORA_OK;
}

/* Into memory of our own: what jansson gives could only be freed by the host's jansson hooks. */
static oclora_status keep_metadata(oclora_safetensors *file, const json_t *entry, oclora_error *err)
{
    const size_t size = json_dumpb(entry, NULL, 0, JSON_COMPACT);
    if (size != 0) file->metadata_json = oclora_alloc(&file->env, size + 1, 1);
    if (file->metadata_json == NULL) return oclora_fail_memory(err, size + 1, "file metadata");
    json_dumpb(entry, file->metadata_json, size, JSON_COMPACT);
    return OCLORA_OK;
}

static oclora_status parse_tensors(oclora_safetensors *file, json_t *root, const uint8_t *data,
                                   uint64_t data_size, oclora_error *err)
{
    const char *key;
    json_t *entry;
    char *name = file->names;
    json_object_foreach(root, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0) {
            if (!json_is_object(entry))
                return oclora_fail(err, OCLORA_FILE_FORMAT, "__metadata__ is not an object");
            OCLORA_TRY(keep_metadata(file, entry, err));
            continue;
        }
        oclora_file_tensor *tensor = &file->tensors[file->count++];
        size_t length = strlen(key) + 1;
        memcpy(name, key, length);
        tensor->name = name;
        name += length;
        if (!json_is_object(entry))
            return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s is not an object", tensor->name);
        OCLORA_TRY(parse_dtype(tensor, entry, err));
        OCLORA_TRY(parse_shape(tensor, entry, err));
        OCLORA_TRY(parse_range(tensor, entry, data, data_size, err));
    }
    return check_layout(file, data, data_size, err);
}

static oclora_status allocate(oclora_safetensors *file, json_t *root, oclora_error *err)
{
    const char *key;
    json_t *entry;
    size_t names = 0;
    json_object_foreach(root, key, entry) names += strlen(key) + 1;
    size_t count = json_object_size(root);
    file->tensors = oclora_alloc(&file->env, count, sizeof *file->tensors);
    file->names = oclora_alloc(&file->env, names, 1);
    if (file->tensors == NULL || file->names == NULL)
        return oclora_fail_memory(err, count * sizeof *file->tensors + names, "tensor directory");
    return OCLORA_OK;
}

oclora_status oclora_safetensors_parse(oclora_safetensors *out, const oclora_env *env,
                                       const oclora_map *map, oclora_error *err)
{
    if (map->size < 8)
        return oclora_fail(err, OCLORA_FILE_TRUNCATED, "%llu bytes are no safetensors file",
                           (unsigned long long)map->size);
    uint64_t length = read_u64(map->data);
    if (length > HEADER_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "the header announces %llu bytes: not a safetensors file",
                           (unsigned long long)length);
    if (length > map->size - 8)
        return oclora_fail(err, OCLORA_FILE_TRUNCATED,
                           "the header announces %llu bytes, the file has %llu after it",
                           (unsigned long long)length, (unsigned long long)(map->size - 8));
    const uint8_t *header = map->data + 8;
    if (length == 0 || header[0] != '{' || !oclora_json_is_modest(header, length, map->size))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the header is not a safetensors directory");

    json_error_t problem;
    json_t *root =
        json_loadb((const char *)header, (size_t)length, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL) return oclora_fail_json(err, &problem, "the header");

    oclora_safetensors file = {0};
    file.env = *env;
    oclora_status status = allocate(&file, root, err); /* an object, as it begins with '{' */
    if (status == OCLORA_OK)
        status = parse_tensors(&file, root, header + length, map->size - 8 - length, err);
    json_decref(root);
    if (status != OCLORA_OK) {
        oclora_safetensors_free(&file);
        return status;
    }
    *out = file;
    return OCLORA_OK;
}

void oclora_safetensors_free(oclora_safetensors *file)
{
    oclora_release(&file->env, file->tensors);
    oclora_release(&file->env, file->names);
    oclora_release(&file->env, file->metadata_json);
    memset(file, 0, sizeof *file);
}

const oclora_file_tensor *oclora_safetensors_find(const oclora_safetensors *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->tensors[i].name, name) == 0) return &file->tensors[i];
    return NULL;
}
