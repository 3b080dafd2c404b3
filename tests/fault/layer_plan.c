/* Which call of the layer is hit, and what it leaves behind. */
#include "layer_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { QUEUES = 32, EVENTS = 64, ARGUMENTS = 64 };

static atomic_long calls, failures, live, asked, at, also;
static atomic_int armed, kind_of_plan, code_of_plan, on;
static const char *_Atomic last;

/* What follows is guarded by the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cl_command_queue spoilt[QUEUES];
static cl_event failed[EVENTS];
static size_t failed_next;
static cl_mem hollow;
static struct {
    cl_kernel kernel;
    cl_uint index;
} hollow_arguments[ARGUMENTS];
static cl_event gate;

static void arm(const fault_plan *plan)
{
    pthread_mutex_lock(&lock);
    memset(spoilt, 0, sizeof spoilt);
    memset(failed, 0, sizeof failed);
    memset(hollow_arguments, 0, sizeof hollow_arguments);
    hollow = NULL;
    pthread_mutex_unlock(&lock);
    atomic_store(&at, plan->at);
    atomic_store(&also, plan->also);
    atomic_store(&on, plan->on);
    atomic_store(&kind_of_plan, plan->kind);
    atomic_store(&code_of_plan, plan->code);
    atomic_store(&calls, 0);
    atomic_store(&failures, 0);
    atomic_store(&last, NULL);
    atomic_store(&armed, 1);
}

/* What was left out before stays left out: its events and queues still tell. */
static void disarm(void)
{
    atomic_store(&armed, 0);
}
static long count_calls(void)
{
    return atomic_load(&calls);
}
static long count_failures(void)
{
    return atomic_load(&failures);
}
static long count_live(void)
{
    return atomic_load(&live);
}
static long count_asked(void)
{
    return atomic_load(&asked);
}
static const char *last_hit(void)
{
    const char *name = atomic_load(&last);
    return name != NULL ? name : "nothing";
}

static int hits(int kind, const char *name)
{
    if (!atomic_load(&armed) || atomic_load(&kind_of_plan) != kind) return 0;
    const long n = atomic_fetch_add(&calls, 1) + 1, first = atomic_load(&at);
    if (first == 0 || (n != first && n != atomic_load(&also) && !(atomic_load(&on) && n > first)))
        return 0;
    if (atomic_fetch_add(&failures, 1) == 0) atomic_store(&last, name);
    return 1;
}

int fault_hits(int kind, const char *name)
{
    if (kind == FAULT_CALL) atomic_fetch_add(&asked, 1);
    return hits(kind, name);
}
int fault_hits_release(const char *name)
{
    return hits(FAULT_CALL, name);
}
cl_int fault_code(void)
{
    return atomic_load(&code_of_plan);
}
void fault_count(int by)
{
    atomic_fetch_add(&live, by);
}

/* The place of a queue in the list of those whose work failed, or a free one. */
static cl_command_queue *place_of(cl_command_queue queue)
{
    for (size_t i = 0; i < QUEUES; i++)
        if (spoilt[i] == queue) return &spoilt[i];
    for (size_t i = 0; i < QUEUES; i++)
        if (spoilt[i] == NULL) return &spoilt[i];
    return &spoilt[0];
}

void fault_spoil(cl_command_queue queue)
{
    pthread_mutex_lock(&lock);
    *place_of(queue) = queue;
    pthread_mutex_unlock(&lock);
}

/* What comes after failed work in its queue is not done either, until the failure was told. */
int fault_leaves_out(cl_command_queue queue, const char *name)
{
    if (hits(FAULT_LATER, name) || hits(FAULT_SILENT, name)) {
        fault_spoil(queue);
        return 1;
    }
    pthread_mutex_lock(&lock);
    const int spoils = *place_of(queue) == queue;
    pthread_mutex_unlock(&lock);
    return spoils;
}

cl_int fault_waited(cl_command_queue queue)
{
    if (atomic_load(&kind_of_plan) != FAULT_LATER) return CL_SUCCESS;
    pthread_mutex_lock(&lock);
    cl_command_queue *place = place_of(queue);
    const int tells = *place == queue;
    if (tells) *place = NULL;
    pthread_mutex_unlock(&lock);
    return tells ? fault_code() : CL_SUCCESS;
}

/* An event tells of the work before it, and what comes after it is new. */
void fault_event_made(cl_command_queue queue, cl_event event)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < EVENTS; i++)
        if (failed[i] == event) failed[i] = NULL; /* another one that lived there */
    cl_command_queue *place = place_of(queue);
    if (*place == queue) {
        failed[failed_next++ % EVENTS] = event;
        *place = NULL;
    }
    pthread_mutex_unlock(&lock);
}

int fault_failed_events(cl_uint count, const cl_event *events)
{
    int found = 0;
    pthread_mutex_lock(&lock);
    for (cl_uint n = 0; n < count; n++)
        for (size_t i = 0; i < EVENTS; i++) found = found || failed[i] == events[n];
    pthread_mutex_unlock(&lock);
    return found;
}

void fault_buffer_made(cl_mem buffer, int is_hollow)
{
    pthread_mutex_lock(&lock);
    if (is_hollow)
        hollow = buffer;
    else if (hollow == buffer)
        hollow = NULL;
    pthread_mutex_unlock(&lock);
}

/* Once it was told, there is memory again. */
int fault_is_hollow(cl_mem buffer)
{
    pthread_mutex_lock(&lock);
    const int found = buffer != NULL && buffer == hollow;
    if (found) hollow = NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

void fault_argument_set(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    cl_mem buffer = NULL;
    if (value != NULL && size == sizeof buffer) memcpy(&buffer, value, sizeof buffer);
    pthread_mutex_lock(&lock);
    const int is_hollow = buffer != NULL && buffer == hollow;
    size_t place = ARGUMENTS;
    for (size_t i = ARGUMENTS; i-- > 0;) {
        const int same = hollow_arguments[i].kernel == kernel && hollow_arguments[i].index == index;
        if (same || (is_hollow && hollow_arguments[i].kernel == NULL && place == ARGUMENTS))
            place = i;
        if (same) break;
    }
    if (place < ARGUMENTS) {
        hollow_arguments[place].kernel = is_hollow ? kernel : NULL;
        hollow_arguments[place].index = index;
    }
    pthread_mutex_unlock(&lock);
}

int fault_uses_hollow(cl_kernel kernel)
{
    int found = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARGUMENTS && hollow != NULL; i++)
        found = found || hollow_arguments[i].kernel == kernel;
    if (found) hollow = NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

cl_event fault_gate(cl_command_queue queue)
{
    cl_context context = NULL;
    if (!hits(FAULT_HANG, "clEnqueueNDRangeKernel")) return NULL;
    fault_next->clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
    pthread_mutex_lock(&lock);
    if (gate == NULL) gate = fault_next->clCreateUserEvent(context, NULL);
    pthread_mutex_unlock(&lock);
    return gate;
}

static void let_go(void)
{
    pthread_mutex_lock(&lock);
    if (gate != NULL) {
        fault_next->clSetUserEventStatus(gate, CL_COMPLETE);
        fault_next->clReleaseEvent(gate);
    }
    gate = NULL;
    pthread_mutex_unlock(&lock);
}

const fault_layer *fault_layer_get(void);
const fault_layer *fault_layer_get(void)
{
    static const fault_layer layer = {
        arm,         disarm,   count_calls, count_failures,  count_live,
        count_asked, last_hit, fault_lie,   fault_lies_told, let_go};
    return &layer;
}
