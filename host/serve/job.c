/* One adapted linear layer in flight. */
#include "host/serve/engine.h"

#include <string.h>

struct oclora_job {
    oclora_engine *engine;
    const oclora_roster *roster; /* the caller keeps it; NULL: base alone */
    oclora_buffer *x;
    oclora_buffer *y;
    oclora_event *event;
    float *result; /* host memory to fill, NULL: y is the host's cl_mem */
    uint64_t result_bytes;
    pthread_mutex_t lock; /* of what follows; waiting threads take turns */
    bool lock_made;
    bool finished;
    oclora_error outcome;
};

static oclora_status check_spec(const oclora_engine *engine, const oclora_job_spec *spec,
                                oclora_error *err)
{
    const char *name = spec->layer->weight->name;
    if (spec->layer->engine != engine || (spec->roster != NULL && spec->roster->engine != engine))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "layer '%s' and batch belong to different contexts", name);
    if (spec->roster != NULL && spec->roster->n_rows != spec->n_rows)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "layer '%s': %u rows were given, the batch has %u", name, spec->n_rows,
                           spec->roster->n_rows);
    if (spec->flags & ~(uint32_t)OCLORA_LINEAR_DELTA_ONLY)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "layer '%s': flags %#x are not known",
                           name, spec->flags);
    if (!engine->host_context && (spec->x_mem != NULL || spec->y_mem != NULL))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "layer '%s': a cl_mem needs a context made over the host's cl_context",
                           name);
    if (spec->n_rows > 0 &&
        ((spec->x == NULL) == (spec->x_mem == NULL) || (spec->y == NULL) == (spec->y_mem == NULL)))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "layer '%s': x and y are each either host memory or a cl_mem", name);
    if (spec->roster != NULL && spec->roster->held)
        return oclora_pool_check(spec->roster->pool, spec->roster->adapters,
                                 spec->roster->n_adapters, spec->layer->weight, err);
    return OCLORA_OK;
}

/* Rows of y would be written while others still read x. */
static oclora_status check_apart(const oclora_job_spec *spec, oclora_error *err)
{
    const oclora_weight *weight = spec->layer->weight;
    const uint64_t x_bytes = (uint64_t)spec->n_rows * weight->d_in * sizeof(float);
    const uint64_t y_bytes = (uint64_t)spec->n_rows * weight->d_out * sizeof(float);
    const uint64_t low = spec->x_offset < spec->y_offset ? spec->x_offset : spec->y_offset;
    const uint64_t apart =
        spec->x_offset < spec->y_offset ? spec->y_offset - low : spec->x_offset - low;
    if (spec->x_mem == NULL || spec->x_mem != spec->y_mem ||
        apart >= (spec->x_offset < spec->y_offset ? x_bytes : y_bytes))
        return OCLORA_OK;
    return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "layer '%s': x and y overlap in one cl_mem",
                       weight->name);
}

static oclora_tensor rows_of(oclora_buffer *buffer, uint64_t offset, uint32_t width, uint32_t rows)
{
    const uint64_t row = (uint64_t)width * sizeof(float);
    const oclora_tensor tensor = {.buffer = buffer,
                                  .offset = offset,
                                  .type = OCLORA_TYPE_F32,
                                  .ne = {width, rows, 1, 1},
                                  .nb = {sizeof(float), row, row * rows, row * rows}};
    return tensor;
}

/* The device's side of x or y: memory of the job, filled if `data`, or the host's cl_mem. */
static oclora_status open_side(oclora_job *job, oclora_buffer **buffer, const void *data,
                               void *cl_mem_handle, uint64_t bytes, oclora_error *err)
{
    oclora_engine *engine = job->engine;
    if (cl_mem_handle != NULL)
        return oclora_buffer_wrap(buffer, engine->context, cl_mem_handle, err);
    OCLORA_TRY(oclora_buffer_create(buffer, engine->context, bytes, err));
    if (data == NULL) return OCLORA_OK;
    return oclora_stream_write(engine->stream, *buffer, 0, data, bytes, err);
}

