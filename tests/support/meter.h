/* meter.h - how much host memory a load takes, JSON trees included. One thread. */
#ifndef OCLORA_TESTS_METER_H
#define OCLORA_TESTS_METER_H

#include "host/core/env.h"

/* Bytes that live now and the most that ever lived since oclora_meter_start. */
typedef struct oclora_meter {
    size_t live;
    size_t peak;
} oclora_meter;

/* An environment that counts into `meter`; jansson's memory is counted there too, from now on and
 * for the whole process. The peak begins anew. */
oclora_env oclora_meter_start(oclora_meter *meter);

#endif
