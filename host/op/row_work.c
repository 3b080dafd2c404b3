#include "host/op/row_work.h"

#include <string.h>

oclora_status oclora_row_work_create(oclora_row_work **out, oclora_stream *stream,
                                     oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    oclora_row_work *work = oclora_alloc(env, 1, sizeof *work);
    if (!work) return oclora_fail_memory(err, sizeof *work, "a work list on the device");
    work->env = *env;
    work->stream = stream;
    *out = work;
    return OCLORA_OK;
}

void oclora_row_work_destroy(oclora_row_work *work)
{
    if (!work) return;
    oclora_env env = work->env;
    oclora_buffer_destroy(work->buffer);
    oclora_release(&env, work->staging);
    oclora_release(&env, work);
}

/* Room for at least `bytes`, in powers of two so that growing batches seldom allocate. */
static oclora_status grow(oclora_row_work *work, uint64_t bytes, oclora_error *err)
{
    if (work->buffer && bytes <= oclora_buffer_bytes(work->buffer)) return OCLORA_OK;
    uint64_t room = 4096;
    while (room < bytes) room *= 2;
    oclora_buffer *buffer = NULL;
    OCLORA_TRY(
        oclora_reserve(&work->env, &work->staging, &work->staging_bytes, (size_t)room, 1, err));
    OCLORA_TRY(oclora_buffer_create(&buffer, oclora_stream_context(work->stream), room, err));
    if (work->buffer) {
        /* queued kernels may still read the old one */
        oclora_status status = oclora_stream_finish(work->stream, err);
        if (status != OCLORA_OK) {
            oclora_buffer_destroy(buffer);
            return status;
        }
        oclora_buffer_destroy(work->buffer);
    }
    work->buffer = buffer;
    return OCLORA_OK;
}

oclora_status oclora_row_work_update(oclora_row_work *work, const oclora_worklist *list,
                                     oclora_error *err)
{
    size_t chunks = list->n_chunks * sizeof *list->chunks;
    size_t rows = list->n_positions * sizeof *list->rows;
    size_t entries = list->n_entries * sizeof *list->entries;
    size_t weights = list->n_hidden * sizeof *list->weights;
    size_t bytes = chunks + rows + entries + weights;
    OCLORA_TRY(grow(work, bytes, err));
    if (bytes) {
        memcpy(work->staging, list->chunks, chunks);
        memcpy(work->staging + chunks, list->rows, rows);
        memcpy(work->staging + chunks + rows, list->entries, entries);
        memcpy(work->staging + chunks + rows + entries, list->weights, weights);
        OCLORA_TRY(oclora_stream_write(work->stream, work->buffer, 0, work->staging, bytes, err));
    }
    work->row_offset = chunks;
    work->entry_offset = chunks + rows;
    work->weight_offset = chunks + rows + entries;
    work->n_rows = list->n_rows;
    work->n_adapters = list->n_adapters;
    work->n_chunks = list->n_chunks;
    work->n_hidden = list->n_hidden;
    return OCLORA_OK;
}
