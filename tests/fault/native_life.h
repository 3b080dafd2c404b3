/* native_life.h - the life of a host program on the native ABI, in steps. */
#ifndef OCLORA_TESTS_FAULT_NATIVE_LIFE_H
#define OCLORA_TESTS_FAULT_NATIVE_LIFE_H

#include "fault/loop.h"
#include "plugin/world.h"

enum { LIFE_ROWS = 4, LIFE_STEPS = 18 };

typedef struct native_life {
    world w;
    char device[128];
    bool callbacks; /* the host's own allocator */
    void *cl[4];    /* the host's own cl_context, cl_device_id, cl_command_queue, and x in a
                       cl_mem; or NULL */
    uint32_t done;  /* which steps succeeded */
    oclora_adapter_t other;
    oclora_batch_t *batch;
    oclora_event_t *event;
    float x[LIFE_ROWS * Q_IN];
    float y[LIFE_ROWS * Q_OUT];
    /* Results of "lora" and "rslora"; what the first life finds is what the others must find. */
    bool known[2];
    float expected[2][LIFE_ROWS * Q_OUT];
} native_life;

fault_life native_life_of(native_life *l);

#endif
