/* Queues, commands and events of the fake OpenCL driver. */
#include "fake_cl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void finish_event(cl_event event)
{
    pthread_mutex_lock(&event->mutex);
    event->state = CL_COMPLETE;
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->mutex);
}

static void await(cl_event event)
{
    pthread_mutex_lock(&event->mutex);
    while (event->state > CL_COMPLETE) pthread_cond_wait(&event->changed, &event->mutex);
    pthread_mutex_unlock(&event->mutex);
}

static void perform(const fake_command *c)
{
    switch (c->kind) {
    case FAKE_WRITE:
        memcpy(c->mems[0]->data + c->offset, c->from, c->bytes);
        break;
    case FAKE_READ:
        memcpy(c->to, c->mems[0]->data + c->offset, c->bytes);
        break;
    case FAKE_COPY:
        memcpy(c->mems[1]->data + c->other_offset, c->mems[0]->data + c->offset, c->bytes);
        break;
    case FAKE_FILL:
        for (size_t i = 0; i < c->bytes; i++)
            c->mems[0]->data[c->offset + i] = c->pattern[i % c->pattern_bytes];
        break;
    default:
        break;
    }
}

static void free_command(fake_command *c)
{
    for (cl_uint i = 0; i < c->n_waits; i++) fake_release_event(c->waits[i]);
    for (cl_uint i = 0; i < c->n_mems; i++) fake_release_mem(c->mems[i]);
    if (c->event != NULL) fake_release_event(c->event);
    free(c->waits);
    free(c);
}

/* Up to 60 microseconds, so that hosts see work that is not done yet. */
static void dawdle(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    if (*state >> 30 != 0) return;
    const struct timespec pause = {0, (long)(*state >> 16 & 0x3fff) * 4};
    nanosleep(&pause, NULL);
}

static void *work(void *user)
{
    cl_command_queue queue = user;
    unsigned state = (unsigned)(uintptr_t)queue >> 4;
    pthread_mutex_lock(&queue->mutex);
    while (true) {
        while (queue->done == queue->flushed && !queue->stopping)
            pthread_cond_wait(&queue->changed, &queue->mutex);
        if (queue->done == queue->flushed) break;
        fake_command *c = queue->first;
        queue->first = c->next;
        if (queue->first == NULL) queue->last = &queue->first;
        pthread_mutex_unlock(&queue->mutex);
        for (cl_uint i = 0; i < c->n_waits; i++) await(c->waits[i]);
        dawdle(&state);
        perform(c);
        if (c->event != NULL) finish_event(c->event);
        free_command(c);
        pthread_mutex_lock(&queue->mutex);
        queue->done++;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->mutex);
    return NULL;
}

static void flush_locked(cl_command_queue queue)
{
    queue->flushed = queue->enqueued;
    pthread_cond_broadcast(&queue->changed);
}

static cl_event new_event(cl_command_queue queue)
{
    cl_event event = fake_new(sizeof *event);
    event->queue = queue;
    event->state = CL_QUEUED;
    pthread_mutex_init(&event->mutex, NULL);
    pthread_cond_init(&event->changed, NULL);
    return event;
}

cl_int fake_submit(cl_command_queue queue, fake_command *command, cl_uint n_waits,
                   const cl_event *waits, cl_event *event, bool blocking)
{
    command->n_waits = n_waits;
    command->waits = calloc(n_waits + 1, sizeof *waits);
    for (cl_uint i = 0; i < n_waits; i++) {
        command->waits[i] = waits[i];
        atomic_fetch_add(&waits[i]->object.references, 1);
    }
    for (cl_uint i = 0; i < command->n_mems; i++) fake_retain_mem(command->mems[i]);
    if (event != NULL) {
        command->event = *event = new_event(queue);
        atomic_fetch_add(&command->event->object.references, 1);
    }
    pthread_mutex_lock(&queue->mutex);
    *queue->last = command;
    queue->last = &command->next;
    const uint64_t number = ++queue->enqueued;
    if (blocking) flush_locked(queue);
    while (blocking && queue->done < number) pthread_cond_wait(&queue->changed, &queue->mutex);
    pthread_mutex_unlock(&queue->mutex);
    return CL_SUCCESS;
}

static cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id device,
                                                 cl_command_queue_properties properties,
                                                 cl_int *code)
{
    const bool good = properties == 0 && device == context->device;
    if (code != NULL) *code = good ? CL_SUCCESS : CL_INVALID_VALUE;
    if (!good) return NULL;
    cl_command_queue queue = fake_new(sizeof *queue);
    queue->context = context;
    queue->last = &queue->first;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_cond_init(&queue->changed, NULL);
    fake_dispatch.clRetainContext(context);
    pthread_create(&queue->thread, NULL, work, queue);
    return queue;
}

static cl_int CL_API_CALL retain_queue(cl_command_queue queue)
{
    atomic_fetch_add(&queue->object.references, 1);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_queue(cl_command_queue queue)
{
    if (!fake_drop(&queue->object)) return CL_SUCCESS;
    pthread_mutex_lock(&queue->mutex);
    queue->stopping = true;
    flush_locked(queue);
    pthread_mutex_unlock(&queue->mutex);
    pthread_join(queue->thread, NULL);
    pthread_mutex_destroy(&queue->mutex);
    pthread_cond_destroy(&queue->changed);
    fake_dispatch.clReleaseContext(queue->context);
    free(queue);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL flush(cl_command_queue queue)
{
    pthread_mutex_lock(&queue->mutex);
    flush_locked(queue);
    pthread_mutex_unlock(&queue->mutex);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL finish(cl_command_queue queue)
{
    pthread_mutex_lock(&queue->mutex);
    const uint64_t number = queue->enqueued;
    flush_locked(queue);
    while (queue->done < number) pthread_cond_wait(&queue->changed, &queue->mutex);
    pthread_mutex_unlock(&queue->mutex);
    return CL_SUCCESS;
}

static bool outside(cl_mem mem, size_t offset, size_t bytes)
{
    return bytes == 0 || offset > mem->bytes || bytes > mem->bytes - offset;
}

static fake_command *command(int kind, cl_mem a, cl_mem b, size_t offset, size_t bytes)
{
    fake_command *c = calloc(1, sizeof *c);
    c->kind = kind;
    if (a != NULL) c->mems[c->n_mems++] = a;
    if (b != NULL) c->mems[c->n_mems++] = b;
    c->offset = offset;
    c->bytes = bytes;
    return c;
}

static cl_int CL_API_CALL write_buffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                       size_t offset, size_t bytes, const void *data,
                                       cl_uint n_waits, const cl_event *waits, cl_event *event)
{
    if (outside(mem, offset, bytes) || data == NULL) return CL_INVALID_VALUE;
    fake_command *c = command(FAKE_WRITE, mem, NULL, offset, bytes);
    c->from = data;
    return fake_submit(queue, c, n_waits, waits, event, blocking);
}

static cl_int CL_API_CALL read_buffer(cl_command_queue queue, cl_mem mem, cl_bool blocking,
                                      size_t offset, size_t bytes, void *data, cl_uint n_waits,
                                      const cl_event *waits, cl_event *event)
{
    if (outside(mem, offset, bytes) || data == NULL) return CL_INVALID_VALUE;
    fake_command *c = command(FAKE_READ, mem, NULL, offset, bytes);
    c->to = data;
    return fake_submit(queue, c, n_waits, waits, event, blocking);
}

static cl_int CL_API_CALL copy_buffer(cl_command_queue queue, cl_mem from, cl_mem to,
                                      size_t from_offset, size_t to_offset, size_t bytes,
                                      cl_uint n_waits, const cl_event *waits, cl_event *event)
{
    if (outside(from, from_offset, bytes) || outside(to, to_offset, bytes)) return CL_INVALID_VALUE;
    fake_command *c = command(FAKE_COPY, from, to, from_offset, bytes);
    c->other_offset = to_offset;
    return fake_submit(queue, c, n_waits, waits, event, false);
}

static cl_int CL_API_CALL fill_buffer(cl_command_queue queue, cl_mem mem, const void *pattern,
                                      size_t pattern_bytes, size_t offset, size_t bytes,
                                      cl_uint n_waits, const cl_event *waits, cl_event *event)
{
    if (outside(mem, offset, bytes) || pattern_bytes == 0 || pattern_bytes > 16 ||
        (offset | bytes) % pattern_bytes != 0)
        return CL_INVALID_VALUE;
    fake_command *c = command(FAKE_FILL, mem, NULL, offset, bytes);
    memcpy(c->pattern, pattern, pattern_bytes);
    c->pattern_bytes = pattern_bytes;
    return fake_submit(queue, c, n_waits, waits, event, false);
}

/* Does nothing, and keeps what it was given alive until then. */
static cl_int CL_API_CALL run_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                     const size_t *offset, const size_t *global,
                                     const size_t *local, cl_uint n_waits, const cl_event *waits,
                                     cl_event *event)
{
    (void)offset;
    for (cl_uint i = 0; i < dims; i++)
        if (global[i] == 0 || (local != NULL && global[i] % local[i] != 0))
            return CL_INVALID_WORK_GROUP_SIZE;
    fake_command *c = command(FAKE_KERNEL, NULL, NULL, 0, 0);
    for (cl_uint i = 0; i < FAKE_ARGS; i++) {
        if (kernel->mems[i] == NULL) continue;
        if (!fake_is_mem(kernel->mems[i])) {
            free(c);
            return CL_INVALID_KERNEL_ARGS;
        }
        c->mems[c->n_mems++] = kernel->mems[i];
    }
    return fake_submit(queue, c, n_waits, waits, event, false);
}

static cl_int CL_API_CALL mark(cl_command_queue queue, cl_uint n_waits, const cl_event *waits,
                               cl_event *event)
{
    return fake_submit(queue, command(FAKE_MARK, NULL, NULL, 0, 0), n_waits, waits, event, false);
}

static cl_int CL_API_CALL wait_for_events(cl_uint count, const cl_event *events)
{
    for (cl_uint i = 0; i < count; i++) {
        pthread_mutex_lock(&events[i]->mutex);
        const bool open = events[i]->state > CL_COMPLETE;
        pthread_mutex_unlock(&events[i]->mutex);
        if (open) flush(events[i]->queue); /* a waiting event's queue lives: its command is there */
        await(events[i]);
    }
    return CL_SUCCESS;
}

static cl_int CL_API_CALL event_info(cl_event event, cl_event_info what, size_t size, void *value,
                                     size_t *size_ret)
{
    (void)size_ret;
    if (what != CL_EVENT_COMMAND_EXECUTION_STATUS || size < sizeof event->state)
        return CL_INVALID_VALUE;
    pthread_mutex_lock(&event->mutex);
    memcpy(value, &event->state, sizeof event->state);
    pthread_mutex_unlock(&event->mutex);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL queue_info(cl_command_queue queue, cl_command_queue_info what,
                                     size_t size, void *value, size_t *size_ret)
{
    const cl_command_queue_properties none = 0;
    (void)size_ret;
    (void)size;
    if (what == CL_QUEUE_CONTEXT)
        memcpy(value, &queue->context, sizeof queue->context);
    else if (what == CL_QUEUE_DEVICE)
        memcpy(value, &queue->context->device, sizeof queue->context->device);
    else if (what == CL_QUEUE_PROPERTIES)
        memcpy(value, &none, sizeof none);
    else
        return CL_INVALID_VALUE;
    return CL_SUCCESS;
}

void fake_release_event(cl_event event)
{
    if (!fake_drop(&event->object)) return;
    pthread_mutex_destroy(&event->mutex);
    pthread_cond_destroy(&event->changed);
    free(event);
}

static cl_int CL_API_CALL release_event(cl_event event)
{
    fake_release_event(event);
    return CL_SUCCESS;
}

void fake_queue_calls(cl_icd_dispatch *d)
{
    d->clCreateCommandQueue = create_queue;
    d->clRetainCommandQueue = retain_queue;
    d->clReleaseCommandQueue = release_queue;
    d->clGetCommandQueueInfo = queue_info;
    d->clFlush = flush;
    d->clFinish = finish;
    d->clEnqueueWriteBuffer = write_buffer;
    d->clEnqueueReadBuffer = read_buffer;
    d->clEnqueueCopyBuffer = copy_buffer;
    d->clEnqueueFillBuffer = fill_buffer;
    d->clEnqueueNDRangeKernel = run_kernel;
    d->clEnqueueMarkerWithWaitList = mark;
    d->clEnqueueBarrierWithWaitList = mark;
    d->clWaitForEvents = wait_for_events;
    d->clGetEventInfo = event_info;
    d->clReleaseEvent = release_event;
}
