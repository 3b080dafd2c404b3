/* work.h - what the parameters of host/core/tune.h are measured on: layers, attention and
 * element-wise rows of the sizes that small and large models have, with a check of their results.
 */
#ifndef OCLORA_TUNE_WORK_H
#define OCLORA_TUNE_WORK_H

#include "host/op/ops.h"
#include "tools/bench/layer.h"

typedef enum tune_kind { TUNE_BASE, TUNE_DELTA, TUNE_ATTENTION, TUNE_ROWS, TUNE_CHAIN } tune_kind;

/* One job for one parameter. */
typedef struct tune_job {
    oclora_tune_param param;
    tune_kind kind;
    bench_shape shape; /* attention: d_in keys, rows; rows and chain: d_in elements, rows */
    const char *name;
} tune_job;

/* Ends with a job whose name is NULL. */
extern const tune_job tune_jobs[];

/* The values tried for a parameter, 0 at the end; all allowed. None: it says when something is done,
 * not how fast. */
const uint32_t *tune_candidates(oclora_tune_param param);

typedef struct tune_work {
    const tune_job *job;
    bench_device *device;
    uint32_t value; /* of the parameter, whenever this work runs */
    bench_layer layer;
    oclora_buffer *buffer;
    oclora_op_call call;
    float *host; /* of attention and rows: what the sources hold */
} tune_work;

/* False after a message. Works of several values may be open at once. */
bool tune_work_open(tune_work *out, bench_device *device, const tune_job *job, uint32_t value);
void tune_work_close(tune_work *work);

/* A bench side. */
bool tune_work_run(void *work, uint32_t repeats);

/* Runs once on cleared outputs. @return the results, `*count` of them, to be freed; NULL: failed.
 */
float *tune_work_result(tune_work *work, size_t *count);

/* Greatest difference of some hundred results from double precision over the greatest of them;
 * negative if that could not be computed. */
double tune_work_error(tune_work *work, const float *result, size_t count);

#endif
