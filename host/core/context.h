/* context.h - one OpenCL context on one device: owner of programs, parent of buffers and streams. */
#ifndef OCLORA_CORE_CONTEXT_H
#define OCLORA_CORE_CONTEXT_H

#include "host/core/tune.h"

#include <stdbool.h>

typedef struct oclora_context oclora_context;
typedef struct oclora_buffer oclora_buffer;

typedef struct oclora_context_options {
    uint32_t device_class; /* OCLORA_CLASS_AUTO, or force the CPU or GPU variants (tests do) */
    const char *cache_dir; /* program binaries; NULL = $OCLORA_CACHE_DIR, else
                              $XDG_CACHE_HOME/oclora/programs or ~/.cache/oclora/programs; "" = no
                              disk cache */
    void *cl_context;      /* a host's own cl_context, retained; NULL = create one */
    void (*drivers_work)(void); /* called by a thread of the context's own while another has the
                                   driver compile, every half millisecond until a first chain is
                                   compiled, then every 20; NULL = nobody wants to know */
    uint32_t ignore_quirks; /* not 0: nothing known or found to be wrong is acted upon (self-tests) */
} oclora_context_options;

/* `options` may be NULL. DEVICE_REFUSED: the driver is known to be broken (the text says by whom). The
 * context's device may lack features and memory of the given one, see quirks.h. Destroy every child (buffers, streams, pools) before the context. */
oclora_status oclora_context_create(oclora_context **out, const oclora_env *env,
                                    const oclora_device *device,
                                    const oclora_context_options *options, oclora_error *err);
void oclora_context_destroy(oclora_context *context); /* NULL is allowed */

const oclora_env *oclora_context_env(const oclora_context *context);
const oclora_device *oclora_context_device(const oclora_context *context);
uint32_t oclora_context_class(const oclora_context *context); /* OCLORA_CLASS_CPU or _GPU */

/* Whether a kernel may be launched: false if a quirk of the driver, or a failed self-test of
 * clinfo-bench on this device, says that it computes wrong values. Launching it all the same is
 * NOT_SUPPORTED. `defines` as in oclora_kernel_ref. OCLORA_IGNORE_QUIRKS=1 in the environment lifts
 * everything, with a warning. */
bool oclora_context_kernel_enabled(const oclora_context *context, const char *file,
                                   const char *defines);

/* How kernels are launched here, see tune.h. 0: not a parameter of the context's class. Any thread. */
uint32_t oclora_context_tuned(const oclora_context *context, oclora_tune_param param);
/* For oclora-tune and tests; not while another thread uses the context. INVALID_ARGUMENT: the value is
 * not allowed. */
oclora_status oclora_context_tune(oclora_context *context, oclora_tune_param param, uint32_t value,
                                  oclora_error *err);

/* A number that no other call for this context gives (before 2^32 calls). Any thread. */
uint32_t oclora_context_mark(oclora_context *context);

/* For a process that exits while objects live, in the middle of what a driver does for a thread of the
 * context's own (chains): these threads end, and none begins. To be called before the driver's own
 * exit handlers, which compiling registers at any time: hence `drivers_work`. An exit between such a
 * registration and the next call of it can still meet destroyed objects of the driver. */
void oclora_context_quiet(oclora_context *context);

/* OCLORA_OK, or DEVICE_LOST once any call reported a dead device. Any thread. */
oclora_status oclora_context_health(const oclora_context *context, oclora_error *err);

/* Device memory of `bytes` (> 0, at most the device's largest allocation). Contents are undefined.
 * Thread rule: create and destroy from any thread; contents move through streams. */
oclora_status oclora_buffer_create(oclora_buffer **out, oclora_context *context, uint64_t bytes,
                                   oclora_error *err);
/* Wraps a host's cl_mem (retained). */
oclora_status oclora_buffer_wrap(oclora_buffer **out, oclora_context *context, void *cl_mem_handle,
                                 oclora_error *err);
void oclora_buffer_destroy(oclora_buffer *buffer); /* NULL is allowed */
uint64_t oclora_buffer_bytes(const oclora_buffer *buffer);

#endif
