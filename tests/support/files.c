#include "support/files.h"
#include "support/harness.h"

#include "host/adapter/number.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEEDS = 300, SEED_MAX = 1 << 16 };

void oclora_bytes_add(oclora_bytes *bytes, const void *data, size_t size)
{
    /* Room for the next power of two: some files here are put together from a million pieces. */
    size_t had = bytes->data != NULL ? 64 : 0, room = 64;
    while (had != 0 && had <= bytes->size) had *= 2;
    while (room <= bytes->size + size) room *= 2;
    uint8_t *grown = room > had ? realloc(bytes->data, room) : bytes->data;
    if (grown == NULL) abort();
    if (size != 0) memcpy(grown + bytes->size, data, size);
    bytes->data = grown;
    bytes->size += size;
}

void oclora_bytes_number(oclora_bytes *bytes, uint64_t value, size_t size)
{
    uint8_t raw[8];
    for (size_t i = 0; i < 8; i++) raw[i] = (uint8_t)(value >> (8 * i));
    oclora_bytes_add(bytes, raw, size);
}

void oclora_bytes_free(oclora_bytes *bytes)
{
    free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}

oclora_bytes oclora_make_raw_safetensors(const char *header, size_t data_size)
{
    oclora_bytes out = {NULL, 0};
    oclora_bytes_number(&out, strlen(header), 8);
    oclora_bytes_add(&out, header, strlen(header));
    for (size_t i = 0; i < data_size; i++) oclora_bytes_number(&out, 0, 1);
    return out;
}

typedef struct description {
    char name[256];
    uint64_t dims[8];
    size_t n_dims;
    char type[8];
    const char *spoil;
} description;

static const char *parse_one(const char *at, description *out)
{
    memset(out, 0, sizeof *out);
    size_t length = strcspn(at, ":");
    snprintf(out->name, sizeof out->name, "%s%.*s", *at == '/' ? "" : "base_model.model.",
             (int)(*at == '/' ? length - 1 : length), *at == '/' ? at + 1 : at);
    at += length + (at[length] == ':');
    while (*at >= '0' && *at <= '9') {
        char *end;
        out->dims[out->n_dims++] = strtoull(at, &end, 10);
        at = end + (*end == 'x');
    }
    strcpy(out->type, "f32");
    if (*at == '@') {
        length = strcspn(at + 1, " !");
        memcpy(out->type, at + 1, length);
        out->type[length] = '\0';
        at += 1 + length;
    }
    out->spoil = *at == '!' ? at + 1 : NULL;
    at += strcspn(at, " ");
    return at + strspn(at, " ");
}

static void add_value(oclora_bytes *data, const char *type, float value)
{
    uint32_t bits;
    double wide = (double)value;
    uint64_t wide_bits;
    memcpy(&bits, &value, sizeof bits);
    memcpy(&wide_bits, &wide, sizeof wide_bits);
    if (strcmp(type, "f16") == 0)
        oclora_bytes_number(data, oclora_f32_to_f16(value), 2);
    else if (strcmp(type, "bf16") == 0)
        oclora_bytes_number(data, oclora_f32_to_bf16(value), 2);
    else if (strcmp(type, "f64") == 0)
        oclora_bytes_number(data, wide_bits, 8);
    else
        oclora_bytes_number(data, bits, 4);
}

static void add_values(oclora_bytes *data, const description *tensor)
{
    uint64_t count = 1;
    for (size_t i = 0; i < tensor->n_dims; i++) count *= tensor->dims[i];
    const char *spoil = tensor->spoil;
    unsigned long long at = count;
    if (spoil != NULL && strchr(spoil, '=') != NULL)
        at = strtoull(strchr(spoil, '=') + 1, NULL, 10);
    for (uint64_t i = 0; i < count; i++) {
        float value = oclora_test_uniform();
        if (spoil != NULL && strncmp(spoil, "zero", 4) == 0) value = 0.0f;
        if (i == at) value = *spoil == 'n' ? NAN : *spoil == 'i' ? -INFINITY : 1e9f;
        add_value(data, tensor->type, value);
    }
}

