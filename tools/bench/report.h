/* report.h - the rows of a run: printed as they come, and written as JSON at the end. */
#ifndef OCLORA_BENCH_REPORT_H
#define OCLORA_BENCH_REPORT_H

#include "tools/bench/duel.h"
#include "tools/bench/options.h"

#include <jansson.h>

/* What is compared, and what is asked of it. */
typedef struct bench_case {
    const char *suite;
    const char *name;
    const char *metric; /* with its unit; of `ours` and `peer` */
    const char *peer;
    double must; /* of the ratio; 0 = information only */
    double aim;
} bench_case;

typedef struct bench_report {
    json_t *rows;
    const bench_options *options;
    char last_suite[16];
    unsigned measured;
    unsigned missing;
    unsigned below_must;
    unsigned below_aim;
} bench_report;

bool bench_report_open(bench_report *out, const bench_options *options);
/* Adds what the times say; `scale` turns seconds into the metric's unit. */
void bench_report_times(bench_report *report, const bench_case *c, const bench_duel *duel,
                        double scale);
/* Adds rates, of which more is better: `ours` and `peer` hold medians of rates. */
void bench_report_rates(bench_report *report, const bench_case *c, const bench_duel *duel);
/* A row that could not be measured, and why. */
void bench_report_missing(bench_report *report, const bench_case *c, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes over a row of another run's JSON. */
void bench_report_adopt(bench_report *report, const json_t *row);
/* A line of `--list`. */
void bench_report_list(const bench_case *c);
/* Progress, on stderr. */
void bench_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the counts, writes --json, frees. @return an exit status. */
int bench_report_close(bench_report *report);

#endif
