/* pin.c - the one place that needs more than POSIX. */
#define _GNU_SOURCE
#include <sched.h>
#include <string.h>

#include "tools/bench/device.h"

bool bench_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool bench_unpin(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

_Static_assert(sizeof(bench_place) == sizeof(cpu_set_t), "a set of CPUs");

bool bench_place_get(bench_place *out)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    const bool ok = sched_getaffinity(0, sizeof set, &set) == 0;
    memcpy(out, &set, sizeof set);
    return ok;
}

bool bench_place_set(const bench_place *place)
{
    cpu_set_t set;
    memcpy(&set, place, sizeof set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool bench_place_first(bench_place *before, bool many)
{
    return many && bench_place_get(before) && bench_pin(0);
}
