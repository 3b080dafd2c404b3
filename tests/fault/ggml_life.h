/* ggml_life.h - the lives of a host of the ggml plugin, in steps: its registry from load to unload,
 * and a session from its creation over weights, adapters, a map and graphs to its end. What went
 * wrong in calls that have no status is in the host's log. */
#ifndef OCLORA_TESTS_FAULT_GGML_LIFE_H
#define OCLORA_TESTS_FAULT_GGML_LIFE_H

#include "abi/oclora_ggml.h"
#include "fault/loop.h"

#include <ggml-backend.h>
#include <ggml.h>

enum { D_IN = 96, D_OUT = 80, DOWN_IN = 160, ROWS = 3, CELLS = 8, STREAMS = 4 };

typedef struct ggml_life {
    void *library;
    ggml_backend_reg_t reg;
    const oclora_ggml_api *api;
    oclora_ggml_session *session;
    struct ggml_context *ctx;
    struct ggml_tensor *q, *down;
    ggml_backend_buffer_t buffer;
    ggml_backend_t backend;
    bool mapped;   /* the last map was accepted */
    bool poisoned; /* an upload or a download failed */
    bool opened;   /* a backend was made: the device has a context */
    bool lost, tried;
    bool known[2];
    bool loosely; /* another device may add up in another order */
    float x[ROWS * D_IN];
    float expected[2][ROWS * D_OUT];
} ggml_life;

/* Sends ggml's log here and writes the model's metadata; false on failure. */
bool ggml_life_start(ggml_life *l);
void ggml_life_finish(void);

fault_life ggml_registry_life(ggml_life *l);
fault_life ggml_session_life(ggml_life *l); /* under a registry that is open */
/* Both, one in the other. */
fault_life ggml_whole_life(ggml_life *l);
/* The registry up to its table; false on failure. */
bool ggml_life_open(ggml_life *l);
void ggml_life_close(ggml_life *l);

#endif
