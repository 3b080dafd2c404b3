#include "host/core/record.h"

#include <stdio.h>
#include <string.h>

static const char heading[] = "oclora-selftest 1\n";

bool oclora_record_key(const oclora_device *device, oclora_cache_key *out)
{
    char processor[4096];
    oclora_cache_processor(processor, sizeof processor);
    const char *const parts[] = {"selftest",     device->platform, device->name,
                                 device->vendor, device->driver,   processor};
    return oclora_cache_key_make(out, parts, sizeof parts / sizeof parts[0]);
}

static void read_line(oclora_record *record, const char *line)
{
    char verdict[8], class_name[8], name[56];
    if (sscanf(line, "%7s %7s %55s", verdict, class_name, name) != 3) return;
    bool passed = !strcmp(verdict, "pass");
    if (passed || !strcmp(verdict, "fail"))
        (void)oclora_record_set(record, class_name, name, passed, NULL);
}

void oclora_record_load(oclora_record *out, const oclora_env *env, const char *dir,
                        const oclora_device *device)
{
    oclora_cache_key key;
    void *data = NULL;
    size_t size = 0;
    memset(out, 0, sizeof *out);
    out->env = *env;
    if (!dir || !oclora_record_key(device, &key) ||
        oclora_cache_load(env, dir, &key, &data, &size) != OCLORA_CACHE_HIT)
        return;
    char *text = oclora_string_copy(env, data, size);
    oclora_release(env, data);
    if (text && !strncmp(text, heading, sizeof heading - 1)) {
        for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
            *end = '\0';
            read_line(out, line);
        }
    }
    oclora_release(env, text);
}

static oclora_record_entry *find(const oclora_record *record, const char *class_name,
                                 const char *name)
{
    for (size_t i = 0; i < record->count; i++)
        if (!strcmp(record->entries[i].class_name, class_name) &&
            !strcmp(record->entries[i].name, name))
            return &record->entries[i];
    return NULL;
}

oclora_status oclora_record_set(oclora_record *record, const char *class_name, const char *name,
                                bool passed, oclora_error *err)
{
    oclora_record_entry *entry = find(record, class_name, name);
    if (strlen(class_name) >= sizeof entry->class_name || strlen(name) >= sizeof entry->name)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "'%.60s' of class '%.20s' is too long a name for a record", name,
                           class_name);
    if (!entry) {
        OCLORA_TRY(oclora_reserve(&record->env, &record->entries, &record->capacity,
                                  record->count + 1, sizeof *record->entries, err));
        entry = &record->entries[record->count++];
        snprintf(entry->class_name, sizeof entry->class_name, "%s", class_name);
        snprintf(entry->name, sizeof entry->name, "%s", name);
    }
    entry->passed = passed;
    return OCLORA_OK;
}

int oclora_record_find(const oclora_record *record, const char *class_name, const char *name)
{
    const oclora_record_entry *entry = find(record, class_name, name);
    return entry ? entry->passed : -1;
}

bool oclora_record_store(const oclora_record *record, const char *dir, const oclora_device *device)
{
    const size_t line = sizeof(oclora_record_entry) + 16;
    oclora_cache_key key;
    char *text = oclora_alloc(&record->env, record->count * line + sizeof heading, 1);
    if (!text || !dir || !oclora_record_key(device, &key)) {
        oclora_release(&record->env, text);
        return false;
    }
    size_t used = sizeof heading - 1;
    memcpy(text, heading, used);
    for (size_t i = 0; i < record->count; i++) {
        const oclora_record_entry *entry = &record->entries[i];
        used += (size_t)snprintf(text + used, line, "%s %s %s\n", entry->passed ? "pass" : "fail",
                                 entry->class_name, entry->name);
    }
    bool ok = oclora_cache_store(&record->env, dir, &key, text, used);
    oclora_release(&record->env, text);
    return ok;
}

void oclora_record_free(oclora_record *record)
{
    oclora_release(&record->env, record->entries);
    memset(record, 0, sizeof *record);
}
