/* scale.h - inside of the scale suite: a llama.cpp with the plugin, in this process. */
#ifndef OCLORA_BENCH_SCALE_H
#define OCLORA_BENCH_SCALE_H

#include "tools/bench/report.h"
#include "tools/bench/synth.h"
#include "tools/generate/wave.h"

enum { SCALE_ROWS = 8, SCALE_PATH = 1024 };

typedef struct bench_host {
    const bench_options *options;
    bench_model model;
    oclora_options generate;
    oclora_runtime runtime;
    char pool[24];
} bench_host;

/* Model, plugin and a context of SCALE_ROWS sequences of `ctx` tokens; room for so many bytes of
 * adapters on the device. False after a message. */
bool bench_host_open(bench_host *out, const bench_options *options, uint64_t pool_bytes,
                     int32_t ctx);
void bench_host_close(bench_host *host);

bool bench_host_load(bench_host *host, const char *name, const char *path);
/* Sequence `seq` is served by the adapter, or with NULL by the base alone. */
bool bench_host_map(bench_host *host, uint32_t seq, const char *name);

enum { SCALE_ZIPF_FIT, SCALE_ZIPF_ALL, SCALE_LOAD_TIME, SCALE_LOAD_SLOWS, SCALE_CASES };
extern const bench_case bench_scale_cases[SCALE_CASES];

/* Each measures its two cases, or reports why not. */
void bench_scale_zipf(bench_report *report);
void bench_scale_load(bench_report *report);

#endif
