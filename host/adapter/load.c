/* Files to images: which kind, which tensors belong to which module, then the kind's loader. */
#include "host/adapter/compact.h"
#include "host/adapter/load.h"
#include "host/core/breathe.h"
#include "host/adapter/loader.h"
#include "host/file/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_ROOM = 4096 };
static const char prefix[] = "base_model.model.";

/* Whether `name` ends with `pattern`, '#' matching a number; gives the module's length and the
 * number. */
static bool match_part(const char *name, const char *pattern, size_t *module_length,
                       uint32_t *index)
{
    const char *number = strchr(pattern, '#');
    const char *tail = number != NULL ? number + 1 : pattern;
    size_t length = strlen(name), tail_length = strlen(tail);
    if (length < tail_length || strcmp(name + length - tail_length, tail) != 0) return false;
    length -= tail_length;
    *index = 0;
    if (number != NULL) {
        size_t digits = 0;
        uint32_t value = 0, place = 1;
        while (digits < length && digits < 6 && name[length - 1 - digits] >= '0' &&
               name[length - 1 - digits] <= '9') {
            value += (uint32_t)(name[length - 1 - digits] - '0') * place;
            place *= 10;
            digits++;
        }
        size_t head = (size_t)(number - pattern);
        if (digits == 0 || length - digits < head) return false;
        length -= digits + head;
        if (memcmp(name + length, pattern, head) != 0) return false;
        *index = value;
    }
    *module_length = length;
    return length != 0;
}

static oclora_status sort_tensor(oclora_load *load, const oclora_file_tensor *tensor,
                                 oclora_part *part, bool *global, oclora_error *err)
{
    const char *const *patterns = load->loader->parts;
    for (uint32_t i = 0; i < OCLORA_PARTS_MAX && patterns[i] != NULL; i++) {
        if (strcmp(tensor->name, patterns[i]) == 0) {
            load->globals[i] = tensor;
            *global = true;
            return OCLORA_OK;
        }
    }
    *global = false;
    size_t skip = sizeof prefix - 1;
    if (strncmp(tensor->name, prefix, skip) != 0)
        return oclora_fail(err, OCLORA_MODULE_MISMATCH, "tensor %s does not begin with %s",
                           tensor->name, prefix);
    for (uint32_t i = 0; i < OCLORA_PARTS_MAX && patterns[i] != NULL; i++) {
        if (!match_part(tensor->name + skip, patterns[i], &part->module_length, &part->index))
            continue;
        part->module = tensor->name + skip;
        part->part = i;
        part->tensor = tensor;
        return OCLORA_OK;
    }
    return oclora_fail(err, OCLORA_MODULE_MISMATCH, "tensor %s is none that kind %s has",
                       tensor->name, load->loader->peft_type);
}

static int compare_modules(const oclora_part *x, const oclora_part *y)
{
    size_t shorter = x->module_length < y->module_length ? x->module_length : y->module_length;
    int order = memcmp(x->module, y->module, shorter);
    if (order != 0) return order;
    return x->module_length < y->module_length ? -1 : x->module_length > y->module_length;
}

static int by_module(const void *a, const void *b)
{
    const oclora_part *x = a, *y = b;
    int order = compare_modules(x, y);
    if (order != 0) return order;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static oclora_status load_group(oclora_load *load, const oclora_part *parts, size_t count,
                                size_t *capacity, oclora_error *err)
{
    oclora_module *module;
    OCLORA_TRY(oclora_image_add_module(load->image, capacity, parts->module, parts->module_length,
                                       &module, err));
    bool targeted = false;
    OCLORA_TRY(oclora_config_targets(&load->config, module->name, &targeted, err));
    if (!targeted)
        return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                           "module %s has tensors, target_modules of adapter_config.json does not "
                           "name it",
                           module->name);
    oclora_group group = {module->name, parts, count};
    return load->loader->module(load, &group, module, err);
}

static oclora_status check_covered(oclora_load *load, oclora_error *err)
{
    const oclora_adapter_image *image = load->image;
    const char **names = oclora_alloc(load->env, image->n_modules, sizeof *names);
    if (names == NULL) return oclora_fail_memory(err, image->n_modules * sizeof *names, "names");
    for (size_t i = 0; i < image->n_modules; i++) names[i] = image->modules[i].name;
    oclora_status status = oclora_config_covered(&load->config, names, image->n_modules, err);
    oclora_release(load->env, names);
    return status;
}

static oclora_status load_parts(oclora_load *load, oclora_part *parts, oclora_error *err)
{
    size_t count = 0, capacity = 0;
    for (size_t i = 0; i < load->file.count; i++) {
        bool global;
        OCLORA_TRY(sort_tensor(load, &load->file.tensors[i], &parts[count], &global, err));
        count += !global;
    }
    qsort(parts, count, sizeof *parts, by_module);
    for (size_t first = 0, last; first < count; first = last) {
        for (last = first + 1; last < count; last++) {
            if (compare_modules(&parts[first], &parts[last]) != 0) break;
            if (by_module(&parts[last - 1], &parts[last]) == 0)
                return oclora_fail(err, OCLORA_FILE_FORMAT, "tensors %s and %s mean the same",
                                   parts[last - 1].tensor->name, parts[last].tensor->name);
        }
        OCLORA_TRY(load_group(load, parts + first, last - first, &capacity, err));
        oclora_breathe();
    }
    OCLORA_TRY(oclora_image_finish(load->image, err));
    return check_covered(load, err);
}