oclora_bytes oclora_make_safetensors(const char *text)
{
    oclora_bytes header = {NULL, 0}, data = {NULL, 0}, out = {NULL, 0};
    char entry[512];
    oclora_bytes_add(&header, "{", 1);
    while (*text != '\0') {
        description tensor;
        text = parse_one(text, &tensor);
        size_t begin = data.size;
        add_values(&data, &tensor);
        char type[8] = {0}, shape[128] = "";
        for (size_t i = 0; tensor.type[i] != '\0'; i++)
            type[i] = (char)(tensor.type[i] >= 'a' ? tensor.type[i] - 32 : tensor.type[i]);
        for (size_t i = 0; i < tensor.n_dims; i++)
            snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%llu", i ? "," : "",
                     (unsigned long long)tensor.dims[i]);
        int length =
            snprintf(entry, sizeof entry,
                     "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                     header.size > 1 ? "," : "", tensor.name, type, shape, begin, data.size);
        oclora_bytes_add(&header, entry, (size_t)length);
    }
    oclora_bytes_add(&header, "}", 1);
    oclora_bytes_number(&out, header.size, 8);
    oclora_bytes_add(&out, header.data, header.size);
    oclora_bytes_add(&out, data.data, data.size);
    oclora_bytes_free(&header);
    oclora_bytes_free(&data);
    return out;
}

static void add_string(oclora_bytes *bytes, const char *text)
{
    oclora_bytes_number(bytes, strlen(text), 8);
    oclora_bytes_add(bytes, text, strlen(text));
}

void oclora_gguf_add_number(oclora_gguf_maker *maker, const char *key, uint32_t type, uint64_t bits,
                            size_t size)
{
    add_string(&maker->keys, key);
    oclora_bytes_number(&maker->keys, type, 4);
    oclora_bytes_number(&maker->keys, bits, size);
    maker->n_keys++;
}

void oclora_gguf_add_f32(oclora_gguf_maker *maker, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    oclora_gguf_add_number(maker, key, 6, bits, 4);
}

void oclora_gguf_add_text(oclora_gguf_maker *maker, const char *key, const char *text)
{
    add_string(&maker->keys, key);
    oclora_bytes_number(&maker->keys, 8, 4);
    add_string(&maker->keys, text);
    maker->n_keys++;
}

void oclora_gguf_add_entry(oclora_gguf_maker *maker, const char *name, uint32_t n_dims,
                           const uint64_t *fastest_first, uint32_t type, uint64_t offset)
{
    add_string(&maker->tensors, name);
    oclora_bytes_number(&maker->tensors, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) oclora_bytes_number(&maker->tensors, fastest_first[i], 8);
    oclora_bytes_number(&maker->tensors, type, 4);
    oclora_bytes_number(&maker->tensors, offset, 8);
    maker->n_tensors++;
}

void oclora_gguf_add_matrix(oclora_gguf_maker *maker, const char *name, uint64_t rows,
                            uint64_t cols)
{
    uint64_t dims[2] = {cols, rows};
    while (maker->data.size % 32 != 0) oclora_bytes_number(&maker->data, 0, 1);
    oclora_gguf_add_entry(maker, name, 2, dims, 0, maker->data.size);
    for (uint64_t i = 0; i < rows * cols; i++)
        add_value(&maker->data, "f32", oclora_test_uniform());
}

oclora_bytes oclora_gguf_make(oclora_gguf_maker *maker)
{
    oclora_bytes out = {NULL, 0};
    oclora_bytes_add(&out, "GGUF", 4);
    oclora_bytes_number(&out, 3, 4);
    oclora_bytes_number(&out, maker->n_tensors, 8);
    oclora_bytes_number(&out, maker->n_keys, 8);
    oclora_bytes_add(&out, maker->keys.data, maker->keys.size);
    oclora_bytes_add(&out, maker->tensors.data, maker->tensors.size);
    while (maker->data.size != 0 && out.size % 32 != 0) oclora_bytes_number(&out, 0, 1);
    oclora_bytes_add(&out, maker->data.data, maker->data.size);
    oclora_bytes_free(&maker->keys);
    oclora_bytes_free(&maker->tensors);
    oclora_bytes_free(&maker->data);
    return out;
}

