/* options.h - the command line of oclora-bench. */
#ifndef OCLORA_BENCH_OPTIONS_H
#define OCLORA_BENCH_OPTIONS_H

#include <stdbool.h>

enum {
    BENCH_EXIT_OK = 0,
    BENCH_EXIT_MISSED = 1, /* --strict, and a "must" is not met */
    BENCH_EXIT_USAGE = 2,
    BENCH_EXIT_ENVIRONMENT = 3,
    BENCH_EXIT_STOP = -1 /* --help and the like: nothing more to do */
};

typedef struct bench_options {
    const char *program; /* argv[0] */
    const char *suite;   /* NULL = all */
    const char *name;    /* only cases whose name contains it; NULL = all */
    const char *device;
    const char *json;
    const char *svg; /* folder */
    const char *model;
    const char *work; /* folder for synthetic adapters */
    int pin;          /* CPU, -1 = not pinned */
    bool quick;
    bool strict;
    bool list;
} bench_options;

/* @return an exit status, BENCH_EXIT_OK to go on. */
int bench_options_parse(bench_options *out, int argc, char **argv);

/* Whether the case of the suite is wanted. */
bool bench_wanted(const bench_options *options, const char *suite, const char *name);

#endif
