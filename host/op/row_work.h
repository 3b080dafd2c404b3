/* row_work.h - inside of the device's work list. */
#ifndef OCLORA_OP_ROW_WORK_H
#define OCLORA_OP_ROW_WORK_H

#include "host/op/linear.h"

/* Rows of the base product that multiplicative adapters ask for: hidden slot s has rows first[s]
 * on. Depends on the work list and on the table's mul_max, and is made when first needed. */
typedef struct oclora_expansion {
    oclora_buffer *first; /* u32 [n_hidden] */
    uint32_t *staging;
    size_t capacity;
    uint64_t key; /* hash of mul_max; 0: out of date */
    uint32_t n_rows;
} oclora_expansion;

/* One buffer: chunks, rows, entries, weights, peers, at these byte offsets. */
struct oclora_row_work {
    oclora_env env;
    oclora_stream *stream;
    oclora_buffer *buffer;
    unsigned char *staging;
    size_t staging_bytes;
    uint64_t row_offset;
    uint64_t entry_offset;
    uint64_t weight_offset;
    uint64_t peer_offset; /* 0: not known */
    uint32_t n_rows;
    uint32_t n_adapters;
    uint32_t n_chunks;
    uint32_t n_positions;
    uint32_t n_hidden;
    oclora_expansion *expansion;
};

/* Brings the expansion up to date for `lanes`. `stream` must be the work's own. */
oclora_status oclora_row_work_expand(const oclora_row_work *work, const oclora_lane_table *lanes,
                                     oclora_error *err);

#endif
