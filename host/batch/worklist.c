#include "host/batch/batch.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The batch without entries of weight 0, rows in CSR. */
typedef struct kept {
    uint32_t *start; /* [n_rows + 1] */
    uint32_t *adapter;
    float *weight;
    uint32_t *order; /* rows with entries, sorted by tuple */
    uint32_t *spare; /* merge room, as long as order */
    uint32_t n_order;
    const uint32_t *instance; /* the batch's */
} kept;

static oclora_status check_row(const oclora_batch *batch, uint32_t row, oclora_error *err)
{
    uint32_t from = batch->row_start[row], to = batch->row_start[row + 1];
    if (to < from || to > batch->row_start[batch->n_rows])
        return oclora_fail(
            err, OCLORA_INVALID_ARGUMENT,
            "row %u of the batch ends at entry %u, before it starts (%u) or past the "
            "last",
            (unsigned)row, (unsigned)to, (unsigned)from);
    for (uint32_t e = from; e < to; e++) {
        if (batch->adapter[e] >= batch->n_adapters)
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "row %u names adapter %u of a batch with %u adapters", (unsigned)row,
                               (unsigned)batch->adapter[e], (unsigned)batch->n_adapters);
        if (!isfinite(batch->weight[e]))
            return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                               "row %u gives adapter %u a weight that is not finite", (unsigned)row,
                               (unsigned)batch->adapter[e]);
    }
    return OCLORA_OK;
}

static oclora_status keep_entries(kept *k, const oclora_batch *batch, oclora_error *err)
{
    uint32_t n = 0;
    k->n_order = 0;
    for (uint32_t row = 0; row < batch->n_rows; row++) {
        OCLORA_TRY(check_row(batch, row, err));
        k->start[row] = n;
        for (uint32_t e = batch->row_start[row]; e < batch->row_start[row + 1]; e++) {
            if (batch->weight[e] == 0.0f) continue;
            k->adapter[n] = batch->adapter[e];
            k->weight[n++] = batch->weight[e];
        }
        if (n > k->start[row]) k->order[k->n_order++] = row;
    }
    k->start[batch->n_rows] = n;
    return OCLORA_OK;
}

static int compare_rows(const kept *k, uint32_t a, uint32_t b)
{
    uint32_t na = k->start[a + 1] - k->start[a], nb = k->start[b + 1] - k->start[b];
    for (uint32_t i = 0; i < na && i < nb; i++) {
        uint32_t x = k->adapter[k->start[a] + i], y = k->adapter[k->start[b] + i];
        if (x != y) return x < y ? -1 : 1;
    }
    return na == nb ? 0 : na < nb ? -1 : 1;
}

static bool same_instance(const kept *k, uint32_t a, uint32_t b)
{
    return k->instance != NULL && k->instance[a] == k->instance[b] && !compare_rows(k, a, b);
}

static bool goes_first(const kept *k, uint32_t a, uint32_t b)
{
    const int order = compare_rows(k, a, b);
    if (order != 0 || k->instance == NULL) return order <= 0;
    return k->instance[a] <= k->instance[b];
}

/* Bottom-up merge sort: stable, so rows of one tuple and instance stay in row order. */
static void sort_rows(kept *k)
{
    for (uint32_t width = 1; width && width < k->n_order; width *= 2) {
        for (uint32_t at = 0; at < k->n_order;) {
            uint32_t left = k->n_order - at, half = left < width ? left : width;
            uint32_t full = left - half < width ? left : half + width;
            uint32_t i = at, j = at + half, end = at + full, middle = j;
            for (uint32_t out = at; out < end; out++) {
                bool first = j == end || (i < middle && goes_first(k, k->order[i], k->order[j]));
                k->spare[out] = first ? k->order[i++] : k->order[j++];
            }
            at = end;
        }
        uint32_t *swap = k->order;
        k->order = k->spare;
        k->spare = swap;
    }
}

/* How many rows from `position` on have its tuple. */
static uint32_t alike(const kept *k, uint32_t position)
{
    uint32_t n = 1;
    while (position + n < k->n_order &&
           !compare_rows(k, k->order[position], k->order[position + n]))
        n++;
    return n;
}

/* Where chunk c of `chunks` of `rows` rows ends: all about one length, in whole fours, which
 * kernels do at once, if chunk_rows is. */
static uint32_t chunk_end(uint32_t rows, uint32_t chunk_rows, uint32_t chunks, uint32_t c)
{
    const uint32_t unit = chunk_rows % 4 ? 1 : 4;
    const uint64_t units = ((uint64_t)rows + unit - 1) / unit;
    const uint64_t end = units * (c + 1) / chunks * unit;
    return end < rows ? (uint32_t)end : rows;
}

