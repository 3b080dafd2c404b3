#include "host/file/gguf.h"

#include <stdlib.h>
#include <string.h>

enum {
    GGML_TYPE_LIMIT = 43,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MAX = 1 << 16,
    DIRECTORY_MAX = 3 << 20
};

/* Value types of metadata, numbered as in the format. */
enum {
    VALUE_U8,
    VALUE_I8,
    VALUE_U16,
    VALUE_I16,
    VALUE_U32,
    VALUE_I32,
    VALUE_F32,
    VALUE_BOOL,
    VALUE_STRING,
    VALUE_ARRAY,
    VALUE_U64,
    VALUE_I64,
    VALUE_F64,
    VALUE_COUNT
};

static const uint8_t value_size[VALUE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* ggml's element types: elements and bytes of one block, and ours where there is one. */
static const struct {
    uint16_t elements;
    uint16_t bytes;
    oclora_type type;
} ggml_types[GGML_TYPE_LIMIT] = {
    [0] = {1, 4, OCLORA_TYPE_F32},       [1] = {1, 2, OCLORA_TYPE_F16},
    [2] = {32, 18, OCLORA_TYPE_Q4_0},    [3] = {32, 20, OCLORA_TYPE_Q4_1},
    [6] = {32, 22, OCLORA_TYPE_Q5_0},    [7] = {32, 24, OCLORA_TYPE_Q5_1},
    [8] = {32, 34, OCLORA_TYPE_Q8_0},    [9] = {32, 36, OCLORA_TYPE_COUNT},
    [10] = {256, 84, OCLORA_TYPE_COUNT}, [11] = {256, 110, OCLORA_TYPE_COUNT},
    [12] = {256, 144, OCLORA_TYPE_Q4_K}, [13] = {256, 176, OCLORA_TYPE_Q5_K},
    [14] = {256, 210, OCLORA_TYPE_Q6_K}, [15] = {256, 292, OCLORA_TYPE_COUNT},
    [16] = {256, 66, OCLORA_TYPE_COUNT}, [17] = {256, 74, OCLORA_TYPE_COUNT},
    [18] = {256, 98, OCLORA_TYPE_COUNT}, [19] = {256, 50, OCLORA_TYPE_COUNT},
    [20] = {32, 18, OCLORA_TYPE_COUNT},  [21] = {256, 110, OCLORA_TYPE_COUNT},
    [22] = {256, 82, OCLORA_TYPE_COUNT}, [23] = {256, 136, OCLORA_TYPE_COUNT},
    [24] = {1, 1, OCLORA_TYPE_I8},       [25] = {1, 2, OCLORA_TYPE_I16},
    [26] = {1, 4, OCLORA_TYPE_I32},      [27] = {1, 8, OCLORA_TYPE_I64},
    [28] = {1, 8, OCLORA_TYPE_F64},      [29] = {256, 56, OCLORA_TYPE_COUNT},
    [30] = {1, 2, OCLORA_TYPE_BF16},     [34] = {256, 54, OCLORA_TYPE_COUNT},
    [35] = {256, 66, OCLORA_TYPE_COUNT}, [39] = {32, 17, OCLORA_TYPE_COUNT},
    [40] = {64, 36, OCLORA_TYPE_COUNT},
};

typedef struct oclora_gguf_key {
    const uint8_t *text; /* into the file, not terminated */
    uint64_t length;
    const uint8_t *value; /* at the value type */
} oclora_gguf_key;

struct oclora_gguf {
    oclora_env env;
    oclora_gguf_key *keys; /* sorted */
    size_t n_keys;
    oclora_file_tensor *tensors; /* in file order */
    size_t n_tensors;
    const oclora_file_tensor **sorted; /* by name */
    char *names;
};

/* What is left of the file. Reads past the end are reported once, by `cut`. */
typedef struct cursor {
    const uint8_t *at;
    uint64_t left;
    bool cut;
} cursor;

static const uint8_t *take(cursor *in, uint64_t size)
{
    if (in->cut || size > in->left) {
        in->cut = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += size;
    in->left -= size;
    return at;
}

static uint64_t little(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = size; i-- > 0;) value = value << 8 | bytes[i];
    return value;
}

static uint64_t take_number(cursor *in, unsigned size)
{
    const uint8_t *bytes = take(in, size);
    return bytes != NULL ? little(bytes, size) : 0;
}

static const uint8_t *take_string(cursor *in, uint64_t *length)
{
    *length = take_number(in, 8);
    return take(in, *length);
}

static oclora_status fail_cut(oclora_error *err, const char *where)
{
    return oclora_fail(err, OCLORA_FILE_TRUNCATED, "the GGUF file ends inside its %s", where);
}

static oclora_status skip_array(cursor *in, oclora_error *err)
{
    uint64_t type = take_number(in, 4), count = take_number(in, 8);
    if (in->cut) return fail_cut(err, "metadata");
    if (type == VALUE_STRING) {
        uint64_t length;
        for (uint64_t i = 0; i < count && !in->cut; i++) take_string(in, &length);
    } else if (type < VALUE_COUNT && value_size[type] != 0) {
        if (count > in->left / value_size[type]) in->cut = true;
        if (!in->cut) take(in, count * value_size[type]);
    } else {
        return oclora_fail(err, OCLORA_FILE_FORMAT, "GGUF metadata holds an array of type %llu",
                           (unsigned long long)type);
    }
    return in->cut ? fail_cut(err, "metadata") : OCLORA_OK;
}

static oclora_status read_key(cursor *in, oclora_gguf_key *key, oclora_error *err)
{
    key->text = take_string(in, &key->length);
    key->value = in->at;
    uint64_t type = take_number(in, 4), length;
    if (in->cut) return fail_cut(err, "metadata");
    if (key->length == 0 || type >= VALUE_COUNT)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "GGUF metadata: bad key or value type %llu",
                           (unsigned long long)type);
    if (type == VALUE_ARRAY) return skip_array(in, err);
    if (type == VALUE_STRING)
        take_string(in, &length);
    else
        take(in, value_size[type]);
    return in->cut ? fail_cut(err, "metadata") : OCLORA_OK;
}

