/* Folders that hold a set of ordinary adapters: BORA, DLP_LORA, XLORA_STATIC. Weights come from the
 * host (a weighted mixture of the members); each member is loaded on its own. */
#include "host/adapter/loader.h"

#include <stdlib.h>
#include <string.h>

static oclora_kind set_kind(const char *peft_type)
{
    if (strcmp(peft_type, "BORA") == 0) return OCLORA_KIND_BORA;
    if (strcmp(peft_type, "DLP_LORA") == 0) return OCLORA_KIND_DLP_LORA;
    if (strcmp(peft_type, "XLORA_STATIC") == 0) return OCLORA_KIND_XLORA_STATIC;
    return OCLORA_KIND_UNKNOWN;
}

/* A member must lie directly in the set's folder. */
static bool is_plain_name(const char *name)
{
    return name != NULL && name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* The member's place: its number or its name; the list's length when there is none. */
static size_t find_member(const json_t *list, const char *task)
{
    size_t count = json_array_size(list);
    char *end;
    if (task == NULL) return count;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name != NULL && strcmp(name, task) == 0) return i;
    }
    unsigned long number = strtoul(task, &end, 10);
    bool numeric = *task >= '0' && *task <= '9' && *end == '\0';
    return numeric && number < count ? (size_t)number : count;
}

oclora_status oclora_set_member(const oclora_config *config, const char *task_text, bool *is_set,
                                oclora_kind *kind, const char **member, uint32_t *n_members,
                                uint32_t *task, oclora_error *err)
{
    *kind = set_kind(config->peft_type);
    *is_set = *kind != OCLORA_KIND_UNKNOWN;
    if (!*is_set) return OCLORA_OK;
    const json_t *list = json_object_get(config->root, "adapters");
    size_t count = json_array_size(list), index = find_member(list, task_text);
    if (count == 0 || count > UINT32_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "adapter_config.json: %s lists no adapters",
                           config->peft_type);
    const char *name = json_string_value(json_array_get(list, index));
    if (index == count && *kind == OCLORA_KIND_BORA) /* an unknown task gets the mean */
        name = json_string_value(json_object_get(config->root, "base_adapter"));
    else if (index == count)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%s is a set of %zu adapters: choose one with #task=0 to #task=%zu (or "
                           "its name) behind the path, and mix them by weights",
                           config->peft_type, count, count - 1);
    if (!is_plain_name(name))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "adapter_config.json: a member of the set is not a plain folder name");
    *member = name;
    *n_members = (uint32_t)count;
    *task = (uint32_t)index;
    return OCLORA_OK;
}
