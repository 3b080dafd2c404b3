/* fake_cl.h - inside of the fake OpenCL driver. Its buffers are host memory, its kernels do
 * nothing, and every queue has a thread that does the commands late, in order, and not before
 * somebody flushes: a host that relies on luck meets a data race (ThreadSanitizer) or waits for
 * ever. */
#ifndef OCLORA_TESTS_FAKE_CL_H
#define OCLORA_TESTS_FAKE_CL_H

#include <CL/cl.h>
#include <CL/cl_icd.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAKE_DEVICES = 2, FAKE_ARGS = 64 };

/* Every object begins with the dispatch table, as the loader wants it. */
typedef struct fake_object {
    cl_icd_dispatch *dispatch;
    atomic_int references;
} fake_object;

struct _cl_platform_id {
    cl_icd_dispatch *dispatch;
};
struct _cl_device_id {
    cl_icd_dispatch *dispatch;
    unsigned number;
};
struct _cl_context {
    fake_object object;
    cl_device_id device;
};
struct _cl_mem {
    fake_object object;
    cl_context context;
    size_t bytes;
    unsigned char *data;
    struct _cl_mem *next; /* of the list of live ones */
};
struct _cl_program {
    fake_object object;
    cl_context context;
};
struct _cl_kernel {
    fake_object object;
    cl_program program;
    cl_mem mems[FAKE_ARGS]; /* arguments that are buffers; not retained, as OpenCL has it */
};
struct _cl_event {
    fake_object object;
    cl_command_queue queue;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    cl_int state;
};

typedef struct fake_command {
    struct fake_command *next;
    enum { FAKE_MARK, FAKE_WRITE, FAKE_READ, FAKE_COPY, FAKE_FILL, FAKE_KERNEL } kind;
    cl_mem mems[FAKE_ARGS]; /* retained */
    cl_uint n_mems;
    size_t offset, other_offset, bytes;
    const void *from;
    void *to;
    unsigned char pattern[16];
    size_t pattern_bytes;
    cl_event *waits; /* retained */
    cl_uint n_waits;
    cl_event event; /* retained */
} fake_command;

struct _cl_command_queue {
    fake_object object;
    cl_context context;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    fake_command *first, **last;
    uint64_t enqueued, flushed, done;
    bool stopping;
};

extern cl_icd_dispatch fake_dispatch;
extern atomic_long fake_live; /* objects */

/* A zeroed object with one reference. */
void *fake_new(size_t size);
bool fake_drop(fake_object *object); /* true: that was the last reference; the caller frees */
void fake_retain_mem(cl_mem mem);
void fake_release_mem(cl_mem mem);
void fake_release_event(cl_event event);
/* Whether `value` is a live buffer: an argument of 8 bytes may be one. */
bool fake_is_mem(const void *value);

/* What the clGet...Info calls give back. */
cl_int fake_answer(const void *value, size_t bytes, size_t size, void *out, size_t *size_ret);
cl_int fake_text(const char *value, size_t size, void *out, size_t *size_ret);

/* programs.c */
void fake_program_calls(cl_icd_dispatch *dispatch);
/* queue.c */
cl_int fake_submit(cl_command_queue queue, fake_command *command, cl_uint n_waits,
                   const cl_event *waits, cl_event *event, bool blocking);
void fake_queue_calls(cl_icd_dispatch *dispatch);

#endif
