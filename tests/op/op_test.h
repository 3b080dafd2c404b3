/* op_test.h - what the tests of host/op share: tensors in guarded, poisoned memory, read as
 * doubles. */
#ifndef OCLORA_TESTS_OP_TEST_H
#define OCLORA_TESTS_OP_TEST_H

#include "host/op/ops.h"
#include "support/harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OP_GUARD = 192 };

typedef struct op_tensor {
    oclora_tensor view;
    uint8_t *bytes; /* host copy of the whole buffer */
    uint64_t size;
} op_tensor;

/* How a tensor lies in memory: `pad` extra elements behind every row, `offset` elements before the
 * first, dimensions in memory order (a permutation of 0..3; {0,1,2,3} is the usual one). */
typedef struct op_layout {
    uint32_t pad;
    uint32_t offset;
    uint8_t order[4];
} op_layout;

static const op_layout op_plain = {0, 0, {0, 1, 2, 3}};
static const op_layout op_padded = {3, 5, {0, 1, 2, 3}};
static const op_layout op_swapped = {0, 0, {0, 2, 1, 3}};    /* heads and rows swapped */
static const op_layout op_transposed = {1, 2, {1, 0, 2, 3}}; /* dimension 0 strided */

static inline op_tensor op_make(const oclora_test_device *device, oclora_type type, uint64_t ne0,
                                uint64_t ne1, uint64_t ne2, uint64_t ne3, op_layout layout)
{
    op_tensor t = {.view = {.type = type, .ne = {ne0, ne1, ne2, ne3}}};
    const uint64_t block = oclora_type_block(type), bytes = oclora_type_block_bytes(type);
    uint64_t stride = bytes;
    for (int i = 0; i < 4; i++) {
        const int d = layout.order[i];
        t.view.nb[d] = stride;
        stride *= d == 0 ? t.view.ne[0] / block : t.view.ne[d];
        if (i == 0) stride += layout.pad * bytes;
    }
    t.view.offset = OP_GUARD + layout.offset * bytes;
    t.size = t.view.offset + stride + OP_GUARD;
    t.bytes = malloc(t.size);
    oclora_test_poison(t.bytes, t.size);
    oclora_error err = {0};
    CHECK_OK(oclora_buffer_create(&t.view.buffer, device->context, t.size, &err), &err);
    return t;
}

static inline void op_free(op_tensor *t)
{
    oclora_buffer_destroy(t->view.buffer);
    free(t->bytes);
    memset(t, 0, sizeof(*t));
}

static inline uint8_t *op_at(const op_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const uint64_t *nb = t->view.nb;
    return t->bytes + t->view.offset + i0 / oclora_type_block(t->view.type) * nb[0] + i1 * nb[1] +
           i2 * nb[2] + i3 * nb[3];
}

static inline double op_get(const op_tensor *t, uint64_t i0, uint64_t i1, uint64_t i2, uint64_t i3)
{
    const uint8_t *p = op_at(t, i0, i1, i2, i3);
    float f;
    uint16_t h;
    int32_t i;
    int64_t l;
    uint32_t bits;
    float row[256];
    switch (t->view.type) {
    case OCLORA_TYPE_F32:
        memcpy(&f, p, 4);
        return f;
    case OCLORA_TYPE_F16:
        memcpy(&h, p, 2);
        return oclora_half_to_float(h);
    case OCLORA_TYPE_BF16:
        memcpy(&h, p, 2);
        bits = (uint32_t)h << 16;
        memcpy(&f, &bits, 4);
        return f;
    case OCLORA_TYPE_I32:
        memcpy(&i, p, 4);
        return i;
    case OCLORA_TYPE_I64:
        memcpy(&l, p, 8);
        return (double)l;
    default:
        break;
    }
    const uint32_t block = oclora_type_block(t->view.type);
    if (oclora_dequantize_row(t->view.type, p, row, block, NULL) != OCLORA_OK) return NAN;
    return row[i0 % block];
}

static inline void op_set(const op_tensor *t, double value, uint64_t i0, uint64_t i1, uint64_t i2,
                          uint64_t i3)
{
    uint8_t *p = op_at(t, i0, i1, i2, i3);
    const float f = (float)value;
    const uint16_t h = oclora_float_to_half(f);
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint16_t b = (uint16_t)(bits >> 16);
    const int32_t i = (int32_t)value;
    const int64_t l = (int64_t)value;
    switch (t->view.type) {
    case OCLORA_TYPE_F32:
        memcpy(p, &f, 4);
        break;
    case OCLORA_TYPE_F16:
        memcpy(p, &h, 2);
        break;
    case OCLORA_TYPE_BF16:
        memcpy(p, &b, 2);
        break;
    case OCLORA_TYPE_I32:
        memcpy(p, &i, 4);
        break;
    default:
        memcpy(p, &l, 8);
        break;
    }
}

