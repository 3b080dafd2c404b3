/* loop.h - a life, told in steps, lived again and again with one thing failing in each: the first,
 * the second, ... until nothing failed any more; once only that one, once that and all after it
 * until a step says so, once that and all after it to the life's end, and in pairs. Needs the layer
 * in OPENCL_LAYERS. */
#ifndef OCLORA_TESTS_FAULT_LOOP_H
#define OCLORA_TESTS_FAULT_LOOP_H

#include "fault/layer.h"
#include "fault/memory.h"
#include "support/harness.h"

/* Where faults come from: the layer's kinds, then these. */
enum { FAULT_FROM_MEMORY = FAULT_KINDS, FAULT_FROM_SYSTEM, FAULT_FROM_HOST, FAULT_SOURCES };

typedef struct fault_life {
    const char *name;
    int steps;
    void (*begin)(void *user);
    /* Does a step, or does it again after it failed, or says that it cannot since an earlier one
     * failed; `text` (not empty after a failure) has room for 512 bytes. Results are checked in
     * here. */
    oclora_status (*step)(void *user, int number, char *text);
    bool (*is_lost)(void *user); /* whether the engine says so */
    void (*end)(void *user);     /* frees all there is */
    void *user;
    bool leaks; /* what it leaves behind is not its fault */
} fault_life;

/* What fault_plan.on says here. */
enum { FAULT_ALONE, FAULT_ON, FAULT_FOREVER };

/* How many are left out: every stride-th is failed. `pairs` are drawn at random. */
typedef struct fault_effort {
    long stride;    /* only that one */
    long stride_on; /* and all after it, until a step failed */
    long pairs;
    long stride_forever; /* and all after it, until the life is over */
} fault_effort;

/* The layer's table; NULL if there is no layer. */
const fault_layer *fault_loop_layer(void);

/* A host's allocator (abi/oclora.h), which fails as FAULT_FROM_HOST. */
void *fault_host_alloc(void *user, uint64_t size, uint64_t align);
void fault_host_release(void *user, void *memory);

/* Lives the life with faults from one source, with these OpenCL codes in turn. */
void fault_loop_run(const fault_life *life, int source, const int *codes, int n_codes,
                    const fault_effort *effort);
/* The same, each life in a process of its own; no OpenCL call may have been made in this one. */
void fault_loop_children(const fault_life *life, int source, const int *codes, int n_codes,
                         const fault_effort *effort);
/* One life; at = 0: without a fault. @return how many faults were met. */
long fault_loop_once(const fault_life *life, int source, const fault_plan *plan);
/* A life under each lie of the layer, in a process of its own: to its end, or to a refusal with a
 * status and a text. @return how many lies there were. */
int fault_loop_lies(const fault_life *life);
/* How many lives of children ended with a lost device. */
long fault_loop_lost(void);
/* Prints what all loops so far did: the last line is what the README quotes. */
void fault_loop_summary(const char *title);
bool fault_loop_full(void); /* OCLORA_TEST_FULL=1 */

#endif
