/* growth.h - time against distinct adapters, rank and rows, with the byte or flop bound beside. */
#ifndef OCLORA_BENCH_GROWTH_H
#define OCLORA_BENCH_GROWTH_H

#include "tools/bench/device.h"
#include "tools/bench/report.h"

bool bench_growth_wanted(const bench_options *options);
void bench_growth_list(const bench_options *options);
void bench_growth(bench_report *report, bench_device *device);

#endif