#define OP_EACH(t, i0, i1, i2, i3)                                                                 \
    for (uint64_t i3 = 0; i3 < (t)->view.ne[3]; i3++)                                              \
        for (uint64_t i2 = 0; i2 < (t)->view.ne[2]; i2++)                                          \
            for (uint64_t i1 = 0; i1 < (t)->view.ne[1]; i1++)                                      \
                for (uint64_t i0 = 0; i0 < (t)->view.ne[0]; i0++)

static inline void op_upload(const oclora_test_device *device, const op_tensor *t)
{
    oclora_error err = {0};
    CHECK_OK(oclora_stream_write(device->stream, t->view.buffer, 0, t->bytes, t->size, &err), &err);
}

/* Random blocks whose half-precision scales are small and finite. */
static inline void op_fill_blocks(const op_tensor *t)
{
    const uint32_t bytes = oclora_type_block_bytes(t->view.type);
    const uint32_t block = oclora_type_block(t->view.type);
    OP_EACH(t, i0, i1, i2, i3)
    {
        if (i0 % block != 0) continue;
        uint8_t *p = op_at(t, i0, i1, i2, i3);
        for (uint32_t j = 0; j < bytes; j++) p[j] = (uint8_t)(oclora_test_random() >> 24);
        const uint16_t d = oclora_float_to_half(0.02f * oclora_test_uniform());
        const uint16_t m = oclora_float_to_half(0.1f * oclora_test_uniform());
        const bool tail = t->view.type == OCLORA_TYPE_Q6_K;
        memcpy(tail ? p + 208 : p, &d, 2);
        const bool has_min = t->view.type == OCLORA_TYPE_Q4_1 || t->view.type == OCLORA_TYPE_Q5_1 ||
                             t->view.type == OCLORA_TYPE_Q4_K || t->view.type == OCLORA_TYPE_Q5_K;
        if (has_min) memcpy(p + 2, &m, 2);
    }
}

/* Random values (dense types) or blocks; also uploads. */
static inline void op_fill(const oclora_test_device *device, const op_tensor *t)
{
    if (oclora_type_block(t->view.type) > 1) {
        op_fill_blocks(t);
    } else {
        OP_EACH(t, i0, i1, i2, i3) op_set(t, oclora_test_uniform() * 2.0, i0, i1, i2, i3);
    }
    op_upload(device, t);
}

/* Reads the buffer back and checks that nothing but the view's elements changed. */
static inline void op_download(const oclora_test_device *device, const op_tensor *t)
{
    oclora_error err = {0};
    uint8_t *before = malloc(t->size);
    uint8_t *owned = calloc(t->size, 1);
    memcpy(before, t->bytes, t->size);
    CHECK_OK(oclora_stream_read(device->stream, t->view.buffer, 0, t->bytes, t->size, &err), &err);
    OP_EACH(t, i0, i1, i2, i3)
    memset(owned + (op_at(t, i0, i1, i2, i3) - t->bytes), 1, oclora_type_block_bytes(t->view.type));
    long long touched = 0;
    for (uint64_t i = 0; i < t->size; i++) touched += !owned[i] && before[i] != t->bytes[i];
    CHECK_INT(touched, 0);
    free(before);
    free(owned);
}

static inline oclora_op_call op_call(uint32_t op, const op_tensor *dst)
{
    oclora_op_call call = {.op = op, .dst = dst->view};
    return call;
}

static inline void op_add_source(oclora_op_call *call, const op_tensor *src)
{
    if (src != NULL) call->src[call->n_src] = src->view;
    call->n_src++;
}

/* Poisons dst on the device, runs, reads back with guards checked. */
static inline bool op_run(const oclora_test_device *device, const oclora_op_call *call,
                          const op_tensor *dst)
{
    oclora_error err = {0};
    op_upload(device, dst);
    CHECK(oclora_op_supported(device->context, call));
    if (!CHECK_OK(oclora_op_run(device->stream, call, &err), &err)) return false;
    op_download(device, dst);
    return true;
}

/* Largest |dst - reference| over the largest |reference|; infinity if dst is not finite. */
typedef double (*op_reference)(const void *user, uint64_t i0, uint64_t i1, uint64_t i2,
                               uint64_t i3);

static inline double op_error(const op_tensor *dst, op_reference reference, const void *user)
{
    double worst = 0.0, scale = 1e-30;
    OP_EACH(dst, i0, i1, i2, i3)
    {
        const double want = reference(user, i0, i1, i2, i3);
        const double got = op_get(dst, i0, i1, i2, i3);
        if (!isfinite(got)) return INFINITY;
        worst = fmax(worst, fabs(got - want));
        scale = fmax(scale, fabs(want));
    }
    return worst / scale;
}

static inline void op_expect_refused(const oclora_test_device *device, const oclora_op_call *call,
                                     const char *part)
{
    oclora_error err = {0};
    CHECK(!oclora_op_supported(device->context, call));
    CHECK_STATUS(oclora_op_run(device->stream, call, &err), OCLORA_NOT_SUPPORTED, &err);
    CHECK_CONTAINS(err.text, part);
}

#endif