static int compare_text(const void *a, uint64_t a_length, const void *b, uint64_t b_length)
{
    int order = memcmp(a, b, (size_t)(a_length < b_length ? a_length : b_length));
    if (order != 0) return order;
    return a_length < b_length ? -1 : a_length > b_length;
}

static int by_key(const void *a, const void *b)
{
    const oclora_gguf_key *x = a, *y = b;
    return compare_text(x->text, x->length, y->text, y->length);
}

/* Short entries take more memory here than bytes of the file. The largest models have some thousand
 * tensors and keys. */
static oclora_status check_modest(uint64_t bytes, uint64_t count, const char *what,
                                  oclora_error *err)
{
    if (bytes <= DIRECTORY_MAX) return OCLORA_OK;
    return oclora_fail(err, OCLORA_FILE_FORMAT, "the GGUF file has %llu %s: no model has so many",
                       (unsigned long long)count, what);
}

static oclora_status read_keys(oclora_gguf *file, cursor *in, uint64_t count, oclora_error *err)
{
    /* The shortest pair takes 14 bytes, so that no product below overflows. */
    if (count > in->left / 14) return fail_cut(err, "metadata");
    OCLORA_TRY(check_modest(count * sizeof *file->keys, count, "keys", err));
    file->keys = oclora_alloc(&file->env, (size_t)count, sizeof *file->keys);
    if (file->keys == NULL)
        return oclora_fail_memory(err, (size_t)count * sizeof *file->keys, "GGUF metadata");
    for (; file->n_keys < count; file->n_keys++)
        OCLORA_TRY(read_key(in, &file->keys[file->n_keys], err));
    qsort(file->keys, file->n_keys, sizeof *file->keys, by_key);
    for (size_t i = 1; i < file->n_keys; i++)
        if (by_key(&file->keys[i - 1], &file->keys[i]) == 0)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "GGUF metadata: key %.*s appears twice",
                               (int)(file->keys[i].length < 64 ? file->keys[i].length : 64),
                               (const char *)file->keys[i].text);
    return OCLORA_OK;
}

/* Reads dims (stored fastest first) and the byte size; `*known` is false for types of other ggml
 * versions, whose size nobody here can tell. */
static oclora_status read_shape(cursor *in, oclora_file_tensor *tensor, bool *known,
                                oclora_error *err)
{
    uint64_t n_dims = take_number(in, 4), elements = 1;
    if (in->cut) return fail_cut(err, "tensor directory");
    if (n_dims == 0 || n_dims > OCLORA_TENSOR_MAX_DIMS)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s has %llu dimensions", tensor->name,
                           (unsigned long long)n_dims);
    tensor->n_dims = (uint32_t)n_dims;
    for (uint32_t i = 0; i < tensor->n_dims; i++) {
        uint64_t size = take_number(in, 8);
        if (in->cut) return fail_cut(err, "tensor directory");
        if (size == 0 || elements > (UINT64_MAX >> 16) / size)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s: shape is empty or overflows",
                               tensor->name);
        tensor->dims[tensor->n_dims - 1 - i] = size;
        elements *= size;
    }
    uint64_t type = take_number(in, 4);
    *known = type < GGML_TYPE_LIMIT && ggml_types[type].elements != 0;
    tensor->type = *known ? ggml_types[type].type : (oclora_type)OCLORA_TYPE_COUNT;
    if (!*known) return OCLORA_OK;
    if (tensor->dims[tensor->n_dims - 1] % ggml_types[type].elements != 0)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s: rows are not whole blocks",
                           tensor->name);
    tensor->bytes = elements / ggml_types[type].elements * ggml_types[type].bytes;
    return OCLORA_OK;
}

