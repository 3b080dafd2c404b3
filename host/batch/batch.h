/* batch.h - which adapters serve each row, and the exact work list made of it. Pure C; no device.
 */
#ifndef OCLORA_BATCH_BATCH_H
#define OCLORA_BATCH_BATCH_H

#include "host/core/env.h"

/* CSR: row t has entries row_start[t] .. row_start[t+1]. `adapter` indexes the batch's own list of
 * adapters. A row without entries, or with weight 0 only, takes the base path bitwise. */
typedef struct oclora_batch {
    uint32_t n_rows;
    uint32_t n_adapters;
    const uint32_t *row_start; /* [n_rows + 1] */
    const uint32_t *adapter;   /* [row_start[n_rows]] < n_adapters */
    const float *weight;       /* [row_start[n_rows]] finite */
    /* [n_rows]: rows of one number are of one sequence; NULL: not known, and then no kind that
     * averages over a sequence can be served. */
    const uint32_t *instance;
} oclora_batch;

/* Rows sorted by their adapter tuple, then by instance, and cut into chunks of equal tuple.
 * Position p of the sorted order is row rows[p]. Hidden slot (chunk c, row i of it, entry e of it)
 * is number hidden_first + i * n_entries + e; weights[] is indexed by hidden slot. Layout shared
 * with cl/. */
typedef struct oclora_chunk {
    uint32_t row_first; /* into rows[] */
    uint32_t n_rows;
    uint32_t entry_first; /* into entries[]: adapter index of each entry */
    uint32_t n_entries;
    uint32_t hidden_first; /* into weights[] and the hidden buffer */
    uint32_t reserved[3];
} oclora_chunk;

/* The rows a position shares its instance and its tuple with, itself included: `count` positions,
 * whose hidden slots of entry e are hidden_first + i * n_entries + e, in row order. Shared with
 * cl/. */
typedef struct oclora_peers {
    uint32_t hidden_first;
    uint32_t count;
} oclora_peers;

typedef struct oclora_worklist {
    oclora_env env;
    uint32_t n_rows; /* of the batch */
    uint32_t n_adapters;
    uint32_t n_chunks;
    uint32_t n_positions; /* rows with at least one entry */
    uint32_t n_entries;
    uint32_t n_hidden;
    oclora_chunk *chunks;
    uint32_t *rows;
    uint32_t *entries;
    float *weights;
    /* [n_positions] or NULL: the rows of one instance and one tuple are neighbours. */
    oclora_peers *peers;
    void *storage;
} oclora_worklist;

/* Entries of weight 0 are dropped. Within a row, entries keep their order. `chunk_rows` >= 1 bounds
 * the rows of a chunk; rows of one tuple are cut into chunks of about one length. Errors:
 * INVALID_ARGUMENT (index out of range, row_start not monotone, weight not finite; names the row),
 * OUT_OF_HOST_MEMORY. */
oclora_status oclora_worklist_build(oclora_worklist *out, const oclora_env *env,
                                    const oclora_batch *batch, uint32_t chunk_rows,
                                    oclora_error *err);
void oclora_worklist_free(oclora_worklist *list); /* zeroed is allowed */

#endif
