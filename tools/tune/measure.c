/* measure.c - one value of a parameter: its results first, then its speed. */
#include "host/op/panel.h"
#include "tools/tune/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sums in f32 differ from double by their rounding; anything above is another result. */
static const double AGREES = 1e-3;
/* A job may lose so much to noise while the others gain. */
static const double LOSES = 0.97;

static const tune_job *next_job(const tune_job *at, uint32_t param)
{
    while (at->name && at->param != param) at++;
    return at->name ? at : NULL;
}

static float *result_of(bench_device *device, const tune_job *job, uint32_t value, size_t *count,
                        double *error)
{
    tune_work work;
    if (!tune_work_open(&work, device, job, value)) return NULL;
    float *result = tune_work_result(&work, count);
    if (result && error) *error = tune_work_error(&work, result, *count);
    tune_work_close(&work);
    return result;
}

bool tune_expect(tune_expected *out, bench_device *device, uint32_t param, uint32_t value)
{
    const size_t room = sizeof out->result / sizeof out->result[0];
    *out = (tune_expected){.jobs = 0};
    for (const tune_job *job = tune_jobs; out->jobs < room && (job = next_job(job, param)); job++) {
        double error = -1;
        const size_t n = out->jobs;
        out->result[n] = result_of(device, job, value, &out->count[n], &error);
        if (out->result[n]) out->jobs++;
        if (out->result[n] && error >= 0 && error < AGREES) continue;
        fprintf(stderr, "oclora-tune: %s is wrong by %.3g of the largest\n", job->name, error);
        tune_expected_free(out);
        return false;
    }
    return out->jobs > 0;
}

void tune_expected_free(tune_expected *expected)
{
    for (size_t i = 0; i < expected->jobs; i++) free(expected->result[i]);
    *expected = (tune_expected){.jobs = 0};
}

bool tune_same_bits(const tune_expected *expected, bench_device *device, uint32_t param,
                    uint32_t value)
{
    const tune_job *job = tune_jobs;
    for (size_t i = 0; i < expected->jobs && (job = next_job(job, param)); i++, job++) {
        size_t count = 0;
        float *result = result_of(device, job, value, &count, NULL);
        const bool same = result && count == expected->count[i] &&
                          !memcmp(result, expected->result[i], count * sizeof *result);
        free(result);
        if (same) continue;
        fprintf(stderr, "oclora-tune: %s: %s = %u gives other bits\n", job->name,
                oclora_tune_infos[param].name, (unsigned)value);
        return false;
    }
    return true;
}

static bool duel(bench_duel *out, bench_device *device, const tune_job *job, const tune_step *step,
                 const bench_limits *limits)
{
    tune_work ours, peer;
    if (!tune_work_open(&ours, device, job, step->value)) return false;
    bool ok = tune_work_open(&peer, device, job, step->against);
    if (ok) {
        const bench_side a = {tune_work_run, &ours}, b = {tune_work_run, &peer};
        ok = bench_duel_run(out, &a, &b, limits);
        tune_work_close(&peer);
    }
    tune_work_close(&ours);
    return ok;
}

static oclora_panel_cut cut_of(bench_device *device, const tune_job *job, uint32_t value)
{
    oclora_context_tune(device->context, job->param, value, &device->err);
    return oclora_panel_cut_of(device->context, job->shape.weight_type, job->shape.rows);
}

/* Whether both values launch the same, as where a device takes four rows at a time and the
 * parameter is about eight: measuring it would find noise. */
static bool same_launch(bench_device *device, const tune_job *job, const tune_step *step)
{
    if (job->kind != TUNE_BASE) return false;
    const oclora_panel_cut a = cut_of(device, job, step->value);
    const oclora_panel_cut b = cut_of(device, job, step->against);
    const bool of_tile =
        job->param == OCLORA_TUNE_MATMUL_TILE_ROWS || job->param == OCLORA_TUNE_MATMUL_TILE_BYTES;
    return a.rows == b.rows && a.panels == b.panels && a.tile == b.tile && !(of_tile && a.tile);
}

bool tune_measure(tune_step *step, const tune_expected *expected, bench_device *device, bool quick)
{
    const bench_limits limits =
        quick ? (bench_limits){0.10, 5e-4, 0.05, 3, 3} : (bench_limits){0.01, 3e-3, 1.5, 9, 201};
    double sum = 0, variance = 0, least = INFINITY;
    size_t n = 0;
    if (!tune_same_bits(expected, device, step->param, step->value)) {
        step->verdict = TUNE_WRONG;
        return true;
    }
    step->verdict = TUNE_KEPT;
    step->gain = 1;
    step->noise = 0;
    for (const tune_job *job = tune_jobs; (job = next_job(job, step->param)); job++) {
        bench_duel d;
        if (same_launch(device, job, step)) continue;
        if (!duel(&d, device, job, step, &limits)) return false;
        sum += log(d.ratio);
        variance += d.noise * d.noise;
        if (d.ratio < least) least = d.ratio;
        n++;
    }
    if (n == 0) return true;
    step->gain = exp(sum / (double)n);
    step->noise = sqrt(variance) / (double)n;
    step->verdict = step->gain > 1.01 + step->noise && least > LOSES ? TUNE_TAKEN : TUNE_KEPT;
    return true;
}
