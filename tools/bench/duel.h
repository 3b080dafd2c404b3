/* duel.h - two contenders measured in turns, until the ratio is known well enough. */
#ifndef OCLORA_BENCH_DUEL_H
#define OCLORA_BENCH_DUEL_H

#include <stdbool.h>
#include <stdint.h>

enum { BENCH_ROUNDS_MAX = 501 };

/* Does its work `repeats` times and waits for the end. False ends the duel. */
typedef struct bench_side {
    bool (*run)(void *user, uint32_t repeats);
    void *user;
} bench_side;

typedef struct bench_limits {
    double confidence;    /* stop when the ratio's 95 % interval is within +- this part of it */
    double round_seconds; /* least time of one side's round */
    double seconds;       /* of the whole duel */
    uint32_t rounds_min;
    uint32_t rounds_max;
} bench_limits;

typedef struct bench_duel {
    double ours, peer;         /* medians */
    double ours_min, peer_min; /* best */
    double ratio;              /* median over rounds of peer / ours */
    double ratio_of_min;
    double noise; /* half of the interval, as a part of the ratio */
    uint32_t rounds;
} bench_duel;

double bench_now(void); /* seconds */

/* Seconds per repeat of both. */
bool bench_duel_run(bench_duel *out, const bench_side *ours, const bench_side *peer,
                    const bench_limits *limits);

/* From samples taken in turns; `rates`: more is better, so that the ratio is ours / peer. */
void bench_duel_from(bench_duel *out, const double *ours, const double *peer, uint32_t count,
                     bool rates);

/* The least seconds of a few runs of one side alone; negative if it fails. */
double bench_time_alone(const bench_side *side, double seconds);

bench_limits bench_limits_of(bool quick);

#endif
