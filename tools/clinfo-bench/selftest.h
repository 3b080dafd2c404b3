/* selftest.h - one case of the self-test: an operator on one shape, held to a reference in double.
 */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_SELFTEST_H
#define OCLORA_TOOLS_CLINFO_BENCH_SELFTEST_H

#include "tools/clinfo-bench/bench.h"

#include "host/op/ops.h"

enum { CASE_SOURCES = 5 };

/* How a source is filled. */
typedef enum case_fill {
    FILL_UNIFORM,  /* [-1, 1) */
    FILL_POSITIVE, /* [0.5, 1.5) */
    FILL_WIDE,     /* [-30, 30) */
    FILL_INDEX,    /* distinct whole numbers below `limit` */
    FILL_POSITION, /* 0, 3, 6, ... */
    FILL_MASK      /* 0 or -infinity; the first key of a row is open */
} case_fill;

typedef struct case_source {
    oclora_type type;
    uint64_t ne[4];
    case_fill fill;
    uint32_t limit;
} case_source;

typedef struct op_case {
    const char *kernel; /* the file of cl/ that is tested, without .cl */
    const char *name;
    bool quick; /* part of --quick */
    uint32_t op;
    uint32_t n_src;
    oclora_node_params params;
    case_source src[CASE_SOURCES];
    oclora_type dst_type;
    uint64_t dst_ne[4];
    double bound;  /* on the NMSE; 0 = exact */
    bool permuted; /* source 0 is handed over with dimensions 1 and 2 exchanged in its strides */
    bool dst_is_input; /* SET_ROWS: what the destination held stays where nothing is written */
} op_case;

/* For lists of cases. */
#define SRC(type, fill, limit, ...)                                                                \
    {                                                                                              \
        OCLORA_TYPE_##type, {__VA_ARGS__}, FILL_##fill, limit                                      \
    }
#define DST(type, ...) .dst_type = OCLORA_TYPE_##type, .dst_ne = {__VA_ARGS__}

extern const op_case bench_op_cases[];
extern const size_t bench_n_op_cases;

/* A tensor of a case: the values as stored, for the reference, and the device's view. */
typedef struct case_tensor {
    oclora_tensor view;
    float *values; /* in logical order of view.ne */
    uint64_t count;
} case_tensor;

/* The operator in double: dst[count of dst_ne]. Sources by number; absent ones have count 0. */
void bench_reference(const op_case *c, const case_tensor *src, double *dst);

typedef struct case_verdict {
    double nmse;
    uint64_t worst; /* index of the worst element */
    double got, expected;
    bool finite;   /* every output was written with a finite value where the reference is finite */
    bool in_place; /* nothing outside the output was written */
} case_verdict;

typedef struct selftest {
    bench_child *child;
    oclora_context *context;
    oclora_stream *stream;
    uint64_t random;
} selftest;

float bench_random(selftest *t); /* uniform in [-1, 1) */

/* Where an output lies: a buffer with guard bytes on both sides, all poisoned with NaN. */
enum { CASE_GUARD = 256 };
oclora_status bench_make_output(selftest *t, oclora_type type, const uint64_t *ne, case_tensor *out,
                                oclora_error *err);
oclora_status bench_make_source(selftest *t, const case_source *source, bool permuted,
                                case_tensor *out, oclora_error *err);
void bench_free_tensor(case_tensor *tensor);

/* Reads the output back and compares. */
oclora_status bench_judge(selftest *t, case_tensor *out, const double *expected,
                          case_verdict *verdict, oclora_error *err);
void bench_report_case(selftest *t, const char *kernel, const case_verdict *verdict, double bound,
                       double seconds);
/* For a case that could not run. */
void bench_report_case_error(selftest *t, const char *kernel, oclora_status status,
                             const oclora_error *err);

/* Cases that are no operators: the probe kernels and the adapted linear layer. */
void bench_probe_cases(selftest *t);
void bench_linear_cases(selftest *t);
void bench_fused_cases(selftest *t);

/* Which kernels of cl/ the cases before did not launch in this class: a gap in this program. */
void bench_report_coverage(selftest *t);

#endif
