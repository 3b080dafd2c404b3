/* chain.h - inside host/core: launches kept back to run many in one kernel, see
 * oclora_stream_chain_begin. Enqueuing a kernel costs a CPU runtime 3 to 40 us, most of it waking
 * threads; one token of a small model takes some 270 launches of about as long. */
#ifndef OCLORA_CORE_CHAIN_H
#define OCLORA_CORE_CHAIN_H

#include "host/core/cl.h"

enum {
    OCLORA_CHAIN_KERNELS = 128, /* of a stream that may run in chains; later ones never do */
    OCLORA_CHAIN_ARGS = 48,     /* of one launch */
    OCLORA_CHAIN_BUFFERS = 24,  /* of one chain; cl/chain.cl has as many arguments */
    OCLORA_CHAIN_LAUNCH_ARGS = 4 + OCLORA_CHAIN_BUFFERS
};

/* A launch as it was asked for; nothing in it is owned. */
typedef struct oclora_launch {
    const oclora_kernel *kernel;
    const oclora_arg *args;
    uint32_t n_args;
    uint32_t dims;
    const size_t *global;
    const size_t *local;
} oclora_launch;

/* Whether the launch is to be added. `chain` may be NULL. */
bool oclora_chain_takes(const oclora_chain *chain, const oclora_launch *launch);
oclora_status oclora_chain_add(oclora_stream *stream, const oclora_launch *launch,
                               oclora_error *err);
/* Enqueues what was added, if anything, as a chain or one by one. Nothing is kept back after it,
 * also when it fails. */
oclora_status oclora_chain_submit(oclora_stream *stream, oclora_error *err);
bool oclora_chain_has_run(const oclora_chain *chain); /* `chain` may be NULL */
void oclora_chain_destroy(oclora_chain *chain);       /* NULL is allowed */

/* `args`: OCLORA_CHAIN_LAUNCH_ARGS of cl/chain.cl. */
oclora_status oclora_chain_enqueue(oclora_stream *stream, cl_kernel chain, const oclora_arg *args,
                                   oclora_error *err);

#endif
