/* guard.h - bytes at the edge of memory that must not be touched. */
#ifndef OCLORA_TESTS_GUARD_H
#define OCLORA_TESTS_GUARD_H

#include "support/harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_BEHIND = 0, GUARD_BEFORE = 1 };

typedef struct guarded {
    void *base;
    size_t length;
    void *at;
} guarded;

/* A copy of `bytes` of `from` that ends where a forbidden page begins, or begins where one ends. */
static inline guarded guard(const void *from, size_t bytes, int side)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t pages = (bytes + page - 1) / page;
    guarded g = {.length = (pages + 2) * page};
    g.base = mmap(NULL, g.length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!CHECK(g.base != MAP_FAILED)) exit(1);
    char *begin = (char *)g.base + page;
    if (!CHECK_INT(mprotect(begin, pages * page, PROT_READ | PROT_WRITE), 0)) exit(1);
    g.at = side == GUARD_BEFORE ? begin : begin + pages * page - bytes;
    memcpy(g.at, from, bytes);
    return g;
}

static inline void unguard(guarded *g)
{
    munmap(g->base, g->length);
}

#endif