const char oclora_good_compact_head[] =
    "{\"version\":1,\"kind\":\"meteora\",\"naming\":\"peft\",\"task\":0,\"n_tasks\":1,"
    "\"factors\":[{\"type\":\"f32\",\"rows\":4,\"cols\":8},{\"type\":\"f32\",\"rows\":4,\"cols\":5}"
    ","
    "{\"type\":\"f32\",\"rows\":2,\"cols\":8}],\"modules\":[{\"name\":\"q\",\"d_in\":8,\"d_out\":5,"
    "\"rank\":4,\"group\":1,\"a\":0,\"b\":1,\"router\":{\"kind\":1,\"n_experts\":2,\"top_k\":1,"
    "\"gate\":2}}]}";
const char oclora_good_compact_tensors[] =
    "{\"factor.0\":{\"dtype\":\"F32\",\"shape\":[4,8],\"data_offsets\":[0,128]},"
    "\"factor.1\":{\"dtype\":\"F32\",\"shape\":[4,5],\"data_offsets\":[128,208]},"
    "\"pad.0\":{\"dtype\":\"U8\",\"shape\":[48],\"data_offsets\":[208,256]},"
    "\"factor.2\":{\"dtype\":\"F32\",\"shape\":[2,8],\"data_offsets\":[256,320]},"
    "\"vector.0.scale\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[320,336]},"
    "\"vector.0.router\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[336,344]}}";

size_t oclora_make_compact(uint8_t *file, const char *head, const char *tensors)
{
    json_t *root = json_loads(tensors, 0, NULL);
    json_object_set_new(root, "__metadata__", json_pack("{s:s}", "oclora_compact", head));
    const size_t length = json_dumpb(root, NULL, 0, JSON_COMPACT),
                 padded = (8 + length + 63) / 64 * 64 - 8;
    memset(file, 0, 8);
    for (size_t i = 0; i < 4; i++) file[i] = (uint8_t)(padded >> (8 * i));
    memset(file + 8, ' ', padded);
    json_dumpb(root, (char *)file + 8, length, JSON_COMPACT);
    for (size_t i = 0; i < OCLORA_COMPACT_DATA / 4; i++) {
        const float half = 0.5f;
        memcpy(file + 8 + padded + 4 * i, &half, 4);
    }
    json_decref(root);
    return 8 + padded + OCLORA_COMPACT_DATA;
}

int oclora_write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) return 0;
    int written = fwrite(data, 1, size, file) == size;
    return fclose(file) == 0 && written;
}

void oclora_make_folder(char *out, size_t room, const char *name)
{
    snprintf(out, room, "%s/oclora-test-%ld-%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (long)getpid(), name);
    mkdir(out, 0700);
}

void oclora_keep_seed(const char *format, const void *config, size_t config_size, const void *data,
                      size_t size)
{
    const char *folder = getenv("OCLORA_TEST_SEEDS");
    static unsigned count;
    char path[512];
    oclora_bytes all = {NULL, 0};
    if (folder == NULL || count == SEEDS || config_size > 65535 || size > SEED_MAX) return;
    snprintf(path, sizeof path, "%s/%s", folder, format);
    mkdir(path, 0777);
    if (config != NULL) oclora_bytes_number(&all, config_size, 2);
    if (config != NULL) oclora_bytes_add(&all, config, config_size);
    oclora_bytes_add(&all, data, size);
    snprintf(path, sizeof path, "%s/%s/%ld-%u", folder, format, (long)getpid(), count++);
    if (!oclora_write_file(path, all.data, all.size)) fprintf(stderr, "no seed %s\n", path);
    oclora_bytes_free(&all);
}
