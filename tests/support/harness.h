/* harness.h - what every test shares: CUnit set-up, a seeded generator, runtimes, error metrics. */
#ifndef OCLORA_TESTS_HARNESS_H
#define OCLORA_TESTS_HARNESS_H

#include "host/core/context.h"
#include "host/core/stream.h"

#include <CUnit/Basic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct oclora_test {
    const char *name;
    void (*run)(void);
} oclora_test;

/* Runs the tests of one suite, prints each failure, and returns the program's exit status: 0 only if
 * every check held, 77 (skipped) if no test ran because `oclora_test_skip` was called by all. */
int oclora_test_main(const char *suite, const oclora_test *tests, size_t count);

/* Marks the running test as skipped with a reason; counted and printed at the end. */
void oclora_test_skip(const char *fmt, ...) OCLORA_PRINTF(1, 2);

/* CHECK macros print both values; they record a CUnit failure and go on. */
#define CHECK(cond) oclora_check_true((cond), #cond, __FILE__, __LINE__)
#define CHECK_INT(actual, expected)                                                                \
    oclora_check_int((long long)(actual), (long long)(expected), #actual, __FILE__, __LINE__)
#define CHECK_STATUS(actual, expected, err)                                                        \
    oclora_check_status((actual), (expected), (err), #actual, __FILE__, __LINE__)
#define CHECK_OK(actual, err) CHECK_STATUS(actual, OCLORA_OK, err)
#define CHECK_LE(actual, bound)                                                                    \
    oclora_check_le((double)(actual), (double)(bound), #actual, __FILE__, __LINE__)
#define CHECK_CONTAINS(text, part) oclora_check_contains((text), (part), __FILE__, __LINE__)

bool oclora_check_true(bool holds, const char *what, const char *file, int line);
bool oclora_check_int(long long actual, long long expected, const char *what, const char *file, int line);
bool oclora_check_status(oclora_status actual, oclora_status expected, const oclora_error *err,
                         const char *what, const char *file, int line);
bool oclora_check_le(double actual, double bound, const char *what, const char *file, int line);
bool oclora_check_contains(const char *text, const char *part, const char *file, int line);

/* Environment whose log goes to stderr from WARN up; counts live allocations. */
const oclora_env *oclora_test_env(void);
long oclora_test_live_allocations(void);

/* Calls `run` once for every device of every installed OpenCL runtime (and, where `classes` says
 * so, once per device class), each with a fresh context and stream; prints which. OCLORA_TEST_DEVICE
 * limits it to devices whose "platform / name" contains that text, OCLORA_TEST_CLASS ("cpu" or "gpu")
 * to one class where both were asked for. */
typedef struct oclora_test_device {
    const oclora_device *device;
    oclora_context *context;
    oclora_stream *stream;
    uint32_t device_class;
} oclora_test_device;
enum { OCLORA_TEST_OWN_CLASS = 0, OCLORA_TEST_BOTH_CLASSES = 1 };
void oclora_test_each_device(int classes, void (*run)(const oclora_test_device *device));

/* xoshiro-style generator; the seed is printed on failure and set by OCLORA_TEST_SEED. */
uint32_t oclora_test_random(void);
float oclora_test_uniform(void); /* in [-1, 1) */
void oclora_test_fill(float *values, size_t count);
void oclora_test_poison(void *memory, size_t bytes); /* NaN pattern */

/* sum (a-b)^2 / sum b^2 with b the reference; infinity if any a is not finite. */
double oclora_test_nmse(const float *actual, const double *reference, size_t count);
/* max |a-b| / max |b|; infinity if any a is not finite. */
double oclora_test_max_error(const float *actual, const double *reference, size_t count);

#endif
