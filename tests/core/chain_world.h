/* chain_world.h - graphs of random launches, of which each needs what earlier ones did, with
 * transfers between them: what they leave is what a loop on the host computes, bit by bit. */
#ifndef OCLORA_TESTS_CHAIN_WORLD_H
#define OCLORA_TESTS_CHAIN_WORLD_H

#include "support/harness.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BUFFERS = 30, COUNT = 16 * 37, LAUNCHES = 400 };

typedef struct world {
    oclora_stream *stream;
    oclora_buffer *device[BUFFERS];
    float host[BUFFERS][COUNT];
} world;

static world w; /* too large for the stack */

static const oclora_kernel_ref kernels[3][3] = {
    {{"probe", "probe_fill", ""},
     {"probe", "probe_fill", "-DPROBE_WIDTH=4"},
     {"probe", "probe_fill", "-DPROBE_WIDTH=16"}},
    {{"probe", "probe_copy", ""},
     {"probe", "probe_copy", "-DPROBE_WIDTH=4"},
     {"probe", "probe_copy", "-DPROBE_WIDTH=16"}},
    {{"probe", "probe_axpy", ""},
     {"probe", "probe_axpy", "-DPROBE_WIDTH=4"},
     {"probe", "probe_axpy", "-DPROBE_WIDTH=16"}},
};
static const uint32_t widths[3] = {1, 4, 16};

static inline uint32_t below(uint32_t limit)
{
    return (uint32_t)(oclora_test_random() % limit);
}

/* One launch over `count` floats from `first` on. */
static inline void launch(uint32_t kind, uint32_t x, uint32_t y)
{
    oclora_error err = {0};
    const uint32_t width = below(3), first = 16 * below(20), count = 16 * (1 + below(16));
    const float a = (float)below(5) * 0.25f - 0.5f;
    const size_t items = count / widths[width], one = 1;
    oclora_arg args[5] = {oclora_arg_buffer(w.device[x]), oclora_arg_u64(4 * first),
                          oclora_arg_buffer(w.device[y]), oclora_arg_u64(4 * first),
                          oclora_arg_f32(a)};
    uint32_t from = kind == 0 ? 2 : 0, n = kind == 0 ? 3 : kind == 1 ? 4 : 5;
    CHECK_OK(oclora_stream_launch(w.stream, &kernels[kind][width], args + from, n, 1, &items, &one,
                                  &err),
             &err);
    for (uint32_t i = first; i < first + count; i++) {
        if (kind == 0) w.host[y][i] = a;
        if (kind == 1) w.host[y][i] = w.host[x][i];
        if (kind == 2) w.host[y][i] = fmaf(a, w.host[x][i], w.host[y][i]);
    }
}

static inline void transfer(uint32_t kind, uint32_t x, uint32_t y)
{
    oclora_error err = {0};
    static float back[COUNT];
    switch (kind) {
    case 0:
        oclora_test_fill(w.host[y], COUNT);
        CHECK_OK(oclora_stream_write(w.stream, w.device[y], 0, w.host[y], sizeof back, &err), &err);
        return;
    case 1:
        CHECK_OK(oclora_stream_copy(w.stream, w.device[x], 0, w.device[y], 0, sizeof back, &err),
                 &err);
        memcpy(w.host[y], w.host[x], sizeof back);
        return;
    default:
        CHECK_OK(oclora_stream_read(w.stream, w.device[x], 0, back, sizeof back, &err), &err);
        CHECK(!memcmp(back, w.host[x], sizeof back));
    }
}

static inline void graph(void)
{
    oclora_error err = {0};
    oclora_stream_chain_begin(w.stream, 1);
    for (int i = 0; i < LAUNCHES; i++) {
        const uint32_t x = below(BUFFERS), y = (x + 1 + below(BUFFERS - 1)) % BUFFERS;
        if (below(100) == 0)
            transfer(below(3), x, y);
        else
            launch(below(8) ? 2 : below(2), x, y);
    }
    CHECK_OK(oclora_stream_chain_end(w.stream, &err), &err);
    for (uint32_t i = 0; i < BUFFERS; i++) transfer(2, i, 0);
}

static inline bool open_world(const oclora_test_device *test)
{
    oclora_error err = {0};
    bool ok = true;
    w.stream = test->stream;
    for (uint32_t i = 0; i < BUFFERS; i++) {
        w.device[i] = NULL;
        ok = CHECK_OK(oclora_buffer_create(&w.device[i], test->context, sizeof w.host[i], &err),
                      &err) &&
             ok;
        if (ok) transfer(0, 0, i);
    }
    return ok;
}

static inline void close_world(void)
{
    for (uint32_t i = 0; i < BUFFERS; i++) oclora_buffer_destroy(w.device[i]);
}

static inline void tune(oclora_context *context, oclora_tune_param param, uint32_t value)
{
    oclora_error err = {0};
    CHECK_OK(oclora_context_tune(context, param, value, &err), &err);
}

#endif
