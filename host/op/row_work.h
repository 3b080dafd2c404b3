/* row_work.h - inside of the device's work list. */
#ifndef OCLORA_OP_ROW_WORK_H
#define OCLORA_OP_ROW_WORK_H

#include "host/op/linear.h"

/* One buffer: chunks, rows, entries, weights, at these byte offsets. */
struct oclora_row_work {
    oclora_env env;
    oclora_stream *stream;
    oclora_buffer *buffer;
    unsigned char *staging;
    size_t staging_bytes;
    uint64_t row_offset;
    uint64_t entry_offset;
    uint64_t weight_offset;
    uint32_t n_rows;
    uint32_t n_adapters;
    uint32_t n_chunks;
    uint32_t n_hidden;
};

#endif
