/* suites.h - the suites. Each runs its wanted cases into the report; an exit status other than
 * BENCH_EXIT_OK means that nothing more can be measured (said on stderr). */
#ifndef OCLORA_BENCH_SUITES_H
#define OCLORA_BENCH_SUITES_H

#include "tools/bench/report.h"

int bench_kernels(bench_report *report);
void bench_kernels_list(const bench_options *options);
int bench_system(bench_report *report);
void bench_system_list(const bench_options *options);
int bench_scale(bench_report *report);
void bench_scale_list(const bench_options *options);
int bench_files(bench_report *report);
void bench_files_list(const bench_options *options);

/* Measures one kernels case in another process, pinned to the last CPU, and takes its row over. */
void bench_pinned_again(bench_report *report, const bench_case *c);

#endif
