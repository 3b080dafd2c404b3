/* meter.h - how much host memory a load takes, JSON trees included. One thread. */
#ifndef OCLORA_TESTS_METER_H
#define OCLORA_TESTS_METER_H

#include "host/core/env.h"

#include <stdbool.h>

/* Bytes that live now and the most that ever lived since oclora_meter_start. */
typedef struct oclora_meter {
    size_t live;
    size_t peak;
    size_t fail_at; /* the so-manieth oclora_alloc from now on fails, 0 = none */
    bool fail_on;   /* and all after it */
    bool failed;    /* one did */
} oclora_meter;

/* An environment that counts into `meter`; jansson's memory is counted there too, from now on and
 * for the whole process, which the meter must outlive. The peak begins anew. */
oclora_env oclora_meter_start(oclora_meter *meter);

#endif
