/* weight.h - base weights on the device, found by name. */
#ifndef OCLORA_BASE_WEIGHT_H
#define OCLORA_BASE_WEIGHT_H

#include "host/base/layout.h"
#include "host/core/stream.h"

enum { OCLORA_WEIGHT_NAME = 128 };

typedef struct oclora_weight {
    char name[OCLORA_WEIGHT_NAME];
    oclora_type type;
    uint32_t layout;       /* OCLORA_LAYOUT_* */
    uint32_t d_in;
    uint32_t d_out;
    oclora_buffer *buffer; /* not owned */
    uint64_t offset;
    uint64_t bytes;
    uint32_t id;           /* index in its base; what lanes are looked up by */
    uint32_t ambiguous;    /* not 0: another live weight has this name; adapters refuse it */
    uint32_t version;      /* counts oclora_base_rewritten */
    uint32_t reserved;
} oclora_weight;

/* The weights of one model on one device: name -> weight. Ids are dense and never reused. Thread
 * rule: any thread (locked inside); returned weights live until the base is destroyed or removed.
 * Whoever did not add a weight uses it between hold and let_go. */
typedef struct oclora_base oclora_base;

/* Until let_go no weight is removed and none is half written; several threads may hold, but none
 * twice: one that waits for a change would stand between. */
void oclora_base_hold(oclora_base *base);
/* Until let_go nobody holds: for adding a weight together with its bytes. Not to be called while
 * holding; weights are not to be removed before let_go. */
void oclora_base_change(oclora_base *base);
void oclora_base_let_go(oclora_base *base);

oclora_status oclora_base_create(oclora_base **out, oclora_context *context, oclora_error *err);
void oclora_base_destroy(oclora_base *base);

/* Registers a weight at [offset, offset + bytes) of `buffer` and chooses its layout. The bytes are
 * written by oclora_weight_write. A second live weight of one name (two models in one process) is
 * accepted and marks both ambiguous until one is removed; find() then returns the first. */
oclora_status oclora_base_add(oclora_base *base, const char *name, oclora_type type, uint32_t d_in,
                              uint32_t d_out, oclora_buffer *buffer, uint64_t offset,
                              const oclora_weight **out, oclora_error *err);
/* Forgets all weights in `buffer` (it is about to be freed). Waits for those who hold the base. */
void oclora_base_remove_buffer(oclora_base *base, const oclora_buffer *buffer);

/* Forgets one weight: its bytes are about to be something else. Waits as above. */
void oclora_base_remove(oclora_base *base, const oclora_weight *weight);

/* What was computed from the weight's bytes is out of date. Between change and let_go, in which they
 * are written. */
void oclora_base_rewritten(oclora_base *base, const oclora_weight *weight);
/* Counts weights removed and rewritten: while it stays, so does every weight there is. */
uint64_t oclora_base_changes(oclora_base *base);
/* Whether the weight `id` is there with the bytes that it had at `version`. */
bool oclora_base_keeps(oclora_base *base, uint32_t id, uint32_t version);

/* Turns the weight's bytes into PLAIN order where they lie, for good, for readers that know no other.
 * Nothing to do for a PLAIN weight. No work that reads it may be running. Waits as above. Blocking. */
oclora_status oclora_base_unpack(oclora_base *base, const oclora_weight *weight,
                                 oclora_stream *stream, oclora_error *err);

const oclora_weight *oclora_base_find(oclora_base *base, const char *name);
const oclora_weight *oclora_base_find_id(oclora_base *base, uint32_t id);
/* One more than the largest id ever given. */
uint32_t oclora_base_id_limit(oclora_base *base);

/* Byte access in ggml's PLAIN order, whatever the layout; partial ranges allowed. Blocking. */
oclora_status oclora_weight_write(const oclora_weight *weight, oclora_stream *stream,
                                  uint64_t offset, const void *data, uint64_t bytes,
                                  oclora_error *err);
oclora_status oclora_weight_read(const oclora_weight *weight, oclora_stream *stream, uint64_t offset,
                                 void *data, uint64_t bytes, oclora_error *err);

/* All rows as f32 [d_out, d_in], the values the device serves. `values` is the caller's. */
oclora_status oclora_weight_dequantize(const oclora_weight *weight, oclora_stream *stream,
                                       float *values, oclora_error *err);

#endif
