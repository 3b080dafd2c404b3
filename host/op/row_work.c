#include "host/op/row_work.h"

#include "host/op/lanes.h"

#include <string.h>

oclora_status oclora_row_work_create(oclora_row_work **out, oclora_stream *stream,
                                     oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    oclora_row_work *work = oclora_alloc(env, 1, sizeof *work);
    if (!work) return oclora_fail_memory(err, sizeof *work, "a work list on the device");
    work->env = *env;
    work->stream = stream;
    work->expansion = oclora_alloc(env, 1, sizeof *work->expansion);
    if (!work->expansion) {
        oclora_row_work_destroy(work);
        return oclora_fail_memory(err, sizeof *work->expansion, "a work list on the device");
    }
    *out = work;
    return OCLORA_OK;
}

void oclora_row_work_destroy(oclora_row_work *work)
{
    if (!work) return;
    oclora_env env = work->env;
    oclora_buffer_destroy(work->buffer);
    if (work->expansion) {
        oclora_buffer_destroy(work->expansion->first);
        oclora_release(&env, work->expansion->staging);
    }
    oclora_release(&env, work->expansion);
    oclora_release(&env, work->staging);
    oclora_release(&env, work);
}

void oclora_row_work_suspect(oclora_row_work *work)
{
    work->expansion->key = 0;
}

/* Makes `*buffer` hold at least `bytes`, in powers of two so that growing batches seldom allocate.
 */
static oclora_status grow(const oclora_row_work *work, oclora_buffer **buffer, uint64_t bytes,
                          oclora_error *err)
{
    if (*buffer && bytes <= oclora_buffer_bytes(*buffer)) return OCLORA_OK;
    uint64_t room = 4096;
    oclora_buffer *larger = NULL;
    while (room < bytes) room *= 2;
    OCLORA_TRY(oclora_buffer_create(&larger, oclora_stream_context(work->stream), room, err));
    if (*buffer) { /* queued kernels may still read the old one */
        oclora_status status = oclora_stream_finish(work->stream, err);
        if (status != OCLORA_OK) {
            oclora_buffer_destroy(larger);
            return status;
        }
        oclora_buffer_destroy(*buffer);
    }
    *buffer = larger;
    return OCLORA_OK;
}

oclora_status oclora_row_work_update(oclora_row_work *work, const oclora_worklist *list,
                                     oclora_error *err)
{
    size_t chunks = list->n_chunks * sizeof *list->chunks;
    size_t rows = list->n_positions * sizeof *list->rows;
    size_t entries = list->n_entries * sizeof *list->entries;
    size_t weights = list->n_hidden * sizeof *list->weights;
    size_t peers = list->peers != NULL ? list->n_positions * sizeof *list->peers : 0;
    size_t bytes = chunks + rows + entries + weights + peers;
    OCLORA_TRY(oclora_reserve(&work->env, &work->staging, &work->staging_bytes, bytes, 1, err));
    OCLORA_TRY(grow(work, &work->buffer, bytes, err));
    if (bytes) {
        memcpy(work->staging, list->chunks, chunks);
        memcpy(work->staging + chunks, list->rows, rows);
        memcpy(work->staging + chunks + rows, list->entries, entries);
        memcpy(work->staging + chunks + rows + entries, list->weights, weights);
        if (peers) memcpy(work->staging + bytes - peers, list->peers, peers);
        OCLORA_TRY(oclora_stream_write(work->stream, work->buffer, 0, work->staging, bytes, err));
    }
    work->row_offset = chunks;
    work->entry_offset = chunks + rows;
    work->weight_offset = chunks + rows + entries;
    work->peer_offset = peers ? bytes - peers : 0;
    work->n_rows = list->n_rows;
    work->n_adapters = list->n_adapters;
    work->n_chunks = list->n_chunks;
    work->n_positions = list->n_positions;
    work->n_hidden = list->n_hidden;
    work->expansion->key = 0;
    return OCLORA_OK;
}

static uint64_t expansion_key(const oclora_lane_table *lanes)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t k = 0; k < lanes->n_adapters; k++)
        hash = (hash ^ lanes->mul_max[k]) * 0x100000001b3u;
    return hash ? hash : 1;
}

static uint32_t number_rows(const oclora_row_work *work, const uint32_t *mul_max, uint32_t *first)
{
    const oclora_chunk *chunks = (const void *)work->staging;
    const uint32_t *entries = (const void *)(work->staging + work->entry_offset);
    uint32_t n = 0;
    for (uint32_t c = 0; c < work->n_chunks; c++)
        for (uint32_t i = 0; i < chunks[c].n_rows * chunks[c].n_entries; i++) {
            first[chunks[c].hidden_first + i] = n;
            n += mul_max[entries[chunks[c].entry_first + i % chunks[c].n_entries]];
        }
    return n;
}

oclora_status oclora_row_work_expand(const oclora_row_work *work, const oclora_lane_table *lanes,
                                     oclora_error *err)
{
    oclora_expansion *x = work->expansion;
    uint64_t key = expansion_key(lanes), bytes = (uint64_t)work->n_hidden * sizeof *x->staging;
    if (x->key == key) return OCLORA_OK;
    OCLORA_TRY(oclora_reserve(&work->env, &x->staging, &x->capacity, work->n_hidden,
                              sizeof *x->staging, err));
    OCLORA_TRY(grow(work, &x->first, bytes, err));
    x->n_rows = number_rows(work, lanes->mul_max, x->staging);
    OCLORA_TRY(oclora_stream_write(work->stream, x->first, 0, x->staging, bytes, err));
    x->key = key;
    return OCLORA_OK;
}
