/* options.h - the command line of clinfo-bench. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_OPTIONS_H
#define OCLORA_TOOLS_CLINFO_BENCH_OPTIONS_H

#include "tools/clinfo-bench/bench.h"

/* @return -1 to go on, else the exit status (help and version are 0). */
int bench_parse_options(bench_options *options, int argc, char **argv);
void bench_print_usage(FILE *out);

#endif
