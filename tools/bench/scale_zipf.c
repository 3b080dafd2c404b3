/* scale_zipf.c - 2,000 adapters registered, device room for 64: requests drawn by Zipf's law. */
#include "tools/bench/scale.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* r=8 on q, k, v and o would be 3.7 GB of host memory for 2,000; q and v are half of that. */
enum {
    REGISTERED = 2000,
    RESIDENT = 64,
    FEW = 5,
    RANK = 8,
    MODULES = 0x05,
    PROMPT = 8,
    TOKENS = 16,
    CONTEXT = 32
};

typedef struct zipf {
    bench_host host;
    oclora_request requests[SCALE_ROWS];
    oclora_request *rows[SCALE_ROWS];
    int32_t prompts[SCALE_ROWS][PROMPT], ids[SCALE_ROWS][TOKENS];
    uint32_t registered;
    uint32_t waves; /* a round */
    uint32_t seed;
} zipf;

static double draw(zipf *z)
{
    z->seed = z->seed * 1664525u + 1013904223u;
    return (z->seed >> 8) / 16777216.0;
}

/* Number k of `count` with probability in proportion to 1 / (k + 1). */
static uint32_t draw_adapter(zipf *z, uint32_t count)
{
    double sum = 0, at;
    for (uint32_t k = 0; k < count; k++) sum += 1.0 / (k + 1);
    at = draw(z) * sum;
    for (uint32_t k = 0; k < count; k++)
        if ((at -= 1.0 / (k + 1)) < 0) return k;
    return count - 1;
}

static void make_requests(zipf *z)
{
    for (uint32_t i = 0; i < SCALE_ROWS; i++) {
        for (uint32_t t = 0; t < PROMPT; t++) z->prompts[i][t] = (int32_t)(100 + 37 * i + 11 * t);
        z->requests[i] = (oclora_request){
            .prompt = z->prompts[i], .n_prompt = PROMPT, .n_max = TOKENS, .ids = z->ids[i]};
        z->rows[i] = &z->requests[i];
    }
}

/* Every file has the same name: the adapter is in host memory once it is loaded. */
static bool register_all(zipf *z)
{
    char path[SCALE_PATH], name[16];
    snprintf(path, sizeof path, "%s/scale.gguf", z->host.options->work);
    for (uint32_t i = 0; i < z->registered; i++) {
        snprintf(name, sizeof name, "z%u", (unsigned)i);
        if (!bench_synth_gguf(&z->host.model, path, RANK, MODULES, 1000 + i, true) ||
            !bench_host_load(&z->host, name, path))
            return false;
        if (i % 500 == 499) bench_progress("scale: %u adapters registered", (unsigned)i + 1);
    }
    return true;
}

/* Tokens a second of one wave, whose adapters are `first` on or drawn. */
static double run_wave(zipf *z, uint32_t count, bool drawn, uint32_t first)
{
    char name[16];
    oclora_timing timing = {0};
    for (uint32_t i = 0; i < SCALE_ROWS; i++) {
        uint32_t k = drawn ? draw_adapter(z, count) : (first + i) % count;
        snprintf(name, sizeof name, "z%u", (unsigned)k);
        if (!bench_host_map(&z->host, i, name)) return -1;
    }
    oclora_wave_decode(&z->host.runtime, z->rows, SCALE_ROWS, 0, &timing);
    for (uint32_t i = 0; i < SCALE_ROWS; i++)
        if (z->requests[i].error[0]) {
            fprintf(stderr, "oclora-bench: %s\n", z->requests[i].error);
            return -1;
        }
    return timing.prompt_ms + timing.decode_ms;
}

static double run_round(zipf *z, uint32_t count)
{
    double ms = 0;
    for (uint32_t i = 0; i < z->waves; i++) {
        double wave = run_wave(z, count, true, 0);
        if (wave < 0) return -1;
        ms += wave;
    }
    return 1e3 * z->waves * SCALE_ROWS * TOKENS / ms;
}

static void compare(bench_report *report, zipf *z, const bench_case *c, uint32_t count)
{
    double ours[32], peer[32], end = bench_now() + 40;
    const uint32_t rounds_max = z->host.options->quick ? 2 : 25;
    bench_duel duel = {0};
    if (!bench_wanted(report->options, "scale", c->name)) return;
    bench_progress("scale: %s", c->name);
    uint32_t fit = count < RESIDENT ? count : RESIDENT;
    for (uint32_t first = 0; first < fit; first += SCALE_ROWS) run_wave(z, fit, false, first);
    for (uint32_t n = 0; n < rounds_max; n++) {
        bool before = n % 2 == 0;
        if (before) ours[n] = run_round(z, count);
        peer[n] = run_round(z, FEW);
        if (!before) ours[n] = run_round(z, count);
        if (ours[n] < 0 || peer[n] < 0) {
            bench_report_missing(report, c, "a request failed");
            return;
        }
        bench_duel_from(&duel, ours, peer, n + 1, true);
        if (n >= 6 && (duel.noise <= 0.015 || bench_now() > end)) break;
    }
    bench_report_rates(report, c, &duel);
}

void bench_scale_zipf(bench_report *report)
{
    const bench_options *o = report->options;
    bench_model model;
    zipf *z = calloc(1, sizeof *z);
    bool ok = z && o->model && bench_model_read(&model, o->model);
    if (ok) {
        uint64_t room = bench_synth_bytes(&model, RANK, MODULES) * (RESIDENT + 2);
        ok = bench_host_open(&z->host, o, room, CONTEXT);
    }
    if (ok) {
        z->registered = o->quick ? RESIDENT + 8 : REGISTERED;
        z->waves = o->quick ? 1 : 4;
        z->seed = 9;
        make_requests(z);
        bench_progress("scale: registering %u adapters", (unsigned)z->registered);
        ok = register_all(z);
    }
    if (ok) {
        compare(report, z, &bench_scale_cases[SCALE_ZIPF_FIT], RESIDENT);
        compare(report, z, &bench_scale_cases[SCALE_ZIPF_ALL], z->registered);
    } else {
        bench_report_missing(report, &bench_scale_cases[SCALE_ZIPF_FIT], "no host (see above)");
        bench_report_missing(report, &bench_scale_cases[SCALE_ZIPF_ALL], "no host (see above)");
    }
    if (z) bench_host_close(&z->host);
    free(z);
}
