#include "host/adapter/pool_arena.h"

#include <string.h>

uint64_t oclora_arena_round(uint64_t bytes)
{
    const uint64_t mask = OCLORA_ARENA_GRANULE - 1;
    if (bytes == 0) return OCLORA_ARENA_GRANULE;
    if (bytes > UINT64_MAX - mask) return UINT64_MAX & ~mask;
    return (bytes + mask) & ~mask;
}

oclora_status oclora_arena_init(oclora_arena *arena, const oclora_env *env, uint64_t first,
                                uint64_t end, oclora_error *err)
{
    oclora_arena made = {.env = *env};
    made.first = first == 0 ? 0 : oclora_arena_round(first);
    made.end = end & ~(uint64_t)(OCLORA_ARENA_GRANULE - 1);
    if (made.end <= made.first)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "adapter pool: %llu bytes are too few; give at least %llu",
                           (unsigned long long)end,
                           (unsigned long long)(made.first + OCLORA_ARENA_GRANULE));
    OCLORA_TRY(oclora_reserve(env, &made.holes, &made.capacity, 8, sizeof *made.holes, err));
    made.free_bytes = made.end - made.first;
    made.holes[0].offset = made.first;
    made.holes[0].bytes = made.free_bytes;
    made.n_holes = 1;
    *arena = made;
    return OCLORA_OK;
}

void oclora_arena_free(oclora_arena *arena)
{
    if (arena->holes != NULL) oclora_release(&arena->env, arena->holes);
    memset(arena, 0, sizeof *arena);
}

uint64_t oclora_arena_largest(const oclora_arena *arena)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < arena->n_holes; i++)
        if (arena->holes[i].bytes > largest) largest = arena->holes[i].bytes;
    return largest;
}

static void hole_remove(oclora_arena *arena, size_t at)
{
    arena->n_holes--;
    memmove(arena->holes + at, arena->holes + at + 1, (arena->n_holes - at) * sizeof *arena->holes);
}

oclora_status oclora_arena_take(oclora_arena *arena, uint64_t bytes, uint64_t *offset,
                                oclora_error *err)
{
    const uint64_t need = oclora_arena_round(bytes);
    size_t best = arena->n_holes;
    for (size_t i = 0; i < arena->n_holes; i++) {
        if (arena->holes[i].bytes < need) continue;
        if (best == arena->n_holes || arena->holes[i].bytes < arena->holes[best].bytes) best = i;
    }
    if (best == arena->n_holes)
        return oclora_fail(err, OCLORA_POOL_FULL,
                           "adapter pool: a block of %llu bytes is needed, %llu are free, the "
                           "largest piece has %llu",
                           (unsigned long long)need, (unsigned long long)arena->free_bytes,
                           (unsigned long long)oclora_arena_largest(arena));
    /* Blocks separate holes, so there are at most n_blocks + 1 of them: with this room reserved now
     * giving back never needs memory. */
    OCLORA_TRY(oclora_reserve(&arena->env, &arena->holes, &arena->capacity, arena->n_blocks + 3,
                              sizeof *arena->holes, err));
    oclora_hole *hole = &arena->holes[best];
    *offset = hole->offset;
    hole->offset += need;
    hole->bytes -= need;
    if (hole->bytes == 0) hole_remove(arena, best);
    arena->free_bytes -= need;
    arena->n_blocks++;
    return OCLORA_OK;
}

/* Index of the first hole that starts after `offset`. */
static size_t hole_after(const oclora_arena *arena, uint64_t offset)
{
    size_t low = 0;
    size_t high = arena->n_holes;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (arena->holes[mid].offset <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool oclora_arena_give(oclora_arena *arena, uint64_t offset, uint64_t bytes)
{
    const uint64_t size = oclora_arena_round(bytes);
    if (arena->n_blocks == 0 || offset < arena->first || offset % OCLORA_ARENA_GRANULE != 0 ||
        offset >= arena->end || size > arena->end - offset)
        return false;
    const size_t at = hole_after(arena, offset);
    oclora_hole *before = at > 0 ? &arena->holes[at - 1] : NULL;
    oclora_hole *after = at < arena->n_holes ? &arena->holes[at] : NULL;
    if (before != NULL && before->offset + before->bytes > offset) return false;
    if (after != NULL && after->offset < offset + size) return false;

    const bool joins_before = before != NULL && before->offset + before->bytes == offset;
    const bool joins_after = after != NULL && after->offset == offset + size;
    if (!joins_before && !joins_after && arena->n_holes == arena->capacity) return false;
    arena->free_bytes += size;
    arena->n_blocks--;
    if (joins_before) {
        before->bytes += size;
        if (joins_after) {
            before->bytes += after->bytes;
            hole_remove(arena, at);
        }
    } else if (joins_after) {
        after->offset = offset;
        after->bytes += size;
    } else {
        memmove(arena->holes + at + 1, arena->holes + at,
                (arena->n_holes - at) * sizeof *arena->holes);
        arena->holes[at].offset = offset;
        arena->holes[at].bytes = size;
        arena->n_holes++;
    }
    return true;
}
