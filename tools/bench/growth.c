#include "tools/bench/growth.h"

#include "tools/bench/layer.h"
#include "tools/bench/svg.h"

#include <stdio.h>
#include <string.h>

enum { POINTS_MAX = 16 };

typedef struct sweep {
    const char *name; /* of the picture and the cases */
    const char *axis;
    uint32_t values[POINTS_MAX];
    uint32_t quick; /* one value that --quick takes */
} sweep;

/* Odd sizes stand between the round ones, so that a cliff shows. */
static const sweep sweeps[] = {
    {"growth-adapters", "distinct adapters of 64 rows", {1, 2, 3, 4, 8, 16, 31, 32, 64}, 2},
    {"growth-rank",
     "rank, 16 rows with an adapter each",
     {1, 2, 3, 4, 7, 8, 13, 16, 24, 32, 33, 64, 128, 256, 512},
     8},
    {"growth-rows",
     "rows, 8 adapters at most",
     {1, 2, 3, 4, 7, 8, 16, 17, 32, 33, 64, 128, 129, 256, 512},
     8},
};

static bench_shape shape_of(const sweep *s, uint32_t value)
{
    bench_shape shape = {2048, {2048}, 16, 16, 16, OCLORA_TYPE_F32, OCLORA_TYPE_F16};
    if (s == &sweeps[0]) {
        shape.rows = 64;
        shape.adapters = value;
    } else if (s == &sweeps[1]) {
        shape.rank = value;
    } else {
        shape.rows = value;
        shape.adapters = value < 8 ? value : 8;
    }
    return shape;
}

static bench_case case_of(const sweep *s, uint32_t value, char *name, size_t size)
{
    snprintf(name, size, "%s-%u", s->name, (unsigned)value);
    return (bench_case){"kernels", name, "us a layer", "bound by bytes or flops", 0, 0};
}

static bool point_wanted(const bench_options *o, const sweep *s, uint32_t value)
{
    char name[64];
    case_of(s, value, name, sizeof name);
    return value && (!o->quick || value == s->quick) && bench_wanted(o, "kernels", name);
}

static bool sweep_wanted(const bench_options *o, const sweep *s)
{
    for (size_t i = 0; i < POINTS_MAX; i++)
        if (point_wanted(o, s, s->values[i])) return true;
    return false;
}

bool bench_growth_wanted(const bench_options *options)
{
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        if (sweep_wanted(options, &sweeps[i])) return true;
    return false;
}

void bench_growth_list(const bench_options *options)
{
    char name[64];
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        for (size_t j = 0; j < POINTS_MAX; j++)
            if (point_wanted(options, &sweeps[i], sweeps[i].values[j])) {
                bench_case c = case_of(&sweeps[i], sweeps[i].values[j], name, sizeof name);
                bench_report_list(&c);
            }
}

/* Bound: bytes at the probe's rate, or operations at the multiply-add rate, whichever is more. */
static bool measure(bench_device *device, const bench_shape *shape, double rate, double seconds,
                    double *time, double *bound)
{
    bench_layer layer;
    bench_probe probe = {0};
    if (!bench_layer_open(&layer, device, shape)) return false;
    bench_side side = {bench_layer_delta, &layer};
    *time = bench_time_alone(&side, seconds);
    *bound = bench_layer_flops(&layer) / rate;
    if (bench_probe_open(&probe, device, (uint64_t)bench_layer_bytes(&layer), 1)) {
        bench_side read = {bench_probe_run, &probe};
        double bytes = bench_time_alone(&read, seconds);
        if (bytes > *bound) *bound = bytes;
        bench_probe_close(&probe);
    }
    bench_layer_close(&layer);
    return *time > 0;
}

static void run_sweep(bench_report *report, bench_device *device, const sweep *s, double rate)
{
    const bench_options *o = report->options;
    bench_picture picture = {.title = s->name, .axis = s->axis};
    char name[64];
    bench_progress("kernels: %s", s->name);
    for (size_t i = 0; i < POINTS_MAX; i++) {
        double time = 0, bound = 0;
        if (!point_wanted(o, s, s->values[i])) continue;
        bench_shape shape = shape_of(s, s->values[i]);
        bench_case c = case_of(s, s->values[i], name, sizeof name);
        if (!measure(device, &shape, rate, o->quick ? 0.02 : 0.2, &time, &bound)) {
            bench_report_missing(report, &c, "%s", device->err.text);
            continue;
        }
        bench_duel duel;
        bench_duel_from(&duel, &time, &bound, 1, false);
        bench_report_times(report, &c, &duel, 1e6);
        bench_picture_add(&picture, s->values[i], time * 1e6, bound * 1e6);
    }
    if (o->svg && !bench_picture_write(&picture, o->svg))
        fprintf(stderr, "oclora-bench: no picture could be written into %s\n", o->svg);
}

void bench_growth(bench_report *report, bench_device *device)
{
    double rate = bench_flop_rate(device, report->options->quick ? 0.02 : 0.3);
    for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++)
        if (sweep_wanted(report->options, &sweeps[i])) run_sweep(report, device, &sweeps[i], rate);
}
