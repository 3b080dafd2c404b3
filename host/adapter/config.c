#include "host/adapter/config.h"
#include "host/adapter/pattern.h"
#include "host/adapter/terms.h"
#include "host/file/json.h"

#include <math.h>
#include <string.h>

enum { CONFIG_MAX = 1 << 20 };

oclora_status oclora_config_parse(oclora_config *out, const char *text, size_t size,
                                  oclora_error *err)
{
    if (size > CONFIG_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "adapter_config.json has %zu bytes, at most %d "
                           "are read",
                           size, CONFIG_MAX);
    if (!oclora_json_is_modest(text, size, size))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "adapter_config.json is too dense to be a configuration");
    json_error_t problem;
    json_t *root = json_loadb(text != NULL ? text : "", size, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL) return oclora_fail_json(err, &problem, "adapter_config.json");
    const char *peft_type = json_string_value(json_object_get(root, "peft_type"));
    if (peft_type == NULL) {
        json_decref(root);
        return oclora_fail(err, OCLORA_FILE_FORMAT, "adapter_config.json has no peft_type");
    }
    out->root = root;
    out->peft_type = peft_type;
    return OCLORA_OK;
}

void oclora_config_free(oclora_config *config)
{
    json_decref(config->root);
    memset(config, 0, sizeof *config);
}

static const json_t *get(const oclora_config *config, const char *key)
{
    const json_t *value = json_object_get(config->root, key);
    return json_is_null(value) ? NULL : value;
}

static oclora_status fail_type(oclora_error *err, const char *key, const char *what)
{
    return oclora_fail(err, OCLORA_FILE_FORMAT, "adapter_config.json: %s is not %s", key, what);
}

oclora_status oclora_config_bool(const oclora_config *config, const char *key, bool *value,
                                 oclora_error *err)
{
    const json_t *item = get(config, key);
    if (item == NULL) return OCLORA_OK;
    if (!json_is_boolean(item)) return fail_type(err, key, "true or false");
    *value = json_is_true(item);
    return OCLORA_OK;
}

static oclora_status read_number(const json_t *item, const char *key, double *value,
                                 oclora_error *err)
{
    if (!json_is_number(item) || !isfinite(json_number_value(item)))
        return fail_type(err, key, "a number");
    *value = json_number_value(item);
    return OCLORA_OK;
}

oclora_status oclora_config_number(const oclora_config *config, const char *key, double *value,
                                   oclora_error *err)
{
    const json_t *item = get(config, key);
    return item == NULL ? OCLORA_OK : read_number(item, key, value, err);
}

oclora_status oclora_config_text(const oclora_config *config, const char *key, const char **value,
                                 oclora_error *err)
{
    const json_t *item = get(config, key);
    if (item == NULL) return OCLORA_OK;
    if (!json_is_string(item)) return fail_type(err, key, "a string");
    *value = json_string_value(item);
    return OCLORA_OK;
}

bool oclora_config_empty(const oclora_config *config, const char *key)
{
    const json_t *item = get(config, key);
    return item == NULL || json_is_false(item) ||
           (json_is_object(item) && json_object_size(item) == 0) ||
           (json_is_array(item) && json_array_size(item) == 0) ||
           (json_is_string(item) && json_string_length(item) == 0);
}

oclora_status oclora_config_item(const oclora_config *config, const char *key, size_t index,
                                 double *value, oclora_error *err)
{
    const json_t *item = get(config, key);
    if (item == NULL) return OCLORA_OK;
    if (!json_is_array(item)) return read_number(item, key, value, err);
    if (index >= json_array_size(item))
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "adapter_config.json: %s has %zu entries, the tensors have number %zu",
                           key, json_array_size(item), index);
    return read_number(json_array_get(item, index), key, value, err);
}

/* The value of the first key that matches, in file order as PEFT walks it. */
static oclora_status match_pattern(const oclora_config *config, const char *field,
                                   const char *module, double *value, oclora_error *err)
{
    const json_t *patterns = get(config, field);
    if (patterns == NULL) return OCLORA_OK;
    if (!json_is_object(patterns)) return fail_type(err, field, "an object");
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)patterns, key, item)
    {
        bool matches = false;
        OCLORA_TRY(oclora_pattern_match(key, OCLORA_PATTERN_KEY, module, &matches, err));
        if (matches) return read_number(item, field, value, err);
    }
    return OCLORA_OK;
}

