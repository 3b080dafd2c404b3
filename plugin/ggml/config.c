#include "plugin/ggml/config.h"
#include "host/file/json.h"
#include "host/file/map.h"
#include "host/graph/session.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BAD(err, ...) oclora_fail(err, OCLORA_INVALID_ARGUMENT, "OCLORA_CONFIG: " __VA_ARGS__)

static oclora_status check_keys(json_t *object, const char *const *known, const char *where,
                                oclora_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool found = false;
        for (size_t i = 0; known[i] != NULL && !found; i++) found = strcmp(key, known[i]) == 0;
        if (!found) return BAD(err, "unknown key \"%s\" in %s", key, where);
    }
    return OCLORA_OK;
}

static oclora_status read_name(const oclora_ggml_config *config, json_t *value, const char *where,
                               const char **out, oclora_error *err)
{
    if (!json_is_string(value)) return BAD(err, "%s: a name is a string", where);
    for (size_t i = 0; i < config->n_adapters; i++) {
        if (strcmp(config->adapters[i].name, json_string_value(value)) != 0) continue;
        *out = config->adapters[i].name;
        return OCLORA_OK;
    }
    return BAD(err, "%s: \"adapters\" has no \"%s\"", where, json_string_value(value));
}

static oclora_status read_weighted(const oclora_ggml_config *config, json_t *value,
                                   const char *where, oclora_ggml_config_use *out,
                                   oclora_error *err)
{
    static const char *const known[] = {"name", "weight", NULL};
    if (!json_is_object(value)) return BAD(err, "%s: entries are {\"name\", \"weight\"}", where);
    OCLORA_TRY(check_keys(value, known, where, err));
    OCLORA_TRY(read_name(config, json_object_get(value, "name"), where, &out->name, err));
    json_t *weight = json_object_get(value, "weight");
    out->weight = 1.0f;
    if (weight == NULL) return OCLORA_OK;
    if (!json_is_number(weight) || !isfinite((float)json_number_value(weight)))
        return BAD(err, "%s: \"weight\" is a finite number", where);
    out->weight = (float)json_number_value(weight);
    return OCLORA_OK;
}

/* null, "name", or a list of weighted names. */
static oclora_status read_slot(oclora_ggml_config *config, json_t *value, const char *where,
                               oclora_ggml_config_slot *out, oclora_error *err)
{
    out->count = 0;
    if (json_is_null(value)) return OCLORA_OK;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count > OCLORA_MIXTURE_MAX)
        return BAD(err, "%s: %zu adapters in one mixture; at most %d", where, count,
                   OCLORA_MIXTURE_MAX);
    out->uses = oclora_alloc(&config->env, count, sizeof *out->uses);
    if (out->uses == NULL) return oclora_fail_memory(err, count * sizeof *out->uses, where);
    out->uses[0].weight = 1.0f;
    if (!json_is_array(value))
        OCLORA_TRY(read_name(config, value, where, &out->uses[0].name, err));
    else
        for (size_t i = 0; i < count; i++)
            OCLORA_TRY(read_weighted(config, json_array_get(value, i), where, &out->uses[i], err));
    out->count = (uint32_t)count;
    return OCLORA_OK;
}

static oclora_status read_adapters(oclora_ggml_config *config, json_t *object, oclora_error *err)
{
    if (object == NULL) return OCLORA_OK;
    if (!json_is_object(object)) return BAD(err, "\"adapters\" is an object of names and paths");
    size_t size = json_object_size(object);
    config->adapters = oclora_alloc(&config->env, size, sizeof *config->adapters);
    if (config->adapters == NULL)
        return oclora_fail_memory(err, size * sizeof *config->adapters, "OCLORA_CONFIG");
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (!json_is_string(value)) return BAD(err, "the path of adapter \"%s\" is a string", key);
        config->adapters[config->n_adapters++] =
            (oclora_ggml_config_adapter){key, json_string_value(value)};
    }
    return OCLORA_OK;
}

static oclora_status read_slots(oclora_ggml_config *config, json_t *object, oclora_error *err)
{
    if (object == NULL) return OCLORA_OK;
    if (!json_is_object(object)) return BAD(err, "\"slots\" is an object of slot numbers");
    size_t size = json_object_size(object);
    config->slots = oclora_alloc(&config->env, size, sizeof *config->slots);
    if (config->slots == NULL)
        return oclora_fail_memory(err, size * sizeof *config->slots, "OCLORA_CONFIG");
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char *end = NULL;
        errno = 0;
        unsigned long seq = strtoul(key, &end, 10);
        if (key[0] < '0' || key[0] > '9' || *end != '\0' || errno != 0 ||
            seq >= OCLORA_SEQUENCE_MAX)
            return BAD(err, "\"%s\" in \"slots\" is not a number below %d", key,
                       OCLORA_SEQUENCE_MAX);
        oclora_ggml_config_slot *slot = &config->slots[config->n_slots++];
        slot->seq = (uint32_t)seq;
        OCLORA_TRY(read_slot(config, value, key, slot, err));
    }
    return OCLORA_OK;
}

