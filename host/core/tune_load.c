/* tune_load.c - a device's values: the table, its record in the cache folder, the environment. */
#include "host/core/cache.h"
#include "host/core/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char heading[] = "oclora-tuning 1\n";
static const char *const class_names[] = {NULL, "cpu", "gpu"};
_Static_assert(sizeof class_names / sizeof class_names[0] == OCLORA_CLASS_GPU + 1, "classes");

enum { TEXT_MAX = 4096 };

/* A decimal number of at most nine digits that ends at `end`. */
static bool read_value(const char *text, const char *end, uint32_t *out)
{
    uint32_t value = 0;
    if (text == end || end - text > 9) return false;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9') return false;
        value = value * 10 + (uint32_t)(*text - '0');
    }
    *out = value;
    return true;
}

static uint32_t class_of(const char *name, size_t length)
{
    for (uint32_t i = OCLORA_CLASS_CPU; i <= OCLORA_CLASS_GPU; i++)
        if (strlen(class_names[i]) == length && !memcmp(class_names[i], name, length)) return i;
    return OCLORA_CLASS_AUTO;
}

/* A line "CLASS NAME VALUE" without its end. */
static bool read_line(oclora_tune_record *record, const char *line, const char *end)
{
    const char *name = memchr(line, ' ', (size_t)(end - line));
    const char *number = name ? memchr(name + 1, ' ', (size_t)(end - name - 1)) : NULL;
    uint32_t value = 0;
    if (!number || !read_value(number + 1, end, &value)) return false;
    const uint32_t device_class = class_of(line, (size_t)(name - line));
    const uint32_t param = oclora_tune_of_name(name + 1, (size_t)(number - name - 1));
    if (!oclora_tune_valid(device_class, param, value) || record->values[device_class][param])
        return false;
    record->values[device_class][param] = value;
    return true;
}

bool oclora_tune_record_parse(oclora_tune_record *out, const char *text, size_t length)
{
    const size_t head = sizeof heading - 1;
    memset(out, 0, sizeof *out);
    if (length < head || length > TEXT_MAX || memcmp(text, heading, head)) return false;
    const char *end = text + length;
    for (const char *line = text + head; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop || !read_line(out, line, stop)) {
            memset(out, 0, sizeof *out);
            return false;
        }
        line = stop + 1;
    }
    return true;
}

size_t oclora_tune_record_print(const oclora_tune_record *record, char *text, size_t capacity)
{
    size_t used = (size_t)snprintf(text, capacity, "%s", heading);
    for (uint32_t c = OCLORA_CLASS_CPU; c <= OCLORA_CLASS_GPU; c++)
        for (uint32_t i = 0; i < OCLORA_TUNE_COUNT && used < capacity; i++)
            if (record->values[c][i])
                used += (size_t)snprintf(text + used, capacity - used, "%s %s %u\n", class_names[c],
                                         oclora_tune_infos[i].name, (unsigned)record->values[c][i]);
    return used < capacity ? used : capacity;
}

/* Another version's kernels may be fastest otherwise. */
static bool record_key(const oclora_device *device, oclora_cache_key *out)
{
    char processor[TEXT_MAX];
    oclora_cache_processor(processor, sizeof processor);
    const char *const parts[] = {"tuning",       OCLORA_VERSION, device->platform, device->name,
                                 device->vendor, device->driver, processor};
    return oclora_cache_key_make(out, parts, sizeof parts / sizeof parts[0]);
}

oclora_tune_result oclora_tune_record_load(oclora_tune_record *out, const oclora_env *env,
                                           const char *dir, const oclora_device *device)
{
    oclora_cache_key key;
    void *data = NULL;
    size_t size = 0;
    memset(out, 0, sizeof *out);
    if (!dir || !record_key(device, &key)) return OCLORA_TUNE_NONE;
    const oclora_cache_result found = oclora_cache_load(env, dir, &key, &data, &size);
    if (found == OCLORA_CACHE_MISS) return OCLORA_TUNE_NONE;
    const bool whole = found == OCLORA_CACHE_HIT && oclora_tune_record_parse(out, data, size);
    oclora_release(env, data);
    return whole ? OCLORA_TUNE_READ : OCLORA_TUNE_REFUSED;
}

bool oclora_tune_record_store(const oclora_tune_record *record, const oclora_env *env,
                              const char *dir, const oclora_device *device)
{
    char text[TEXT_MAX];
    oclora_cache_key key;
    const size_t length = oclora_tune_record_print(record, text, sizeof text);
    return dir && length < sizeof text && record_key(device, &key) &&
           oclora_cache_store(env, dir, &key, text, length);
}

/* OCLORA_TUNE: nothing is taken from a list with anything wrong in it. */
static bool read_list(const char *list, uint32_t device_class, oclora_tuning *out)
{
    oclora_tuning read = *out;
    for (const char *at = list; *at;) {
        const char *end = at + strcspn(at, ",");
        const char *equal = memchr(at, '=', (size_t)(end - at));
        uint32_t value = 0;
        if (!equal || !read_value(equal + 1, end, &value)) return false;
        const uint32_t param = oclora_tune_of_name(at, (size_t)(equal - at));
        if (!oclora_tune_valid(device_class, param, value)) return false;
        read.values[param] = value;
        read.sources[param] = OCLORA_TUNE_FROM_ENVIRONMENT;
        at = *end ? end + 1 : end;
    }
    *out = read;
    return true;
}

static void take_record(oclora_tuning *out, const oclora_env *env, const char *dir,
                        const oclora_device *device, uint32_t device_class)
{
    oclora_tune_record record;
    if (oclora_tune_record_load(&record, env, dir, device) == OCLORA_TUNE_REFUSED)
        oclora_log(env, OCLORA_LOG_WARN,
                   "the tuning record of '%s' in %s is damaged or not of this library and is not "
                   "used; oclora-tune writes another",
                   device->name, dir);
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        if (record.values[device_class][i]) {
            out->values[i] = record.values[device_class][i];
            out->sources[i] = OCLORA_TUNE_FROM_CACHE;
        }
}

void oclora_tuning_load(oclora_tuning *out, const oclora_env *env, const char *dir,
                        const oclora_device *device, uint32_t device_class)
{
    const char *list = getenv("OCLORA_TUNE");
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        const oclora_tune_row *row = oclora_tune_find(oclora_tune_rows, device, device_class, i);
        if (row) out->values[i] = row->value;
    }
    if (list && !strcmp(list, "off")) return;
    take_record(out, env, dir, device, device_class);
    if (list && !read_list(list, device_class, out))
        oclora_log(env, OCLORA_LOG_WARN,
                   "OCLORA_TUNE='%.120s' is not used: it wants NAME=VALUE,... of parameters of the "
                   "device's class (oclora-tune --list)",
                   list);
}
