/* child.h - runs one step in processes of its own and hands over what they report. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_CHILD_H
#define OCLORA_TOOLS_CLINFO_BENCH_CHILD_H

#include "tools/clinfo-bench/bench.h"

/* After so many crashes or hangs the rest of the step is given up. */
enum { BENCH_MAX_RESTARTS = 6 };

typedef struct bench_sink {
    void *user;
    void (*begin)(void *user, const char *name); /* may be NULL */
    void (*item)(void *user, json_t *item);      /* borrowed */
} bench_sink;

typedef struct bench_step_end {
    double seconds;
    uint32_t ended_early; /* crashes and hangs, each already an item */
    bool broken;          /* given up: items are missing */
} bench_step_end;

/* A child that ends early is started again behind the item it died in. */
bench_step_end bench_run_step(const bench_options *options, const bench_step *step, uint32_t device,
                              const bench_sink *sink);

/* From here on a signal that ends this process ends its child and what that started first. */
void bench_end_with_child(void);

#endif