static oclora_status read_store(oclora_ggml_config *config, json_t *value, oclora_error *err)
{
    static const char *const names[] = {"auto", "f32", "f16", "q8_0"};
    if (value == NULL) return OCLORA_OK;
    for (uint32_t i = 0; i < 4 && json_is_string(value); i++) {
        if (strcmp(names[i], json_string_value(value)) != 0) continue;
        config->store = i;
        return OCLORA_OK;
    }
    return BAD(err, "\"store\" is one of auto, f32, f16, q8_0");
}

static oclora_status read_all(oclora_ggml_config *config, json_t *root, oclora_error *err)
{
    static const char *const known[] = {"model",    "pool_bytes", "store", "partial",
                                        "adapters", "slots",      "all",   NULL};
    if (!json_is_object(root)) return BAD(err, "not a JSON object");
    OCLORA_TRY(check_keys(root, known, "the top level", err));
    json_t *model = json_object_get(root, "model");
    if (model != NULL && !json_is_string(model)) return BAD(err, "\"model\" is a path");
    config->model = json_string_value(model);
    json_t *bytes = json_object_get(root, "pool_bytes");
    if (bytes != NULL && (!json_is_integer(bytes) || json_integer_value(bytes) <= 0))
        return BAD(err, "\"pool_bytes\" is a number of bytes above 0");
    config->pool_bytes = bytes != NULL ? (uint64_t)json_integer_value(bytes) : 0;
    json_t *partial = json_object_get(root, "partial");
    if (partial != NULL && !json_is_boolean(partial))
        return BAD(err, "\"partial\" is true or false");
    config->partial = json_is_true(partial);
    OCLORA_TRY(read_store(config, json_object_get(root, "store"), err));
    OCLORA_TRY(read_adapters(config, json_object_get(root, "adapters"), err));
    OCLORA_TRY(read_slots(config, json_object_get(root, "slots"), err));
    json_t *all = json_object_get(root, "all");
    if (all == NULL) return OCLORA_OK;
    if (config->n_slots > 0) return BAD(err, "\"slots\" and \"all\" exclude each other");
    config->has_all = true;
    return read_slot(config, all, "\"all\"", &config->all, err);
}

static oclora_status parse(json_t **out, const char *text, uint64_t size, oclora_error *err)
{
    json_error_t fault;
    if (!oclora_json_is_modest(text, size, size))
        return BAD(err, "larger than any configuration, or denser than one");
    *out = json_loadb(size != 0 ? text : "", (size_t)size, JSON_REJECT_DUPLICATES, &fault);
    if (*out != NULL) return OCLORA_OK;
    if (json_error_code(&fault) == json_error_out_of_memory)
        return oclora_fail_memory(err, (size_t)size, "OCLORA_CONFIG");
    return BAD(err, "not JSON: %s (line %d, column %d)", fault.text, fault.line, fault.column);
}

/* The JSON itself, or the file that has it. */
static oclora_status parse_any(json_t **out, const char *text, oclora_error *err)
{
    oclora_map map = {0};
    if (text[strspn(text, " \t\r\n")] == '{') return parse(out, text, strlen(text), err);
    oclora_status status = oclora_map_open(&map, text, err);
    if (status != OCLORA_OK) return oclora_error_prefix(err, status, "OCLORA_CONFIG");
    status = parse(out, (const char *)map.data, map.size, err);
    oclora_map_close(&map);
    return status;
}

oclora_status oclora_ggml_config_read(oclora_ggml_config **out, const oclora_env *env,
                                      const char *text, oclora_error *err)
{
    oclora_ggml_config *config = oclora_alloc(env, 1, sizeof *config);
    if (config == NULL) return oclora_fail_memory(err, sizeof *config, "OCLORA_CONFIG");
    config->env = *env;
    json_t *root = NULL;
    oclora_status status = parse_any(&root, text, err);
    config->json = root;
    if (status == OCLORA_OK) status = read_all(config, root, err);
    if (status != OCLORA_OK) {
        oclora_ggml_config_free(config);
        return status;
    }
    *out = config;
    return OCLORA_OK;
}

void oclora_ggml_config_free(oclora_ggml_config *config)
{
    if (config == NULL) return;
    const oclora_env env = config->env;
    for (size_t i = 0; i < config->n_slots; i++) oclora_release(&env, config->slots[i].uses);
    oclora_release(&env, config->slots);
    oclora_release(&env, config->all.uses);
    oclora_release(&env, config->adapters);
    json_decref(config->json);
    oclora_release(&env, config);
}
