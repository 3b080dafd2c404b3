/* model.h - what the callers of a pool may observe, kept beside it while several threads call it.
 *
 * A call is booked before it begins and after it ends; in between, others may run. What is certain
 * then (a use whose acquire ended and whose release has not begun) and what is possible (a removal
 * in flight) decide which results the call may have. Where no other call met it, that is one. */
#ifndef OCLORA_TESTS_POOL_MODEL_H
#define OCLORA_TESTS_POOL_MODEL_H

#include "images.h"

#include <pthread.h>

enum { MODEL_NAMES = 16 };

typedef struct model_name {
    oclora_adapter_handle handle; /* of the last adapter of this name */
    image_spec spec;
    bool live;          /* no removal of it has ended well */
    uint32_t held;      /* certain uses */
    uint32_t pins;      /* certain pins */
    uint32_t in_flight; /* calls that may change what is known here */
    uint32_t removing;  /* of these, removals */
    uint64_t began;     /* such calls ever, and of these: */
    uint64_t removals;
    uint64_t drops; /* releases and unpins */
} model_name;

typedef struct model_dead {
    oclora_adapter_handle handle;
    uint64_t when;
} model_dead;

typedef struct model {
    pthread_mutex_t lock;
    model_name names[MODEL_NAMES];
    model_dead *dead; /* hash table: handles whose removal ended well */
    uint64_t clock;
} model;

typedef enum model_kind { MODEL_LOOK, MODEL_LOAD, MODEL_USE, MODEL_DROP, MODEL_REMOVE } model_kind;

/* One call's share in one name. */
typedef struct model_call {
    model *of;
    uint32_t name;
    model_kind kind;
    uint64_t when;
    model_name before; /* as the call began, itself left out */
    model_name after;  /* as it ended, its result left out */
} model_call;

bool model_open(model *m);
void model_close(model *m);

model_call model_begin(model *m, uint32_t name, model_kind kind);
/* As above for a release or an unpin: what it gives up is not certain from here on. */
model_call model_drop(model *m, uint32_t name, uint32_t held, uint32_t pins);
/* Of one call's shares; leaves the model locked, for the result to be booked, until model_done. */
void model_end(model_call *calls, uint32_t count);
void model_done(model_call *calls);

bool model_quiet(const model_call *call);       /* no other call met this one */
bool model_may_be_gone(const model_call *call); /* a removal had ended or may have */
bool model_may_be_idle(const model_call *call); /* not certainly in use all the time */
bool model_may_be_busy(const model_call *call); /* not certainly unused all the time */

/* Results, booked between end and done. False: no order of the calls gives this result. */
bool model_loaded(model_call *call, const image_spec *spec, oclora_status status,
                  oclora_adapter_handle handle);
bool model_removed(model_call *call, oclora_status status, bool held_by_caller);
/* For each name of an acquire or pin that ended well. */
bool model_taken(model_call *call, uint32_t held, uint32_t pins);

#endif
