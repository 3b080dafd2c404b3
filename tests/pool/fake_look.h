/* fake_look.h - what lies in the fake device's memory, against what adapters should have there. */
#ifndef OCLORA_TESTS_POOL_FAKE_LOOK_H
#define OCLORA_TESTS_POOL_FAKE_LOOK_H

#include "fake_device.h"
#include "images.h"

/* The factors of module m, byte by byte. */
static inline bool look_holds(oclora_pool *pool, oclora_adapter_handle handle,
                              const image_spec *spec, uint32_t m)
{
    oclora_lane lane;
    const uint8_t *memory = fake_memory(oclora_pool_buffer(pool));
    if (oclora_pool_lane(pool, handle, m, &lane) != OCLORA_OK || lane.rank != spec->rank)
        return false;
    for (uint64_t i = 0; i < spec->rank * spec->d_in * 2u; i++)
        if (memory[lane.a + i] != image_byte(spec->seed_a, m, i)) return false;
    for (uint64_t i = 0; i < spec->rank * spec->d_out * 2u; i++)
        if (memory[lane.b + i] != image_byte(spec->seed_b, m + 100, i)) return false;
    return true;
}

/* Bytes that are not zero outside the blocks of the resident ones of `handles`. */
static inline uint64_t look_dirty(oclora_pool *pool, const oclora_adapter_handle *handles,
                                  const image_spec *specs, uint32_t count)
{
    const uint64_t bytes = oclora_buffer_bytes(oclora_pool_buffer(pool));
    const uint8_t *memory = fake_memory(oclora_pool_buffer(pool));
    uint8_t *mine = calloc(1, (size_t)bytes);
    uint64_t dirty = 0;
    for (uint32_t k = 0; k < count; k++) {
        for (uint32_t m = 0; m < specs[k].n_modules; m++) {
            oclora_lane lane;
            if (oclora_pool_lane(pool, handles[k], m, &lane) != OCLORA_OK) continue;
            memset(mine + lane.a, 1, specs[k].rank * specs[k].d_in * 2u);
            memset(mine + lane.b, 1, specs[k].rank * specs[k].d_out * 2u);
            memset(mine + lane.scale, 1, specs[k].rank * 4u);
        }
    }
    for (uint64_t i = 0; i < bytes; i++) dirty += memory[i] != 0 && mine[i] == 0;
    free(mine);
    return dirty;
}

#endif
