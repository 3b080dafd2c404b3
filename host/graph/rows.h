/* rows.h - which sequence does each row of each node belong to? Pure C; no device.
 *
 * One forward pass labels every tensor's rows (ne[1], or ne[2] where heads lie in ne[1]):
 *   TOKENS         row i is token i of this graph
 *   SELECTED(ids)  row i is token ids[i]; ids is an I32 input tensor (GET_ROWS by out_ids)
 *   OTHER          anything else (a targeted matmul on such rows is refused)
 * The K cache's SET_ROWS gives the tokens' KV streams: destination row length equals its root's,
 * root is 3-D, index count = source rows = tokens, every index within ne[1] * ne[2]; stream of
 * token i = index[i] / ne[1]. All such nodes must agree, and write to the cache as a whole: an index
 * into a view of some streams would name others. */
#ifndef OCLORA_GRAPH_ROWS_H
#define OCLORA_GRAPH_ROWS_H

#include "host/graph/graph.h"

enum { OCLORA_ROWS_OTHER = 0, OCLORA_ROWS_TOKENS = 1, OCLORA_ROWS_SELECTED = 2 };

typedef struct oclora_row_label {
    uint32_t kind; /* OCLORA_ROWS_* */
    int32_t ids;   /* tensor number of the ids for SELECTED */
    uint32_t dims; /* bit d: dimension d counts tokens; several = one count, the lowest fastest */
    uint32_t run; /* positions of the lowest such dimension per token (1 unless rows were cut up) */
} oclora_row_label;

/* Whether row i (ne[1] fastest, then ne[2], ne[3]) of a tensor labelled so is token i of its kind.
 */
bool oclora_rows_are_flat(const oclora_row_label *label, const oclora_tensor *tensor);

typedef struct oclora_row_plan {
    oclora_env env;
    oclora_row_label *labels; /* [n_tensors] */
    uint32_t n_tokens;        /* 0: the graph writes no K cache */
    uint32_t n_caches;        /* K caches found (iSWA has two, each with its own cells) */
    struct oclora_cache_index {
        int32_t index_tensor; /* I64 [n_tokens] */
        uint32_t reserved;
        uint64_t cells;   /* ne[1] of the cache */
        uint64_t streams; /* ne[2] of the cache */
    } caches[8];
    uint32_t n_selections; /* distinct ids tensors of targeted rows */
    int32_t selections[8];
} oclora_row_plan;

/* Labels the graph. Depends on topology only: no tensor data is read. A graph whose K caches
 * disagree in their count of tokens, or that writes to a part of one, has n_tokens and n_caches 0. Errors: INVALID_ARGUMENT (a number
 * in the graph is out of range), OUT_OF_HOST_MEMORY. */
oclora_status oclora_row_plan_build(oclora_row_plan *out, const oclora_env *env,
                                    const oclora_graph *graph, oclora_error *err);
void oclora_row_plan_free(oclora_row_plan *plan);

/* Turns the index data (one array per cache of the plan) into the stream of each token. Errors:
 * ROWS_UNKNOWN (no cache, an index out of range, caches disagree). */
oclora_status oclora_row_streams(const oclora_row_plan *plan, const int64_t *const *indices,
                                 uint32_t *streams, oclora_error *err);

#endif
