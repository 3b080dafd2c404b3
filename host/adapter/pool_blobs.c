#include "host/adapter/pool_blobs.h"

#include <string.h>

void oclora_blob_table_free(oclora_blob_table *table)
{
    if (table->buckets != NULL) oclora_release(&table->env, table->buckets);
    table->buckets = NULL;
    table->n_buckets = 0;
    table->n_blobs = 0;
}

static oclora_device_blob **bucket_of(const oclora_blob_table *table, uint64_t key)
{
    return &table->buckets[key & (table->n_buckets - 1)];
}

oclora_device_blob *oclora_blob_find(const oclora_blob_table *table, const oclora_pool_part *part)
{
    if (table->n_buckets == 0) return NULL;
    for (oclora_device_blob *blob = *bucket_of(table, part->key); blob != NULL; blob = blob->next) {
        const oclora_pool_part *user = blob->users;
        if (user->key == part->key && user->bytes == part->bytes &&
            memcmp(user->host, part->host, (size_t)part->bytes) == 0)
            return blob;
    }
    return NULL;
}

static oclora_status table_grow(oclora_blob_table *table, oclora_error *err)
{
    if (table->n_blobs < table->n_buckets) return OCLORA_OK;
    const size_t count = table->n_buckets == 0 ? 256 : table->n_buckets * 2;
    oclora_device_blob **buckets = oclora_alloc(&table->env, count, sizeof *buckets);
    if (buckets == NULL)
        return oclora_fail_memory(err, count * sizeof *buckets, "the pool's table of contents");
    for (size_t i = 0; i < table->n_buckets; i++) {
        oclora_device_blob *blob = table->buckets[i];
        while (blob != NULL) {
            oclora_device_blob *next = blob->next;
            oclora_device_blob **to = &buckets[blob->users->key & (count - 1)];
            blob->next = *to;
            *to = blob;
            blob = next;
        }
    }
    oclora_release(&table->env, table->buckets);
    table->buckets = buckets;
    table->n_buckets = count;
    return OCLORA_OK;
}

oclora_status oclora_blob_add(oclora_blob_table *table, oclora_pool_part *part, uint64_t offset,
                              oclora_error *err)
{
    OCLORA_TRY(table_grow(table, err));
    oclora_device_blob *blob = oclora_alloc(&table->env, 1, sizeof *blob);
    if (blob == NULL) return oclora_fail_memory(err, sizeof *blob, "a block of the adapter pool");
    oclora_device_blob **bucket = bucket_of(table, part->key);
    blob->offset = offset;
    blob->next = *bucket;
    *bucket = blob;
    table->n_blobs++;
    oclora_blob_attach(blob, part);
    return OCLORA_OK;
}

void oclora_blob_attach(oclora_device_blob *blob, oclora_pool_part *part)
{
    part->blob = blob;
    part->previous = NULL;
    part->next = blob->users;
    if (blob->users != NULL) blob->users->previous = part;
    blob->users = part;
}

bool oclora_blob_detach(oclora_blob_table *table, oclora_pool_part *part, uint64_t *offset)
{
    oclora_device_blob *blob = part->blob;
    if (blob == NULL) return false;
    if (part->next != NULL) part->next->previous = part->previous;
    if (part->previous != NULL)
        part->previous->next = part->next;
    else
        blob->users = part->next;
    part->blob = NULL;
    part->next = NULL;
    part->previous = NULL;
    if (blob->users != NULL) return false;

    oclora_device_blob **link = bucket_of(table, part->key);
    while (*link != blob) link = &(*link)->next;
    *link = blob->next;
    table->n_blobs--;
    *offset = blob->offset;
    oclora_release(&table->env, blob);
    return true;
}
