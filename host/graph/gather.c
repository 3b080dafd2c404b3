/* gather.c - the small index tensors of a graph, read back before it runs. */
#include "host/graph/runner_private.h"

enum { PARTS = 16, GAP = 16384 }; /* bytes between two parts that are worth reading along */

typedef struct part {
    const oclora_tensor *tensor;
    uint64_t bytes;
    uint64_t staging;
    uint32_t index; /* into the caller's list */
} part;

static bool lies_before(const part *a, const part *b)
{
    if (a->tensor->buffer != b->tensor->buffer)
        return (uintptr_t)a->tensor->buffer < (uintptr_t)b->tensor->buffer;
    return a->tensor->offset < b->tensor->offset;
}

static void sort_parts(part *parts, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        part moved = parts[i];
        uint32_t at = i;
        for (; at > 0 && lies_before(&moved, &parts[at - 1]); at--) parts[at] = parts[at - 1];
        parts[at] = moved;
    }
}

static oclora_status list_parts(const oclora_run *run, part *parts, uint32_t *count,
                                oclora_error *err)
{
    const oclora_row_plan *rows = &run->plan->rows;
    *count = rows->n_caches + rows->n_selections;
    for (uint32_t i = 0; i < *count; i++) {
        bool cache = i < rows->n_caches;
        int32_t number =
            cache ? rows->caches[i].index_tensor : rows->selections[i - rows->n_caches];
        const oclora_tensor *t = &run->graph->tensors[number].view;
        uint64_t width = cache ? 8 : 4;
        if ((t->buffer == NULL && t->ne[0] > 0) || (t->ne[0] > 1 && t->nb[0] != width))
            return oclora_fail(err, OCLORA_ROWS_UNKNOWN,
                               "the row indices in graph tensor %d are not plain device memory",
                               (int)number);
        parts[i] = (part){t, t->ne[0] * width, 0, i};
    }
    return OCLORA_OK;
}

/* One past the last part that is read together with parts[first]; *bytes gets the span. */
static uint32_t span_end(const part *parts, uint32_t count, uint32_t first, uint64_t *bytes)
{
    uint64_t start = parts[first].tensor->offset;
    uint64_t end = start + parts[first].bytes;
    uint32_t next = first + 1;
    for (; next < count && parts[next].tensor->buffer == parts[first].tensor->buffer; next++) {
        uint64_t offset = parts[next].tensor->offset;
        if (offset > end + GAP) break;
        if (offset + parts[next].bytes > end) end = offset + parts[next].bytes;
    }
    *bytes = end - start;
    return next;
}

static oclora_status read_spans(oclora_run *run, const part *parts, uint32_t count,
                                const void **out, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    uint64_t total = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i = span_end(parts, count, i, &bytes), total += bytes + 64) {
    }
    OCLORA_TRY(oclora_reserve(&runner->env, &runner->staging, &runner->staging_capacity,
                              (size_t)total + 64, 1, err));
    uint64_t at = 0;
    for (uint32_t i = 0; i < count;) {
        uint32_t end = span_end(parts, count, i, &bytes);
        uint64_t start = parts[i].tensor->offset;
        at += (8 - ((at - start) & 7u)) & 7u; /* parts keep the alignment they have on the device */
        if (bytes > 0)
            OCLORA_TRY(oclora_stream_read(runner->stream, parts[i].tensor->buffer, start,
                                          runner->staging + at, bytes, err));
        for (; i < end; i++)
            out[parts[i].index] = runner->staging + at + (parts[i].tensor->offset - start);
        at += bytes;
    }
    return OCLORA_OK;
}

oclora_status oclora_run_gather(oclora_run *run, const void **out, oclora_error *err)
{
    part parts[PARTS];
    uint32_t count = 0;
    OCLORA_TRY(list_parts(run, parts, &count, err));
    sort_parts(parts, count);
    return read_spans(run, parts, count, out, err);
}
