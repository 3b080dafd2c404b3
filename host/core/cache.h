/* cache.h - a folder of small files named by a SHA-256 key. Never an error: what cannot be read,
 * written or trusted is as if it were not there. No OpenCL here. */
#ifndef OCLORA_CORE_CACHE_H
#define OCLORA_CORE_CACHE_H

#include "host/core/env.h"

#include <stdbool.h>

enum { OCLORA_CACHE_FORMAT = 1 };

typedef struct oclora_cache_key {
    unsigned char bytes[32];
} oclora_cache_key;

/* The key of a list of strings; each is delimited, so {"ab", "c"} and {"a", "bc"} differ. The
 * format version is part of it. @return false if no digest could be made. */
bool oclora_cache_key_make(oclora_cache_key *out, const char *const *parts, size_t n_parts);

/* What tells this machine's processor from another of the same name: its list of features. For keys
 * of native code, which a shared home folder may carry to an older machine. "" if unknown. */
void oclora_cache_processor(char *text, size_t capacity);

/* The folder to use for `option` (see oclora_context_options.cache_dir), in memory of `env`; NULL =
 * no cache. Nothing is created yet. */
char *oclora_cache_dir(const oclora_env *env, const char *option);

typedef enum { OCLORA_CACHE_MISS, OCLORA_CACHE_HIT, OCLORA_CACHE_REJECTED } oclora_cache_result;

/* On a hit `*data` (released by the caller) and `*size` are set; otherwise untouched. REJECTED: a
 * file of that name exists but is truncated, corrupt or of another key. */
oclora_cache_result oclora_cache_load(const oclora_env *env, const char *dir,
                                      const oclora_cache_key *key, void **data, size_t *size);

/* Creates the folder (mode 0700) if needed; replaces the file atomically. @return true if stored. */
bool oclora_cache_store(const oclora_env *env, const char *dir, const oclora_cache_key *key,
                        const void *data, size_t size);

/* Writes the file's path to `path`. @return false if it does not fit. */
bool oclora_cache_path(const char *dir, const oclora_cache_key *key, char *path, size_t capacity);

#endif