/* bias: "none" is the only value that leaves the base's own biases alone. */
static oclora_status check_config(oclora_load *load, oclora_error *err)
{
    const char *bias = "none";
    OCLORA_TRY(oclora_config_text(&load->config, "bias", &bias, err));
    if (strcmp(bias, "none") != 0)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: bias is %.32s; trained base biases are not served",
                           bias);
    if (!oclora_config_empty(&load->config, "modules_to_save"))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "adapter_config.json: modules_to_save names whole layers, which an "
                           "adapter cannot replace");
    return load->loader->prepare != NULL ? load->loader->prepare(load, err) : OCLORA_OK;
}

static oclora_status load_tensors(oclora_load *load, const oclora_map *tensors, oclora_error *err)
{
    load->image->kind = load->loader->kind;
    OCLORA_TRY(check_config(load, err));
    oclora_status status = oclora_safetensors_parse(&load->file, load->env, tensors, err);
    if (status == OCLORA_OK && load->file.count == 0)
        status = oclora_fail(err, OCLORA_MISSING_TENSOR, "the file holds no tensors");
    oclora_part *parts = NULL;
    if (status == OCLORA_OK) {
        parts = oclora_alloc(load->env, load->file.count, sizeof *parts);
        if (parts == NULL) status = oclora_fail_memory(err, 0, "tensor list");
    }
    if (status == OCLORA_OK) status = load_parts(load, parts, err);
    oclora_release(load->env, parts);
    oclora_safetensors_free(&load->file);
    return status;
}

/* The content identity: both files and the task. Ends the job whatever `status` is. */
static oclora_status hash_image(oclora_adapter_image *image, const oclora_map *config,
                                oclora_hash_job *tensors, oclora_status status, oclora_error *err)
{
    struct {
        uint8_t config[32], tensors[32];
        uint32_t task, zero;
    } parts;
    bool hashed = oclora_hash_finish(tensors);
    if (status != OCLORA_OK) return status;
    memset(&parts, 0, sizeof parts);
    parts.task = image->task;
    memcpy(parts.tensors, tensors->digest, sizeof parts.tensors);
    if (!hashed || !oclora_sha256(config->data, config->size, parts.config) ||
        !oclora_sha256(&parts, sizeof parts, image->hash))
        return oclora_fail_memory(err, 0, "adapter hash");
    return OCLORA_OK;
}

static oclora_status fail_kind(oclora_error *err, const char *kind)
{
    return oclora_fail(err, OCLORA_UNKNOWN_KIND,
                       "adapter_config.json: peft_type %.64s is not known", kind);
}

/* One adapter from its two files; takes over the config. */
static oclora_status load_pair(oclora_adapter_image **out, const oclora_env *env,
                               oclora_config config, const oclora_map *text,
                               const oclora_map *tensors, uint32_t store, const char *task,
                               oclora_error *err)
{
    oclora_load load = {.env = env, .config = config, .store = store, .task_text = task};
    load.loader = oclora_kind_loader_find(config.peft_type);
    oclora_status status = load.loader != NULL ? OCLORA_OK : fail_kind(err, config.peft_type);
    if (status == OCLORA_OK) status = oclora_image_create(&load.image, env, err);
    oclora_hash_job job;
    oclora_hash_start(&job, tensors->data, tensors->size);
    if (status == OCLORA_OK) status = load_tensors(&load, tensors, err);
    if (status == OCLORA_OK && task != NULL && !load.has_tasks)
        status = oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                             "#task=%.32s given, but the adapter holds one task only", task);
    status = hash_image(load.image, text, &job, status, err);
    oclora_config_free(&load.config);
    if (status != OCLORA_OK) {
        oclora_adapter_image_destroy(load.image);
        return status;
    }
    *out = load.image;
    return OCLORA_OK;
}

oclora_status oclora_adapter_load_memory(oclora_adapter_image **out, const oclora_env *env,
                                         const char *config, size_t config_size,
                                         const void *tensors, size_t tensors_size, uint32_t store,
                                         oclora_error *err)
{
    oclora_config parsed = {0};
    OCLORA_TRY(oclora_config_parse(&parsed, config, config_size, err));
    oclora_map text = {(const uint8_t *)config, config_size, NULL};
    oclora_map data = {tensors, tensors_size, NULL};
    return load_pair(out, env, parsed, &text, &data, store, NULL, err);
}

static oclora_status join_path(char *out, const char *folder, const char *name, oclora_error *err)
{
    int length = snprintf(out, PATH_ROOM, "%s/%s", folder, name);
    if (length < 0 || length >= PATH_ROOM)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the path %.64s... is too long", folder);
    return OCLORA_OK;
}

