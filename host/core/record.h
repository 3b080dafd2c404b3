/* record.h - what clinfo-bench found on one device with one driver, kept in the cache folder under the
 * same identity as programs. Text; a line is "pass|fail CLASS NAME", CLASS being cpu, gpu (kernel files)
 * or probe (features) or device. No OpenCL here. */
#ifndef OCLORA_CORE_RECORD_H
#define OCLORA_CORE_RECORD_H

#include "host/core/cache.h"
#include "host/core/device.h"

typedef struct oclora_record_entry {
    char class_name[8];
    char name[56];
    bool passed;
} oclora_record_entry;

typedef struct oclora_record {
    oclora_env env;
    oclora_record_entry *entries;
    size_t count;
    size_t capacity;
} oclora_record;

/* Only platform, name, vendor and driver of `device` are looked at. */
bool oclora_record_key(const oclora_device *device, oclora_cache_key *out);

/* An empty record if there is none or it cannot be trusted. `dir` may be NULL. */
void oclora_record_load(oclora_record *out, const oclora_env *env, const char *dir,
                        const oclora_device *device);
/* Sets or overwrites one entry. Names longer than the fields are INVALID_ARGUMENT. */
oclora_status oclora_record_set(oclora_record *record, const char *class_name, const char *name,
                                bool passed, oclora_error *err);
/* @return 1 passed, 0 failed, -1 unknown. */
int oclora_record_find(const oclora_record *record, const char *class_name, const char *name);
/* @return true if stored. */
bool oclora_record_store(const oclora_record *record, const char *dir, const oclora_device *device);
void oclora_record_free(oclora_record *record); /* zeroed is allowed */

#endif
