/* kernels.h - timing of the project's kernels at model sizes. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_KERNELS_H
#define OCLORA_TOOLS_CLINFO_BENCH_KERNELS_H

#include "tools/clinfo-bench/selftest.h"

/* What is timed: `run` enqueues it once. */
typedef struct bench_work {
    oclora_status (*run)(void *user, oclora_error *err);
    void *user;
    double bytes;      /* that have to move, each once */
    double operations; /* additions and multiplications */
} bench_work;

/* Times the item announced last and reports it with the files of cl/ that t->stream has launched:
 * a stream for each item. */
void bench_time_work(selftest *t, const bench_work *work);

/* The items: linear layers with and without adapters, and all other operators. */
oclora_status bench_model_layers(selftest *t, oclora_error *err);
oclora_status bench_model_ops(selftest *t, oclora_error *err);

#endif
