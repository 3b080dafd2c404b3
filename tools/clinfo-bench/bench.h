/* bench.h - what the parts of clinfo-bench share.
 *
 * The program runs twice: the parent never calls OpenCL; it starts itself again once per step
 * (`--step NAME --device N`), reads one JSON object a line from descriptor 3, and writes the
 * report. So a driver that crashes, hangs or calls abort() costs one item, not the report. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_BENCH_H
#define OCLORA_TOOLS_CLINFO_BENCH_BENCH_H

#include "host/core/context.h"
#include "host/core/stream.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum { BENCH_FORMAT_VERSION = 1, BENCH_RESULT_FD = 3 };
enum { BENCH_CACHED_BYTES = 2 << 20 };
enum { BENCH_QUICK = 0, BENCH_STANDARD = 1, BENCH_FULL = 2 };

/* Exit status of the program. */
enum {
    BENCH_EXIT_PASS = 0,
    BENCH_EXIT_DEGRADED = 1, /* works, but something failed its test and must not be used */
    BENCH_EXIT_UNUSABLE = 2, /* no device, or the engine's basic kernels do not work */
    BENCH_EXIT_TOOL = 3      /* bad usage, unknown device, unreadable or unwritable file */
};

typedef struct bench_options {
    const char *device; /* selector, NULL = every device */
    const char *json;
    const char *markdown; /* "-" = stdout */
    const char *svg;
    const char *compare;
    int mode;         /* BENCH_QUICK ... */
    bool list;        /* only list devices */
    double limit_s;   /* 0 = each step's own */
    const char *step; /* internal: run this step as the child */
    uint32_t step_device;
    uint32_t step_from; /* internal: skip the items before this one */
    const char *only;   /* run only items whose name contains this text */
} bench_options;

/* The child's side of one step. */
typedef struct bench_child {
    oclora_env env;
    oclora_device device;
    FILE *out;
    int mode;
    uint32_t from;
    uint32_t next_item;
    const char *only;
    uint32_t device_class; /* of the step */
    char item[160];        /* announced last */
} bench_child;

/* One step. `run` announces each item with bench_begin before touching the driver. */
typedef struct bench_step {
    const char *name; /* also the report's section */
    const char *title;
    uint32_t device_class; /* OCLORA_CLASS_*: which variants, 0 = the device's own */
    double limit_s;        /* for one item */
    oclora_status (*run)(bench_child *child, oclora_error *err);
} bench_step;
extern const bench_step bench_steps[];
extern const size_t bench_n_steps;
const bench_step *bench_find_step(const char *name);

/* Announces item `name`. @return false if it is to be skipped (already done, or not asked for). */
bool bench_begin(bench_child *child, const char *name);
/* The same for a case of `kernel`, so that a crash in it can be laid at the kernel's door. */
bool bench_begin_case(bench_child *child, const char *name, const char *kernel);
/* Sends the result of the item announced last; takes `item`, adds its name. `status` is one of
 * pass, fail, skip, info, error. */
void bench_result(bench_child *child, const char *status, json_t *item, const char *detail_fmt, ...)
    OCLORA_PRINTF(4, 5);
/* The child's main: the exit status. */
int bench_child_main(const bench_options *options);

/* Seconds of a clock that never goes back. */
double bench_now(void);

/* Steps (one file each). */
oclora_status bench_step_list(bench_child *child, oclora_error *err);
oclora_status bench_step_identity(bench_child *child, oclora_error *err);
oclora_status bench_step_probes(bench_child *child, oclora_error *err);
oclora_status bench_step_memory(bench_child *child, oclora_error *err);
oclora_status bench_step_selftest(bench_child *child, oclora_error *err);
oclora_status bench_step_speed(bench_child *child, oclora_error *err);
oclora_status bench_step_kernels(bench_child *child, oclora_error *err);

#endif
