#include "tools/bench/duel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM_RUNS = 3, REPEATS_MAX = 4096 };

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bench_limits bench_limits_of(bool quick)
{
    return quick ? (bench_limits){0.10, 1e-3, 0.5, 5, 7}
                 : (bench_limits){0.015, 3e-3, 3, 15, BENCH_ROUNDS_MAX};
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *sorted, uint32_t count)
{
    return (sorted[count / 2] + sorted[(count - 1) / 2]) / 2;
}

/* The interval is that of the order statistics: no shape of the noise is assumed. */
static void summarise_ratios(bench_duel *d, double *ratios, uint32_t count)
{
    qsort(ratios, count, sizeof *ratios, compare);
    d->ratio = median_of(ratios, count);
    double reach = 0.98 * sqrt((double)count);
    double low = floor((double)count / 2 - reach), high = ceil((double)count / 2 + reach);
    uint32_t first = low > 0 ? (uint32_t)low : 0;
    uint32_t last = high < count - 1 ? (uint32_t)high : count - 1;
    d->noise = d->ratio > 0 ? (ratios[last] - ratios[first]) / 2 / d->ratio : 0;
}

void bench_duel_from(bench_duel *out, const double *ours, const double *peer, uint32_t count,
                     bool rates)
{
    double a[BENCH_ROUNDS_MAX], b[BENCH_ROUNDS_MAX], ratios[BENCH_ROUNDS_MAX];
    memset(out, 0, sizeof *out);
    if (count > BENCH_ROUNDS_MAX) count = BENCH_ROUNDS_MAX;
    if (!count) return;
    for (uint32_t i = 0; i < count; i++) ratios[i] = rates ? ours[i] / peer[i] : peer[i] / ours[i];
    memcpy(a, ours, count * sizeof *a);
    memcpy(b, peer, count * sizeof *b);
    qsort(a, count, sizeof *a, compare);
    qsort(b, count, sizeof *b, compare);
    out->ours = median_of(a, count);
    out->peer = median_of(b, count);
    out->ours_min = a[rates ? count - 1 : 0];
    out->peer_min = b[rates ? count - 1 : 0];
    out->ratio_of_min = rates ? out->ours_min / out->peer_min : out->peer_min / out->ours_min;
    out->rounds = count;
    summarise_ratios(out, ratios, count);
}

double bench_time_alone(const bench_side *side, double seconds)
{
    double best = -1, end = bench_now() + seconds;
    for (uint32_t i = 0; i < WARM_RUNS || bench_now() < end; i++) {
        double began = bench_now();
        if (!side->run(side->user, 1)) return -1;
        double took = bench_now() - began;
        if (best < 0 || took < best) best = took;
    }
    return best;
}

static uint32_t repeats_for(const bench_side *side, double round_seconds)
{
    double once = bench_time_alone(side, round_seconds);
    if (once < 0) return 0;
    double count = once > 0 ? ceil(round_seconds / once) : REPEATS_MAX;
    return count < 1 ? 1 : count > REPEATS_MAX ? REPEATS_MAX : (uint32_t)count;
}

/* The other side's idle threads may spin for milliseconds before they sleep, and it has just had
 * the caches: a pause and one untimed run first. */
static double time_round(const bench_side *side, uint32_t repeats)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    nanosleep(&pause, NULL);
    if (!side->run(side->user, 1)) return -1;
    double began = bench_now();
    if (!side->run(side->user, repeats)) return -1;
    return (bench_now() - began) / repeats;
}

bool bench_duel_run(bench_duel *out, const bench_side *ours, const bench_side *peer,
                    const bench_limits *limits)
{
    double a[BENCH_ROUNDS_MAX], b[BENCH_ROUNDS_MAX], end = bench_now() + limits->seconds;
    uint32_t repeats_a = repeats_for(ours, limits->round_seconds);
    uint32_t repeats_b = repeats_for(peer, limits->round_seconds);
    if (!repeats_a || !repeats_b) return false;
    for (uint32_t n = 0; n < limits->rounds_max; n++) {
        bool first = n % 2 == 0;
        if (first) a[n] = time_round(ours, repeats_a);
        b[n] = time_round(peer, repeats_b);
        if (!first) a[n] = time_round(ours, repeats_a);
        if (a[n] < 0 || b[n] < 0) return false;
        if (n + 1 < limits->rounds_min) continue;
        bench_duel_from(out, a, b, n + 1, false);
        if (out->noise <= limits->confidence || bench_now() > end) return true;
    }
    return true;
}