static oclora_status enqueue(oclora_job *job, const oclora_job_spec *spec, oclora_error *err)
{
    oclora_engine *engine = job->engine;
    const oclora_weight *weight = spec->layer->weight;
    const oclora_roster *who = spec->roster;
    const bool delta = (spec->flags & OCLORA_LINEAR_DELTA_ONLY) != 0;
    const uint64_t x_bytes = (uint64_t)spec->n_rows * weight->d_in * sizeof(float);
    const uint64_t y_bytes = (uint64_t)spec->n_rows * weight->d_out * sizeof(float);
    OCLORA_TRY(open_side(job, &job->x, spec->x, spec->x_mem, x_bytes, err));
    OCLORA_TRY(open_side(job, &job->y, delta ? spec->y : NULL, spec->y_mem, y_bytes, err));
    const oclora_tensor x = rows_of(job->x, spec->x_offset, weight->d_in, spec->n_rows);
    const oclora_tensor y = rows_of(job->y, spec->y_offset, weight->d_out, spec->n_rows);
    const oclora_tensor bias = rows_of(spec->layer->bias, 0, weight->d_out, 1);
    OCLORA_TRY(oclora_linear(engine->stream, weight, &x, delta ? NULL : &bias, &y,
                             who == NULL ? NULL : who->lanes, who == NULL ? NULL : who->work,
                             spec->flags, err));
    job->result = spec->y;
    job->result_bytes = y_bytes;
    return oclora_stream_record(engine->stream, &job->event, err);
}

oclora_status oclora_job_submit(oclora_job **out, oclora_engine *engine,
                                const oclora_job_spec *spec, oclora_error *err)
{
    OCLORA_TRY(check_spec(engine, spec, err));
    OCLORA_TRY(check_apart(spec, err));
    oclora_job_spec own = *spec;
    if (own.x != NULL) own.x_offset = 0;
    if (own.y != NULL) own.y_offset = 0;
    oclora_job *job = oclora_alloc(&engine->env, 1, sizeof *job);
    if (job == NULL) return oclora_fail_memory(err, sizeof *job, "a piece of work");
    job->engine = engine;
    job->roster = own.roster;
    oclora_status status = OCLORA_OK;
    job->lock_made = pthread_mutex_init(&job->lock, NULL) == 0;
    if (!job->lock_made) status = oclora_fail(err, OCLORA_INTERNAL, "a mutex could not be made");
    if (own.n_rows == 0) {
        job->finished = true;
    } else if (status == OCLORA_OK) {
        pthread_mutex_lock(&engine->lock);
        status = enqueue(job, &own, err);
        /* What was enqueued before the failure may still use the job's memory. */
        if (status != OCLORA_OK) oclora_stream_finish(engine->stream, NULL);
        pthread_mutex_unlock(&engine->lock);
    }
    if (status != OCLORA_OK) {
        oclora_job_destroy(job);
        return status;
    }
    *out = job;
    return OCLORA_OK;
}

static void finish(oclora_job *job, bool deliver)
{
    oclora_engine *engine = job->engine;
    job->outcome.status = oclora_event_wait(job->event, &job->outcome);
    if (job->outcome.status == OCLORA_OK && deliver && job->result != NULL) {
        pthread_mutex_lock(&engine->read_lock);
        job->outcome.status = oclora_stream_read(engine->reader, job->y, 0, job->result,
                                                 job->result_bytes, &job->outcome);
        pthread_mutex_unlock(&engine->read_lock);
    }
    if (job->outcome.status != OCLORA_OK && job->roster != NULL && job->roster->work != NULL) {
        pthread_mutex_lock(&engine->lock);
        oclora_row_work_suspect(job->roster->work);
        pthread_mutex_unlock(&engine->lock);
    }
    job->finished = true;
}

oclora_status oclora_job_wait(oclora_job *job, oclora_error *err)
{
    pthread_mutex_lock(&job->lock);
    if (!job->finished) finish(job, true);
    const oclora_error outcome = job->outcome;
    pthread_mutex_unlock(&job->lock);
    if (outcome.status == OCLORA_OK) return OCLORA_OK;
    return oclora_fail(err, outcome.status, "%s", outcome.text);
}

oclora_status oclora_job_done(oclora_job *job, bool *done, oclora_error *err)
{
    int state = 1;
    pthread_mutex_lock(&job->lock);
    if (!job->finished) state = oclora_event_done(job->event);
    const oclora_error outcome = job->outcome;
    pthread_mutex_unlock(&job->lock);
    if (outcome.status != OCLORA_OK) return oclora_fail(err, outcome.status, "%s", outcome.text);
    if (state < 0) return oclora_fail(err, -state, "the work failed on the device");
    *done = state > 0;
    return OCLORA_OK;
}

void oclora_job_destroy(oclora_job *job)
{
    if (job == NULL) return;
    oclora_engine *engine = job->engine;
    if (job->event != NULL && !job->finished) finish(job, false);
    oclora_event_destroy(job->event);
    oclora_buffer_destroy(job->x);
    oclora_buffer_destroy(job->y);
    if (job->lock_made) pthread_mutex_destroy(&job->lock);
    oclora_release(&engine->env, job);
}