static oclora_status read_tensor(cursor *in, oclora_file_tensor *tensor, char **name,
                                 uint64_t *offset, oclora_error *err)
{
    uint64_t length;
    const uint8_t *text = take_string(in, &length);
    if (in->cut) return fail_cut(err, "tensor directory");
    if (length == 0 || memchr(text, 0, (size_t)length) != NULL)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "a GGUF tensor has an empty or binary name");
    memcpy(*name, text, (size_t)length);
    tensor->name = *name;
    *name += length + 1;
    bool known;
    OCLORA_TRY(read_shape(in, tensor, &known, err));
    *offset = take_number(in, 8);
    return in->cut ? fail_cut(err, "tensor directory") : OCLORA_OK;
}

static int by_name(const void *a, const void *b)
{
    const oclora_file_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static oclora_status sort_names(oclora_gguf *file, oclora_error *err)
{
    for (size_t i = 0; i < file->n_tensors; i++) file->sorted[i] = &file->tensors[i];
    qsort(file->sorted, file->n_tensors, sizeof *file->sorted, by_name);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (strcmp(file->sorted[i - 1]->name, file->sorted[i]->name) == 0)
            return oclora_fail(err, OCLORA_FILE_FORMAT, "tensor %s appears twice",
                               file->sorted[i]->name);
    return OCLORA_OK;
}

/* Offsets must rise: that excludes overlaps without another sort. */
static oclora_status place_tensor(oclora_file_tensor *tensor, uint64_t offset, uint64_t alignment,
                                  const cursor *data, uint64_t *end, oclora_error *err)
{
    if (offset % alignment != 0 || offset < *end)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "tensor %s: data offset %llu is unaligned or overlaps", tensor->name,
                           (unsigned long long)offset);
    if (offset > data->left || tensor->bytes > data->left - offset)
        return oclora_fail(err, OCLORA_FILE_TRUNCATED,
                           "tensor %s ends beyond the file (offset %llu, %llu bytes of %llu)",
                           tensor->name, (unsigned long long)offset,
                           (unsigned long long)tensor->bytes, (unsigned long long)data->left);
    *end = offset + tensor->bytes;
    if (tensor->type != OCLORA_TYPE_COUNT) tensor->data = data->at + offset;
    return OCLORA_OK;
}

static oclora_status read_tensors(oclora_gguf *file, cursor *in, uint64_t count, uint64_t alignment,
                                  const oclora_map *map, oclora_error *err)
{
    /* The shortest entry takes 33 bytes. Names are copied out of what lies before the data. */
    if (count > in->left / 33) return fail_cut(err, "tensor directory");
    cursor scan = *in;
    uint64_t names = 0, length, offset = 0, end = 0;
    for (uint64_t i = 0; i < count && !scan.cut; i++) {
        take_string(&scan, &length);
        names += length + 1;
        uint64_t n_dims = take_number(&scan, 4);
        take(&scan, n_dims <= OCLORA_TENSOR_MAX_DIMS ? n_dims * 8 + 12 : 0);
    }
    if (scan.cut) return fail_cut(err, "tensor directory");
    OCLORA_TRY(check_modest(count * (sizeof *file->tensors + sizeof *file->sorted) + names, count,
                            "tensors", err));
    file->tensors = oclora_alloc(&file->env, (size_t)count, sizeof *file->tensors);
    file->sorted = oclora_alloc(&file->env, (size_t)count, sizeof *file->sorted);
    file->names = oclora_alloc(&file->env, (size_t)names, 1);
    if (file->tensors == NULL || file->sorted == NULL || file->names == NULL)
        return oclora_fail_memory(err, (size_t)count * sizeof *file->tensors, "GGUF directory");

    uint64_t start = (uint64_t)(scan.at - map->data);
    start += (alignment - start % alignment) % alignment;
    cursor data = {map->data, 0, false};
    if (start <= map->size) {
        data.at = map->data + start;
        data.left = map->size - start;
    }
    char *name = file->names;
    for (; file->n_tensors < count; file->n_tensors++) {
        oclora_file_tensor *tensor = &file->tensors[file->n_tensors];
        OCLORA_TRY(read_tensor(in, tensor, &name, &offset, err));
        OCLORA_TRY(place_tensor(tensor, offset, alignment, &data, &end, err));
    }
    return sort_names(file, err);
}