static oclora_status load_folder(oclora_adapter_image **out, const oclora_env *env,
                                 const char *folder, uint32_t store, const char *task, int depth,
                                 oclora_error *err);

/* A member of a set is a folder with one adapter. It takes the set's kind and the member's place.
 */
static oclora_status load_set(oclora_adapter_image **out, const oclora_env *env, const char *folder,
                              const oclora_config *config, uint32_t store, const char *task,
                              bool *is_set, oclora_error *err)
{
    const char *member;
    uint32_t n_members, index;
    oclora_kind kind;
    char path[PATH_ROOM];
    OCLORA_TRY(oclora_set_member(config, task, is_set, &kind, &member, &n_members, &index, err));
    if (!*is_set) return OCLORA_OK;
    OCLORA_TRY(join_path(path, folder, member, err));
    OCLORA_TRY(load_folder(out, env, path, store, NULL, 1, err));
    (*out)->kind = kind;
    (*out)->n_tasks = n_members;
    (*out)->task = index;
    return OCLORA_OK;
}

static oclora_status load_mapped(oclora_adapter_image **out, const oclora_env *env,
                                 const char *folder, const oclora_map *text, uint32_t store,
                                 const char *task, int depth, oclora_error *err)
{
    oclora_config config = {0};
    char path[PATH_ROOM];
    bool is_set = false;
    OCLORA_TRY(oclora_config_parse(&config, (const char *)text->data, (size_t)text->size, err));
    oclora_status status =
        depth == 0 ? load_set(out, env, folder, &config, store, task, &is_set, err) : OCLORA_OK;
    if (status == OCLORA_OK && !is_set && oclora_kind_loader_find(config.peft_type) == NULL)
        status = fail_kind(err, config.peft_type);
    if (status == OCLORA_OK && !is_set)
        status = join_path(path, folder, "adapter_model.safetensors", err);
    oclora_map tensors = {0};
    if (status == OCLORA_OK && !is_set) status = oclora_map_open(&tensors, path, err);
    if (status != OCLORA_OK || is_set) {
        oclora_config_free(&config);
        return status;
    }
    status = load_pair(out, env, config, text, &tensors, store, task, err);
    oclora_map_close(&tensors);
    return status;
}

static oclora_status load_folder(oclora_adapter_image **out, const oclora_env *env,
                                 const char *folder, uint32_t store, const char *task, int depth,
                                 oclora_error *err)
{
    char path[PATH_ROOM];
    oclora_map text = {0};
    OCLORA_TRY(join_path(path, folder, "adapter_config.json", err));
    OCLORA_TRY(oclora_map_open(&text, path, err));
    oclora_status status = load_mapped(out, env, folder, &text, store, task, depth, err);
    oclora_map_close(&text);
    return status;
}

static oclora_status load_file(oclora_adapter_image **out, const oclora_env *env, const char *path,
                               uint32_t store, oclora_error *err)
{
    oclora_map map = {0};
    oclora_adapter_image *image = NULL;
    OCLORA_TRY(oclora_map_open(&map, path, err));
    oclora_hash_job job;
    oclora_map no_config = {0};
    oclora_hash_start(&job, map.data, map.size);
    oclora_status status = oclora_image_create(&image, env, err);
    const bool compact = oclora_is_safetensors(&map);
    if (status == OCLORA_OK)
        status = compact ? oclora_load_compact(image, &map, err)
                         : oclora_load_gguf(image, &map, store, err);
    status = hash_image(image, &no_config, &job, status, err);
    if (status == OCLORA_OK && compact && store != OCLORA_STORE_AUTO)
        status = oclora_adapter_narrow(image, store, err);
    oclora_map_close(&map);
    if (status != OCLORA_OK) {
        oclora_adapter_image_destroy(image);
        return status;
    }
    *out = image;
    return OCLORA_OK;
}

oclora_status oclora_adapter_load(oclora_adapter_image **out, const oclora_env *env,
                                  const char *path, uint32_t store, oclora_error *err)
{
    static const char mark[] = "#task=";
    char place[PATH_ROOM];
    struct stat info;
    const char *task = strstr(path, mark);
    size_t length = task != NULL ? (size_t)(task - path) : strlen(path);
    if (length >= sizeof place)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the path %.64s... is too long", path);
    if (store > OCLORA_STORE_Q8_0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "storage %u is none of OCLORA_STORE_*",
                           (unsigned)store);
    memcpy(place, path, length);
    place[length] = '\0';
    if (stat(place, &info) != 0)
        return oclora_fail(err, OCLORA_FILE_NOT_FOUND, "adapter %s does not exist",
                           oclora_path_shown(place));
    if (task != NULL) task += sizeof mark - 1;
    oclora_status status =
        S_ISDIR(info.st_mode) ? load_folder(out, env, place, store, task, 0, err)
        : task != NULL        ? oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                                            "a GGUF or compact file holds one adapter, without #task")
                              : load_file(out, env, place, store, err);
    return status == OCLORA_OK
               ? status
               : oclora_error_prefix(err, status, "adapter %s", oclora_path_shown(place));
}
