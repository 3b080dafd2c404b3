/* pool_blobs.h - what lies in the pool's device memory: equal contents once, however many adapters
 * use them. Pure C; one thread. */
#ifndef OCLORA_ADAPTER_POOL_BLOBS_H
#define OCLORA_ADAPTER_POOL_BLOBS_H

#include "host/core/env.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct oclora_device_blob oclora_device_blob;

/* One adapter's claim to a piece of device memory with the contents of `host`. The host copy lives
 * as long as the adapter, so a blob's contents can always be compared with one of its users'. */
typedef struct oclora_pool_part {
    const void *host;
    uint64_t bytes;
    uint64_t key;             /* head of a hash */
    oclora_device_blob *blob; /* NULL: not on the device */
    struct oclora_pool_part *next;
    struct oclora_pool_part *previous;
} oclora_pool_part;

struct oclora_device_blob {
    uint64_t offset;
    oclora_pool_part *users;
    struct oclora_device_blob *next;
};

typedef struct oclora_blob_table {
    oclora_env env;
    oclora_device_blob **buckets;
    size_t n_buckets; /* power of two or 0 */
    size_t n_blobs;
} oclora_blob_table;

void oclora_blob_table_free(oclora_blob_table *table); /* all parts must be detached */

/* The blob with the part's contents, or NULL. The key finds, a comparison of the bytes confirms. */
oclora_device_blob *oclora_blob_find(const oclora_blob_table *table, const oclora_pool_part *part);

/* A new blob at `offset` with `part` as its only user. */
oclora_status oclora_blob_add(oclora_blob_table *table, oclora_pool_part *part, uint64_t offset,
                              oclora_error *err);
void oclora_blob_attach(oclora_device_blob *blob, oclora_pool_part *part);

/* Ends the part's use. true: nobody uses the blob now; it is gone and its memory, at `*offset`, is
 * the caller's to clear and give back. */
bool oclora_blob_detach(oclora_blob_table *table, oclora_pool_part *part, uint64_t *offset);

#endif
