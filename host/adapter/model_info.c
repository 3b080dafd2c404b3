#include "host/adapter/load.h"
#include "host/file/gguf.h"
#include "host/file/map.h"

#include <stdio.h>
#include <string.h>

static oclora_status fail_missing(oclora_error *err, const char *key)
{
    return oclora_fail(err, OCLORA_METADATA_MISSING, "the model has no usable metadata %s", key);
}

static oclora_status read_count(const oclora_gguf *file, const char *architecture,
                                const char *field, uint32_t *value, oclora_error *err)
{
    char key[128];
    uint64_t number;
    snprintf(key, sizeof key, "%s.%s", architecture, field);
    if (!oclora_gguf_u64(file, key, &number) || number == 0 || number > UINT32_MAX)
        return fail_missing(err, key);
    *value = (uint32_t)number;
    return OCLORA_OK;
}

static oclora_status read_info(oclora_model_info *out, const oclora_gguf *file, oclora_error *err)
{
    oclora_model_info info = {{0}, 0, 0, 0, 0, 0};
    const char *text;
    size_t length;
    if (!oclora_gguf_string(file, "general.architecture", &text, &length) || length == 0 ||
        length >= sizeof info.architecture)
        return fail_missing(err, "general.architecture");
    memcpy(info.architecture, text, length);
    OCLORA_TRY(read_count(file, info.architecture, "block_count", &info.n_layer, err));
    OCLORA_TRY(read_count(file, info.architecture, "embedding_length", &info.n_embd, err));
    OCLORA_TRY(read_count(file, info.architecture, "attention.head_count", &info.n_head, err));
    char key[128];
    snprintf(key, sizeof key, "%s.attention.head_count_kv", info.architecture);
    info.n_head_kv = info.n_head; /* the default of the format */
    if (oclora_gguf_has(file, key))
        OCLORA_TRY(
            read_count(file, info.architecture, "attention.head_count_kv", &info.n_head_kv, err));
    *out = info;
    return OCLORA_OK;
}

oclora_status oclora_model_info_read(oclora_model_info *out, const oclora_env *env,
                                     const char *path, oclora_error *err)
{
    oclora_map map = {0};
    oclora_gguf *file = NULL;
    oclora_status status = oclora_map_open(&map, path, err);
    if (status != OCLORA_OK) return oclora_error_prefix(err, status, "model");
    status = oclora_gguf_parse(&file, env, &map, err);
    if (status == OCLORA_OK) status = read_info(out, file, err);
    oclora_gguf_free(file);
    oclora_map_close(&map);
    return status == OCLORA_OK
               ? status
               : oclora_error_prefix(err, status, "model %s", oclora_path_shown(path));
}
