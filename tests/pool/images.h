/* images.h - synthetic bases and adapters for the tests of the pool. */
#ifndef OCLORA_TESTS_POOL_IMAGES_H
#define OCLORA_TESTS_POOL_IMAGES_H

#include "host/adapter/image.h"
#include "host/adapter/pool.h"

#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adapter on modules m0 .. m<n-1>; factors of equal seed, type and shape have equal contents. */
typedef struct image_spec {
    uint32_t n_modules;
    uint32_t d_in;
    uint32_t d_out;
    uint32_t rank;
    uint32_t seed_a;
    uint32_t seed_b;
} image_spec;

/* Byte i of a factor of `seed`, module m: what device memory must hold. */
static inline uint8_t image_byte(uint32_t seed, uint32_t module, uint64_t i)
{
    uint32_t x = seed * 2654435761u ^ module * 40503u ^ (uint32_t)i * 2246822519u;
    x ^= x >> 15;
    x *= 2654435761u;
    return (uint8_t)(x >> 24) | 1; /* never zero: cleared memory is told apart */
}

static inline bool image_factor(oclora_adapter_image *image, oclora_factor *factor, uint32_t rows,
                                uint32_t cols, uint32_t seed, uint32_t module)
{
    oclora_error err = {0};
    factor->type = OCLORA_TYPE_F16;
    factor->rows = rows;
    factor->cols = cols;
    const uint64_t bytes = oclora_factor_bytes(factor);
    uint8_t *data = oclora_alloc(&image->env, (size_t)bytes, 1);
    if (data == NULL) return false;
    for (uint64_t i = 0; i < bytes; i++) data[i] = image_byte(seed, module, i);
    return CHECK_OK(oclora_image_adopt(image, factor, data, &err), &err);
}

static inline oclora_adapter_image *image_make(const image_spec *spec)
{
    oclora_error err = {0};
    oclora_adapter_image *image = NULL;
    size_t capacity = 0;
    if (!CHECK_OK(oclora_image_create(&image, oclora_test_env(), &err), &err)) return NULL;
    image->kind = OCLORA_KIND_LORA;
    memcpy(image->hash, spec, sizeof *spec);
    for (uint32_t m = 0; m < spec->n_modules; m++) {
        oclora_module *module = NULL;
        char name[16];
        const int length = snprintf(name, sizeof name, "m%u", m);
        CHECK_OK(oclora_image_add_module(image, &capacity, name, (size_t)length, &module, &err),
                 &err);
        module->d_in = spec->d_in;
        module->d_out = spec->d_out;
        module->rank = spec->rank;
        image_factor(image, &module->a, spec->rank, spec->d_in, spec->seed_a, m);
        image_factor(image, &module->b, spec->rank, spec->d_out, spec->seed_b, m + 100);
        module->scale = oclora_alloc(&image->env, spec->rank, sizeof(float));
        for (uint32_t i = 0; i < spec->rank; i++) module->scale[i] = 2.0f;
    }
    CHECK_OK(oclora_image_finish(image, &err), &err);
    return image;
}

static inline uint64_t rounded(uint64_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* Pool bytes of an adapter on its own. */
static inline uint64_t image_bytes(const image_spec *spec)
{
    const uint64_t vector = (spec->rank * 4 + 63) / 64 * 64;
    return spec->n_modules *
               (rounded(spec->rank * spec->d_in * 2u) + rounded(spec->rank * spec->d_out * 2u)) +
           rounded(vector * spec->n_modules);
}

/* A base of `count` f32 weights m0 .. [d_out, d_in] in one buffer. */
typedef struct test_base {
    oclora_base *base;
    oclora_buffer *buffer;
} test_base;

static inline bool base_make(test_base *out, oclora_context *context, uint32_t count, uint32_t d_in,
                             uint32_t d_out)
{
    oclora_error err = {0};
    const uint64_t bytes = (uint64_t)d_in * d_out * 4;
    bool ok = CHECK_OK(oclora_base_create(&out->base, context, &err), &err) &&
              CHECK_OK(oclora_buffer_create(&out->buffer, context, bytes * count, &err), &err);
    for (uint32_t i = 0; i < count && ok; i++) {
        const oclora_weight *weight = NULL;
        char name[16];
        snprintf(name, sizeof name, "m%u", i);
        ok = CHECK_OK(oclora_base_add(out->base, name, OCLORA_TYPE_F32, d_in, d_out, out->buffer,
                                      i * bytes, &weight, &err),
                      &err);
    }
    return ok;
}

static inline void base_free(test_base *base)
{
    oclora_base_destroy(base->base);
    oclora_buffer_destroy(base->buffer);
}

/* Whether module m's factors lie on the device as they should, bit by bit. */
static inline bool lane_holds(oclora_stream *stream, oclora_pool *pool,
                              oclora_adapter_handle handle, const image_spec *spec, uint32_t m)
{
    oclora_error err = {0};
    oclora_lane lane;
    bool ok = CHECK_INT(oclora_pool_lane(pool, handle, m, &lane), OCLORA_OK) &&
              CHECK_INT(lane.rank, spec->rank) && CHECK(lane.a != 0 && lane.b != 0);
    for (int side = 0; side < 2 && ok; side++) {
        const uint64_t bytes = (uint64_t)spec->rank * (side ? spec->d_out : spec->d_in) * 2;
        uint8_t *got = malloc((size_t)bytes);
        ok = CHECK_OK(oclora_stream_read(stream, oclora_pool_buffer(pool), side ? lane.b : lane.a,
                                         got, bytes, &err),
                      &err);
        for (uint64_t i = 0; i < bytes && ok; i++)
            ok = got[i] == image_byte(side ? spec->seed_b : spec->seed_a, m + (side ? 100 : 0), i);
        free(got);
    }
    CHECK(ok);
    return ok;
}

static inline void pool_zero(oclora_stream *stream, oclora_pool *pool)
{
    oclora_error err = {0};
    oclora_buffer *buffer = oclora_pool_buffer(pool);
    CHECK_OK(oclora_stream_fill(stream, buffer, 0, oclora_buffer_bytes(buffer), 0, &err), &err);
    CHECK_OK(oclora_stream_finish(stream, &err), &err);
}

/* Bytes of the pool's device memory that are not zero. */
static inline uint64_t pool_nonzero(oclora_stream *stream, oclora_pool *pool)
{
    oclora_error err = {0};
    oclora_buffer *buffer = oclora_pool_buffer(pool);
    const uint64_t bytes = oclora_buffer_bytes(buffer);
    uint8_t *got = malloc((size_t)bytes);
    uint64_t count = 0;
    CHECK_OK(oclora_stream_read(stream, buffer, 0, got, bytes, &err), &err);
    for (uint64_t i = 0; i < bytes; i++) count += got[i] != 0;
    free(got);
    return count;
}

#endif
