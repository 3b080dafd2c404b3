/* tune.h - oclora-tune's run: every value of every parameter against the best so far. */
#ifndef OCLORA_TUNE_TUNE_H
#define OCLORA_TUNE_TUNE_H

#include "tools/tune/progress.h"
#include "tools/tune/work.h"

typedef struct tune_options {
    const char *device;
    const char *param; /* only this one, or NULL */
    const char *state; /* where progress is kept; NULL: in the cache folder */
    uint32_t device_class;
    bool quick, dry_run, restart, reset, list, json;
} tune_options;

enum { TUNE_EXIT_OK, TUNE_EXIT_WRONG, TUNE_EXIT_USAGE, TUNE_EXIT_ENVIRONMENT };
enum { TUNE_PARSED = -1 };

/* TUNE_PARSED, or an exit status. */
int tune_options_parse(tune_options *out, int argc, char **argv);

/* @return an exit status. */
int tune_run(const tune_options *options);

/* One step: `value` against `against`, whose results `expected` holds, one array a job of the
 * parameter (see tune_expect). */
typedef struct tune_expected {
    float *result[8];
    size_t count[8];
    size_t jobs;
} tune_expected;

/* The results with the table's value, after a check in double precision. False: one is wrong, or
 * could not be computed. */
bool tune_expect(tune_expected *out, bench_device *device, uint32_t param, uint32_t value);
void tune_expected_free(tune_expected *expected);
/* Whether the value gives the very same bits. */
bool tune_same_bits(const tune_expected *expected, bench_device *device, uint32_t param,
                    uint32_t value);
/* False: it could not be measured. */
bool tune_measure(tune_step *step, const tune_expected *expected, bench_device *device, bool quick);

#endif
