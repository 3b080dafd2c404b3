/* pin.c - the one place that needs more than POSIX. */
#define _GNU_SOURCE
#include <sched.h>

#include "tools/bench/device.h"

bool bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}
