/* lanes.h - inside of the lane table, and making one of plain lanes (tests do). */
#ifndef OCLORA_OP_LANES_H
#define OCLORA_OP_LANES_H

#include "host/op/linear.h"

/* What the adapters of a table need of one weight, all together. */
typedef struct oclora_lane_summary {
    uint32_t rank_max;
    uint32_t experts_max; /* rows of a router's gates */
    uint32_t flags;       /* OCLORA_LANES_*; 0: no adapter touches the weight */
} oclora_lane_summary;

enum {
    OCLORA_LANES_TOUCHED = 1u << 0,
    OCLORA_LANES_CORE = 1u << 1,
    OCLORA_LANES_MULTIPLY = 1u << 2,
    OCLORA_LANES_ROUTER = 1u << 3,
    OCLORA_LANES_LOW_RANK = 1u << 4, /* an adapter without n_mul has a rank */
    OCLORA_LANES_SCALED = 1u << 5,   /* an adapter has u */
    OCLORA_LANES_PAIRS = 1u << 6     /* a router chooses for whole sequences */
};

struct oclora_lane_table {
    oclora_env env;
    oclora_buffer *lanes;           /* [n_weights][n_adapters] */
    const oclora_buffer *pool;      /* what lanes point into; not owned */
    oclora_lane_summary *summaries; /* [n_weights] */
    uint32_t *mul_max;              /* [n_adapters]: largest n_mul of an adapter over all weights */
    uint32_t n_weights;
    uint32_t n_adapters;
};

/* `lanes` [n_weights * n_adapters] is copied. `pool` must outlive the table. */
oclora_status oclora_lane_table_create_from(oclora_lane_table **out, oclora_stream *stream,
                                            const oclora_buffer *pool, const oclora_lane *lanes,
                                            uint32_t n_weights, uint32_t n_adapters,
                                            oclora_error *err);

#endif