static oclora_status parse(oclora_gguf *file, const oclora_map *map, oclora_error *err)
{
    cursor in = {map->data, map->size, false};
    const uint8_t *magic = take(&in, 4);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "not a GGUF file");
    uint64_t version = take_number(&in, 4);
    if (!in.cut && version != 2 && version != 3)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "GGUF version %llu (2 and 3, little endian, are read)",
                           (unsigned long long)version);
    uint64_t n_tensors = take_number(&in, 8), n_keys = take_number(&in, 8);
    if (in.cut) return fail_cut(err, "header");
    OCLORA_TRY(read_keys(file, &in, n_keys, err));
    uint64_t alignment = ALIGNMENT_DEFAULT;
    oclora_gguf_u64(file, "general.alignment", &alignment);
    if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > ALIGNMENT_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "GGUF alignment %llu is no power of two",
                           (unsigned long long)alignment);
    return read_tensors(file, &in, n_tensors, alignment, map, err);
}

oclora_status oclora_gguf_parse(oclora_gguf **out, const oclora_env *env, const oclora_map *map,
                                oclora_error *err)
{
    oclora_gguf *file = oclora_alloc(env, 1, sizeof *file);
    if (file == NULL) return oclora_fail_memory(err, sizeof *file, "GGUF file");
    file->env = *env;
    oclora_status status = parse(file, map, err);
    if (status != OCLORA_OK) {
        oclora_gguf_free(file);
        return status;
    }
    *out = file;
    return OCLORA_OK;
}

void oclora_gguf_free(oclora_gguf *file)
{
    if (file == NULL) return;
    oclora_env env = file->env;
    oclora_release(&env, file->keys);
    oclora_release(&env, file->tensors);
    oclora_release(&env, file->sorted);
    oclora_release(&env, file->names);
    oclora_release(&env, file);
}

size_t oclora_gguf_tensor_count(const oclora_gguf *file)
{
    return file->n_tensors;
}

const oclora_file_tensor *oclora_gguf_tensor(const oclora_gguf *file, size_t index)
{
    return index < file->n_tensors ? &file->tensors[index] : NULL;
}

const oclora_file_tensor *oclora_gguf_find(const oclora_gguf *file, const char *name)
{
    oclora_file_tensor wanted = {.name = name};
    const oclora_file_tensor *key = &wanted;
    const oclora_file_tensor **found =
        file->n_tensors != 0
            ? bsearch(&key, file->sorted, file->n_tensors, sizeof *file->sorted, by_name)
            : NULL;
    return found != NULL ? *found : NULL;
}

static const uint8_t *find_value(const oclora_gguf *file, const char *key, uint32_t *type)
{
    oclora_gguf_key wanted = {(const uint8_t *)key, strlen(key), NULL};
    const oclora_gguf_key *found =
        file->n_keys != 0 ? bsearch(&wanted, file->keys, file->n_keys, sizeof *file->keys, by_key)
                          : NULL;
    if (found == NULL) return NULL;
    *type = (uint32_t)little(found->value, 4);
    return found->value + 4;
}

bool oclora_gguf_has(const oclora_gguf *file, const char *key)
{
    uint32_t type;
    return find_value(file, key, &type) != NULL;
}

bool oclora_gguf_string(const oclora_gguf *file, const char *key, const char **text, size_t *length)
{
    uint32_t type;
    const uint8_t *value = find_value(file, key, &type);
    if (value == NULL || type != VALUE_STRING) return false;
    *length = (size_t)little(value, 8);
    *text = (const char *)value + 8;
    return true;
}

bool oclora_gguf_u64(const oclora_gguf *file, const char *key, uint64_t *value)
{
    uint32_t type;
    const uint8_t *bytes = find_value(file, key, &type);
    if (bytes == NULL) return false;
    bool is_signed =
        type == VALUE_I8 || type == VALUE_I16 || type == VALUE_I32 || type == VALUE_I64;
    bool is_unsigned =
        type == VALUE_U8 || type == VALUE_U16 || type == VALUE_U32 || type == VALUE_U64;
    if (!is_signed && !is_unsigned) return false;
    unsigned size = value_size[type];
    uint64_t number = little(bytes, size);
    if (is_signed && number >> (size * 8 - 1) != 0) return false; /* negative */
    *value = number;
    return true;
}

bool oclora_gguf_f32(const oclora_gguf *file, const char *key, float *value)
{
    uint32_t type;
    const uint8_t *bytes = find_value(file, key, &type);
    if (bytes == NULL || type != VALUE_F32) return false;
    uint32_t bits = (uint32_t)little(bytes, 4);
    memcpy(value, &bits, sizeof *value);
    return true;
}
