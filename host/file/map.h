/* map.h - a whole file, read-only, by mmap. */
#ifndef OCLORA_FILE_MAP_H
#define OCLORA_FILE_MAP_H

#include "host/core/env.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct oclora_map {
    const uint8_t *data; /* NULL for an empty file */
    uint64_t size;
    void *base; /* owned; NULL when the bytes belong to the caller */
} oclora_map;

/* The end of a path for a text, in which a long one would leave no room for what is wrong. */
const char *oclora_path_shown(const char *path);

/* Errors: FILE_NOT_FOUND, FILE_READ (not a regular file, or mmap failed). */
oclora_status oclora_map_open(oclora_map *out, const char *path, oclora_error *err);
void oclora_map_close(oclora_map *map); /* zeroed maps are allowed */

/* SHA-256 of `size` bytes. False, with an all-zero digest, when the library could not get memory:
 * such a digest must not be compared. */
bool oclora_sha256(const void *data, uint64_t size, uint8_t digest[32]);

#endif
