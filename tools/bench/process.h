/* process.h - other programs, run to their end. */
#ifndef OCLORA_BENCH_PROCESS_H
#define OCLORA_BENCH_PROCESS_H

#include <stddef.h>

/* Runs argv[0] with its output thrown away; what it writes to stderr goes into `err` (its end, if
 * it is long). After `limit_s` seconds it is killed. @return its exit status, -1 if it could not be
 * run or was killed. */
int bench_process_run(char *const *argv, int limit_s, char *err, size_t err_size);

#endif
