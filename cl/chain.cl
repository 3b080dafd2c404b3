/* chain.cl - many launches in one kernel. CPU class only.
 *
 * The host lists the launches as steps; the kernels they call are compiled as functions (host/core/
 * chain_program.c) and linked to this one. Each work-group, of one item, is a worker: it takes runs of
 * a step's items until none is left, then waits until the other workers have done those that they took,
 * and goes on to the next step. A worker waits only for items that another one has begun, so nothing
 * depends on how many of them run at a time: one alone does everything. One that waited long leaves:
 * the other has been interrupted, maybe for want of the very core that the waiting would keep busy.
 *
 * Preconditions: state is zero; no kernel uses local memory across items or a barrier; plain stores
 * become visible to other workers in the order of the program around an atomic operation (x86). */
#ifndef OCLORA_CLASS_GPU

#ifndef CHAIN_PARTS
#define CHAIN_PARTS(X) /* X(0) X(1) ... */
#endif

/* host/core/chain.c: chain_step */
typedef struct chain_step {
    uint kernel_index, first_arg, items, run;
    uint size[4];
} chain_step;

#define CHAIN_ARGS                                                                                 \
    const uint *item, const uint *size, __global const ulong *args, __global uchar *const *buffers
#define CHAIN_DECLARE(i) void oclora_chain_part_##i(CHAIN_ARGS);
#define CHAIN_CALL(i)                                                                              \
    case i: oclora_chain_part_##i(item, step.size, args, buffers); break;

CHAIN_PARTS(CHAIN_DECLARE)

enum {
    STATE_STRIDE = 16, /* a cache line a step */
    TAKEN = 0,
    DONE = 8,
    PATIENCE = 1 << 17 /* looks, some 0.2 ms */
};

static void run_items(const chain_step step, uint first, uint end, __global const ulong *args,
                      __global uchar *const *buffers)
{
    for (uint i = first; i < end; i++) {
        uint item[3] = {i % step.size[0], i / step.size[0] % step.size[1],
                        i / step.size[0] / step.size[1]};
        switch (step.kernel_index) {
            CHAIN_PARTS(CHAIN_CALL)
        default:
            break;
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(float16))) void
chain(__global uchar *list, uint n_steps, uint args_offset, uint state_offset, __global uchar *b1,
      __global uchar *b2, __global uchar *b3, __global uchar *b4, __global uchar *b5,
      __global uchar *b6, __global uchar *b7, __global uchar *b8, __global uchar *b9,
      __global uchar *b10, __global uchar *b11, __global uchar *b12, __global uchar *b13,
      __global uchar *b14, __global uchar *b15, __global uchar *b16, __global uchar *b17,
      __global uchar *b18, __global uchar *b19, __global uchar *b20, __global uchar *b21,
      __global uchar *b22, __global uchar *b23, __global uchar *b24)
{
    __global uchar *const buffers[25] = {0,   b1,  b2,  b3,  b4,  b5,  b6,  b7,  b8,
                                         b9,  b10, b11, b12, b13, b14, b15, b16, b17,
                                         b18, b19, b20, b21, b22, b23, b24};
    __global const chain_step *steps = (__global const chain_step *)list;
    __global const ulong *args = (__global const ulong *)(list + args_offset);
    volatile __global uint *state = (volatile __global uint *)(list + state_offset);
    for (uint s = 0; s < n_steps; s++, state += STATE_STRIDE) {
        const chain_step step = steps[s];
        uint done = 0;
        for (;;) {
            uint first = atomic_add(state + TAKEN, step.run);
            if (first >= step.items) break;
            uint end = min(first + step.run, step.items);
            run_items(step, first, end, args + step.first_arg, buffers);
            done += end - first;
        }
        mem_fence(CLK_GLOBAL_MEM_FENCE);
        if (done) atomic_add(state + DONE, done);
        for (uint waited = 0; state[DONE] != step.items; waited++)
            if (waited == PATIENCE) return;
        mem_fence(CLK_GLOBAL_MEM_FENCE);
    }
}
#endif