oclora_status oclora_config_rank(const oclora_config *config, const char *module, uint32_t *r,
                                 double *alpha, oclora_error *err)
{
    double rank = 8.0, scale = 8.0; /* PEFT's defaults */
    OCLORA_TRY(oclora_config_number(config, "r", &rank, err));
    OCLORA_TRY(oclora_config_number(config, "lora_alpha", &scale, err));
    OCLORA_TRY(match_pattern(config, "rank_pattern", module, &rank, err));
    OCLORA_TRY(match_pattern(config, "alpha_pattern", module, &scale, err));
    if (!(rank >= 1.0 && rank <= OCLORA_RANK_MAX) || rank != floor(rank))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s: rank %g is not in 1..%d", module,
                           rank, OCLORA_RANK_MAX);
    *r = (uint32_t)rank;
    *alpha = scale;
    return OCLORA_OK;
}

bool oclora_module_has_suffix(const char *module, const char *suffix)
{
    size_t length = strlen(module), tail = strlen(suffix);
    if (tail > length || strcmp(module + length - tail, suffix) != 0) return false;
    return tail == length || module[length - tail - 1] == '.';
}

/* PEFT's rule for target_modules and exclude_modules: a string is an expression for the whole name,
 * a list holds names or suffixes. */
static oclora_status names_module(const json_t *names, const char *field, const char *module,
                                  bool *named, oclora_error *err)
{
    if (json_is_string(names))
        return oclora_pattern_match(json_string_value(names), OCLORA_PATTERN_WHOLE, module, named,
                                    err);
    if (!json_is_array(names)) return fail_type(err, field, "a list or a string");
    for (size_t i = 0; i < json_array_size(names) && !*named; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name == NULL) return fail_type(err, field, "a list of strings");
        *named = oclora_module_has_suffix(module, name);
    }
    return OCLORA_OK;
}

/* The number behind the last ".layers." or the like; -1 if the name has none. */
static long layer_of(const char *module)
{
    for (const char *at = module; at != NULL; at = strchr(at, '.')) {
        if (*at == '.') at++;
        if (*at < '0' || *at > '9') continue;
        long value = 0;
        const char *digit = at;
        while (*digit >= '0' && *digit <= '9' && value < 1000000)
            value = value * 10 + *digit++ - '0';
        if (*digit == '.' || *digit == '\0') return value;
    }
    return -1;
}

static oclora_status in_layers(const oclora_config *config, const char *module, bool *inside,
                               oclora_error *err)
{
    const json_t *layers = get(config, "layers_to_transform");
    *inside = layers == NULL;
    if (layers == NULL) return OCLORA_OK;
    if (json_is_integer(layers)) {
        *inside = json_integer_value(layers) == layer_of(module);
        return OCLORA_OK;
    }
    if (!json_is_array(layers)) return fail_type(err, "layers_to_transform", "a list or a number");
    for (size_t i = 0; i < json_array_size(layers); i++)
        *inside |= json_integer_value(json_array_get(layers, i)) == layer_of(module);
    return OCLORA_OK;
}

oclora_status oclora_config_targets(const oclora_config *config, const char *module, bool *targeted,
                                    oclora_error *err)
{
    const json_t *targets = get(config, "target_modules");
    const json_t *excluded = get(config, "exclude_modules");
    bool named = targets == NULL, out = false, inside = true;
    const char *text = json_string_value(targets);
    if (text != NULL && strcmp(text, "all-linear") == 0)
        named = true;
    else if (targets != NULL)
        OCLORA_TRY(names_module(targets, "target_modules", module, &named, err));
    if (named && excluded != NULL)
        OCLORA_TRY(names_module(excluded, "exclude_modules", module, &out, err));
    OCLORA_TRY(in_layers(config, module, &inside, err));
    *targeted = named && !out && inside;
    return OCLORA_OK;
}

static bool any_has_suffix(const char *const *modules, size_t count, const char *suffix)
{
    for (size_t i = 0; i < count; i++)
        if (oclora_module_has_suffix(modules[i], suffix)) return true;
    return false;
}

static bool any_has_layer(const char *const *modules, size_t count, json_int_t layer)
{
    for (size_t i = 0; i < count; i++)
        if (layer_of(modules[i]) == layer) return true;
    return false;
}

oclora_status oclora_config_covered(const oclora_config *config, const char *const *modules,
                                    size_t count, oclora_error *err)
{
    const json_t *targets = get(config, "target_modules");
    for (size_t i = 0; i < json_array_size(targets); i++) {
        const char *name = json_string_value(json_array_get(targets, i));
        if (name != NULL && !any_has_suffix(modules, count, name))
            return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                               "target module %s of adapter_config.json has no tensors", name);
    }
    const json_t *layers = get(config, "layers_to_transform");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        json_int_t layer = json_integer_value(json_array_get(layers, i));
        if (!any_has_layer(modules, count, layer))
            return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                               "layer %lld of adapter_config.json has no tensors",
                               (long long)layer);
    }
    return OCLORA_OK;
}
