/* pool_arena.h - best-fit allocator over a range of bytes it never touches. Pure C; one thread. */
#ifndef OCLORA_ADAPTER_POOL_ARENA_H
#define OCLORA_ADAPTER_POOL_ARENA_H

#include "host/core/env.h"

#include <stdbool.h>
#include <stdint.h>

enum { OCLORA_ARENA_GRANULE = 256 };

typedef struct oclora_hole {
    uint64_t offset;
    uint64_t bytes;
} oclora_hole;

typedef struct oclora_arena {
    oclora_env env;
    uint64_t first; /* managed range [first, end), whole granules */
    uint64_t end;
    uint64_t free_bytes;
    size_t n_blocks;    /* handed out */
    oclora_hole *holes; /* by offset; never adjacent, never empty */
    size_t n_holes;
    size_t capacity;
} oclora_arena;

/* Manages [first, end), both rounded inwards to granules. */
oclora_status oclora_arena_init(oclora_arena *arena, const oclora_env *env, uint64_t first,
                                uint64_t end, oclora_error *err);
void oclora_arena_free(oclora_arena *arena); /* zeroed is allowed */

/* `bytes` rounded up to granules; 0 counts as 1; saturates instead of wrapping. */
uint64_t oclora_arena_round(uint64_t bytes);

/* Takes a block of `bytes` (rounded up) from the smallest hole that fits, the lowest of equals.
 * Errors: POOL_FULL (text says needed, free and largest hole), OUT_OF_HOST_MEMORY. */
oclora_status oclora_arena_take(oclora_arena *arena, uint64_t bytes, uint64_t *offset,
                                oclora_error *err);

/* Gives a block back, with the bytes it was taken with. Never needs memory. false: the range is not
 * one that is handed out; nothing changes. */
bool oclora_arena_give(oclora_arena *arena, uint64_t offset, uint64_t bytes);

uint64_t oclora_arena_largest(const oclora_arena *arena);

#endif
