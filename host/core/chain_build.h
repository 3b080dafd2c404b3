/* chain_build.h - inside host/core: the chains of a stream by the kernels that they can run, and
 * how they come to be. Compiling one takes seconds, so it is done beside the graphs, whose launches
 * stay single until it is ready. */
#ifndef OCLORA_CORE_CHAIN_BUILD_H
#define OCLORA_CORE_CHAIN_BUILD_H

#include "host/core/chain.h"

/* One kernel that a chain may call: its name as oclora_kernel's, the kinds of its arguments. */
typedef struct oclora_chain_part {
    const char *name;
    uint32_t n_args;
    uint8_t kinds[OCLORA_CHAIN_ARGS];
    uint8_t bytes[OCLORA_CHAIN_ARGS];
} oclora_chain_part;

/* A set of the stream's kernels by ordinal. */
typedef struct oclora_chain_set {
    uint64_t words[OCLORA_CHAIN_KERNELS / 64];
} oclora_chain_set;

void oclora_chain_set_add(oclora_chain_set *set, uint32_t ordinal);

/* A chain that is ready. */
typedef struct oclora_chain_code {
    cl_kernel cl;
    uint8_t part_of[OCLORA_CHAIN_KERNELS]; /* ordinal -> the part that is that kernel */
} oclora_chain_code;

typedef struct oclora_chain_builds oclora_chain_builds;

/* `parts` by ordinal, to outlive the builds; those of a set do not change once it was used. NULL:
 * out of memory. Thread rule: the stream's. */
oclora_chain_builds *oclora_chain_builds_create(oclora_context *context,
                                                const oclora_chain_part *parts);
void oclora_chain_builds_destroy(oclora_chain_builds *builds); /* waits; NULL is allowed */

/* A graph has used the set: its chain is loaded, compiled or waited for, as CHAIN_BUILD_AT and
 * CHAIN_WAIT_AT of the tuning table have it. A failure is logged, and the set's launches stay
 * single. */
void oclora_chain_builds_note(oclora_chain_builds *builds, const oclora_chain_set *set);
/* The stream has work, a graph of whatever size: takes over what was made meanwhile. Costs next to
 * nothing. */
void oclora_chain_builds_work(oclora_chain_builds *builds);
/* NULL if none is ready that can run all of the set. Good until the next call of the two above. */
const oclora_chain_code *oclora_chain_builds_find(oclora_chain_builds *builds,
                                                  const oclora_chain_set *set);

/* What the thread that makes a chain is told meanwhile. */
typedef struct oclora_chain_news {
    atomic_bool stop;        /* nobody wants it any more */
    atomic_ullong last_work; /* when the stream last had work, oclora_chain_now */
} oclora_chain_news;

uint64_t oclora_chain_now(void); /* milliseconds of a clock that only goes on */

/* What a chain is made of. */
typedef struct oclora_chain_recipe {
    const oclora_chain_part *parts[OCLORA_CHAIN_KERNELS]; /* called by their place */
    uint32_t count;
    bool compile;                  /* also if it is not in the disk cache */
    const oclora_chain_news *news; /* NULL: the stream waits for it */
} oclora_chain_recipe;

/* chain_program.c: the kernel of cl/chain.cl linked with the parts, run once without steps, so that
 * nothing is left to its first launch. `*out` stays as it is where there is none and it is not to
 * be compiled. The context keeps the program, for the same parts in the same order. Any thread. */
oclora_status oclora_chain_make(oclora_context *context, const oclora_chain_recipe *recipe,
                                cl_kernel *out, oclora_error *err);

#endif