static void fill_chunk(oclora_worklist *list, const kept *k, uint32_t position, uint32_t n)
{
    uint32_t first = k->order[position];
    oclora_chunk *chunk = &list->chunks[list->n_chunks++];
    memset(chunk, 0, sizeof *chunk);
    chunk->row_first = position;
    chunk->n_rows = n;
    chunk->entry_first = list->n_entries;
    chunk->n_entries = k->start[first + 1] - k->start[first];
    chunk->hidden_first = list->n_hidden;
    memcpy(list->entries + list->n_entries, k->adapter + k->start[first],
           chunk->n_entries * sizeof *list->entries);
    list->n_entries += chunk->n_entries;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = k->order[position + i];
        list->rows[position + i] = row;
        memcpy(list->weights + list->n_hidden, k->weight + k->start[row],
               chunk->n_entries * sizeof *list->weights);
        list->n_hidden += chunk->n_entries;
    }
}

/* Rows of one tuple have their hidden slots one after the other, also across chunks. */
static void fill_peers(oclora_worklist *list, const kept *k)
{
    uint32_t hidden = 0;
    for (uint32_t at = 0, n = 1; at < k->n_order; at += n) {
        const uint32_t row = k->order[at];
        n = 1;
        while (at + n < k->n_order && same_instance(k, row, k->order[at + n])) n++;
        for (uint32_t i = 0; i < n; i++) list->peers[at + i] = (oclora_peers){hidden, n};
        hidden += n * (k->start[row + 1] - k->start[row]);
    }
}

/* One allocation for the list; entries and chunks are bounded by entries and rows of the batch. */
static oclora_status open_list(oclora_worklist *list, const kept *k, oclora_error *err)
{
    size_t rows = k->n_order, entries = rows ? k->start[list->n_rows] : 0;
    size_t peers = k->instance != NULL ? rows : 0;
    size_t bytes = rows * (sizeof *list->chunks + sizeof *list->rows) +
                   peers * sizeof *list->peers +
                   entries * (sizeof *list->entries + sizeof *list->weights);
    list->storage = oclora_alloc(&list->env, bytes, 1);
    if (!list->storage) return oclora_fail_memory(err, bytes, "the work list of a batch");
    list->chunks = list->storage;
    list->rows = (uint32_t *)(list->chunks + rows);
    list->entries = list->rows + rows;
    list->weights = (float *)(list->entries + entries);
    if (k->instance != NULL) list->peers = (oclora_peers *)(list->weights + entries);
    return OCLORA_OK;
}

oclora_status oclora_worklist_build(oclora_worklist *out, const oclora_env *env,
                                    const oclora_batch *batch, uint32_t chunk_rows,
                                    oclora_error *err)
{
    if (!chunk_rows || (batch->n_rows && batch->row_start[0] != 0))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "a batch's row_start begins at 0 and chunks have at least one row");
    size_t rows = batch->n_rows, entries = rows ? batch->row_start[rows] : 0;
    size_t bytes = (3 * rows + 1 + 2 * entries) * sizeof(uint32_t);
    uint32_t *room = oclora_alloc(env, bytes, 1);
    if (!room) return oclora_fail_memory(err, bytes, "sorting the rows of a batch");
    kept k = {room, room + rows + 1, NULL, NULL, NULL, 0, batch->instance};
    k.weight = (float *)(k.adapter + entries);
    k.order = k.adapter + 2 * entries;
    k.spare = k.order + rows;
    oclora_worklist list;
    memset(&list, 0, sizeof list);
    list.env = *env;
    list.n_rows = batch->n_rows;
    list.n_adapters = batch->n_adapters;
    oclora_status status = keep_entries(&k, batch, err);
    if (status == OCLORA_OK) status = open_list(&list, &k, err);
    if (status == OCLORA_OK) {
        sort_rows(&k);
        list.n_positions = k.n_order;
        for (uint32_t at = 0; at < k.n_order;) {
            const uint32_t n = alike(&k, at), chunks = (n - 1) / chunk_rows + 1;
            for (uint32_t c = 0, done = 0; c < chunks; c++) {
                const uint32_t to = chunk_end(n, chunk_rows, chunks, c);
                fill_chunk(&list, &k, at + done, to - done);
                done = to;
            }
            at += n;
        }
        if (list.peers != NULL) fill_peers(&list, &k);
        *out = list;
    }
    oclora_release(env, room);
    return status;
}

void oclora_worklist_free(oclora_worklist *list)
{
    oclora_release(&list->env, list->storage);
    memset(list, 0, sizeof *list);
}
