#include "host/core/breathe.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

enum { BREATH_NS = 300000 };

static int64_t now_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void oclora_breathe(void)
{
    static _Thread_local int64_t last;
    if (now_ns() - last < BREATH_NS) return;
    sched_yield();
    last = now_ns();
}
