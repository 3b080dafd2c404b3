#include "fault/loop.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const source_names[FAULT_SOURCES] = {"OpenCL calls",
                                                        "work that fails later",
                                                        "work that fails silently",
                                                        "buffers without memory",
                                                        "kernels that hang",
                                                        "allocations",
                                                        "system calls",
                                                        "allocations by the host's callback"};

static struct {
    const fault_layer *layer;
    long lives, faults, lost;
    /* of the host's callbacks */
    atomic_long calls, failures, live, at, also;
    atomic_int armed, on;
} loop;

const fault_layer *fault_loop_layer(void)
{
    const char *path = getenv("OPENCL_LAYERS");
    void *library = path == NULL || loop.layer != NULL ? NULL : dlopen(path, RTLD_NOW);
    void *symbol = library == NULL ? NULL : dlsym(library, "fault_layer_get");
    fault_layer_get_fn get;
    if (symbol == NULL) return loop.layer;
    memcpy(&get, &symbol, sizeof get);
    return loop.layer = get();
}

bool fault_loop_full(void)
{
    const char *full = getenv("OCLORA_TEST_FULL");
    return full != NULL && full[0] == '1';
}

static bool host_fails(void)
{
    if (!atomic_load(&loop.armed)) return false;
    const long n = atomic_fetch_add(&loop.calls, 1) + 1, at = atomic_load(&loop.at);
    if (at == 0 || (n != at && n != atomic_load(&loop.also) && !(atomic_load(&loop.on) && n > at)))
        return false;
    atomic_fetch_add(&loop.failures, 1);
    return true;
}

void *fault_host_alloc(void *user, uint64_t size, uint64_t align)
{
    (void)user;
    void *memory = host_fails() ? NULL : aligned_alloc((size_t)align, (size_t)size);
    if (memory != NULL) atomic_fetch_add(&loop.live, 1);
    return memory;
}

void fault_host_release(void *user, void *memory)
{
    (void)user;
    if (memory != NULL) atomic_fetch_sub(&loop.live, 1);
    free(memory);
}

static void arm(int source, const fault_plan *plan)
{
    fault_plan own = *plan;
    if (source < FAULT_KINDS) {
        own.kind = source;
        loop.layer->arm(&own);
    } else if (source != FAULT_FROM_HOST) {
        fault_memory_arm(source == FAULT_FROM_MEMORY ? FAULT_MEMORY : FAULT_SYSTEM, plan->at,
                         plan->also, plan->on != 0);
    } else {
        atomic_store(&loop.at, plan->at);
        atomic_store(&loop.also, plan->also);
        atomic_store(&loop.on, plan->on);
        atomic_store(&loop.calls, 0);
        atomic_store(&loop.failures, 0);
        atomic_store(&loop.armed, 1);
    }
}

static void disarm(int source)
{
    if (source < FAULT_KINDS)
        loop.layer->disarm();
    else if (source != FAULT_FROM_HOST)
        fault_memory_disarm();
    else
        atomic_store(&loop.armed, 0);
}

static long calls_of(int source)
{
    if (source < FAULT_KINDS) return loop.layer->calls();
    return source == FAULT_FROM_HOST ? atomic_load(&loop.calls) : fault_memory_calls();
}

static long failures_of(int source)
{
    if (source < FAULT_KINDS) return loop.layer->failures();
    return source == FAULT_FROM_HOST ? atomic_load(&loop.failures) : fault_memory_failures();
}

static const char *last_of(int source)
{
    if (source < FAULT_KINDS) return loop.layer->last();
    return source == FAULT_FROM_HOST ? "alloc" : fault_memory_last();
}

static void say(const fault_life *life, int source, const fault_plan *plan, const char *what)
{
    printf("  %s: %s: call %ld of %s (%s, code %d", life->name, what, plan->at,
           source_names[source], last_of(source), plan->code);
    if (plan->also != 0) printf(", and call %ld", plan->also);
    static const char *const modes[] = {"", ", and all after it", ", and all after it to the end"};
    printf("%s)\n", modes[plan->on]);
}

static bool is_named(oclora_status status)
{
    switch (status) {
#define NAMED(name, code, words)                                                                   \
    case code:                                                                                     \
        return code != 0;
        OCLORA_STATUS_MAP(NAMED)
#undef NAMED
    default:
        return false;
    }
}

/* A failure says what it is, in words that say where and how to go on. */
static bool check_failure(const fault_life *life, oclora_status status, const char *text)
{
    bool ok = CHECK(is_named(status)) & CHECK(strlen(text) >= 10);
    if (!ok) printf("  %s: status %d, text '%s'\n", life->name, status, text);
    return ok;
}

/* After a lost device every step says so, and asks the driver for nothing. */
static bool check_lost(const fault_life *life, int number)
{
    char text[512];
    bool ok = true;
    const long asked = loop.layer->asked();
    for (int s = number; s < life->steps; s++) {
        text[0] = '\0';
        const oclora_status status = life->step(life->user, s, text);
        /* What needs no device may succeed, what lacks what an earlier step makes may say so. */
        if (s == number) ok = CHECK_INT(status, OCLORA_DEVICE_LOST) && ok;
        if (status != OCLORA_OK) ok = check_failure(life, status, text) && ok;
    }
    return CHECK_INT(loop.layer->asked() - asked, 0) && ok;
}

/* Every step once, while all goes on failing: what has an answer gives it. */
static bool go_on(const fault_life *life, int source)
{
    char text[512];
    bool ok = true;
    for (int s = 0; s < life->steps; s++) {
        text[0] = '\0';
        const oclora_status status = life->step(life->user, s, text);
        if (status != OCLORA_OK) ok = check_failure(life, status, text) && ok;
        if (life->is_lost(life->user))
            return CHECK(failures_of(source) > 0) & check_lost(life, s) & ok;
    }
    return ok;
}

/* Steps until all are done or the device is lost. */
static bool go_through(const fault_life *life, int source, const fault_plan *plan)
{
    char text[512];
    for (int s = 0, tries = 0; s < life->steps; tries = 0, s++) {
        oclora_status status;
        while (text[0] = '\0', (status = life->step(life->user, s, text)) != OCLORA_OK) {
            bool ok = check_failure(life, status, text);
            if (life->is_lost(life->user)) {
                disarm(source);
                return CHECK(failures_of(source) > 0) & check_lost(life, s) & ok;
            }
            if (failures_of(source) == 0 || tries == 3) {
                printf("  step %d: status %d: %s\n", s, status, text);
                return CHECK(tries < 3) & CHECK(failures_of(source) > 0) & ok;
            }
            if (++tries == 2 || plan->also == 0 || failures_of(source) > 1) {
                disarm(source);
                tries = 3;
            }
            if (!ok) return false;
        }
    }
    return true;
}

long fault_loop_once(const fault_life *life, int source, const fault_plan *plan)
{
    const unsigned before = CU_get_number_of_failures();
    const long memory = fault_memory_live() + atomic_load(&loop.live), objects = loop.layer->live();
    arm(source, plan);
    life->begin(life->user);
    if (plan->on == FAULT_FOREVER)
        go_on(life, source);
    else
        go_through(life, source, plan);
    const bool lost = life->is_lost(life->user);
    const long asked = loop.layer->asked();
    life->end(life->user);
    disarm(source);
    const long met = failures_of(source);
    if (lost) CHECK_INT(loop.layer->asked() - asked, 0);
    loop.lost += lost;
    if (!life->leaks) {
        CHECK_INT(loop.layer->live() - objects, 0);
        CHECK_INT(fault_memory_live() + atomic_load(&loop.live) - memory, 0);
    }
    if (CU_get_number_of_failures() > before) say(life, source, plan, "failed after");
    loop.lives++;
    loop.faults += met;
    return met;
}

static void run_stride(const fault_life *life, int source, const int *codes, int n_codes,
                       long calls, long stride, int on)
{
    const fault_plan none = {0};
    long turn = 0;
    if (stride <= 0) return;
    for (long n = 1; n <= calls; n += stride) {
        const fault_plan plan = {.at = n, .on = on, .code = codes[turn++ % n_codes]};
        if (CU_get_number_of_failures() > 10) return;
        /* Towards the end a life may be shorter than the one that was counted. */
        if (fault_loop_once(life, source, &plan) == 0 && !CHECK(n > calls - calls / 50 - 1))
            say(life, source, &plan, "nothing failed");
        if (on == FAULT_FOREVER) fault_loop_once(life, source, &none); /* and all is well again */
    }
}

void fault_loop_run(const fault_life *life, int source, const int *codes, int n_codes,
                    const fault_effort *effort)
{
    const fault_plan none = {0};
    const long lives = loop.lives, faults = loop.faults;
    const long warm = fault_memory_live() + atomic_load(&loop.live);
    fault_loop_once(life, source, &none);
    const long calls = calls_of(source);
    CHECK(life->leaks || fault_memory_live() + atomic_load(&loop.live) == warm);
    CHECK(calls > 0);
    run_stride(life, source, codes, n_codes, calls, effort->stride, FAULT_ALONE);
    run_stride(life, source, codes, n_codes, calls, effort->stride_on, FAULT_ON);
    run_stride(life, source, codes, n_codes, calls, effort->stride_forever, FAULT_FOREVER);
    for (long i = 0; i < effort->pairs && CU_get_number_of_failures() <= 10; i++) {
        const long first = 1 + (long)(oclora_test_random() % (uint32_t)calls);
        const fault_plan plan = {.at = first,
                                 .also = first + 1 + (long)(oclora_test_random() % 40),
                                 .code = codes[i % n_codes]};
        fault_loop_once(life, source, &plan);
    }
    fault_loop_once(life, source, &none);
    printf("  %s, %s: %ld in a life; %ld lives, %ld faults\n", life->name, source_names[source],
           calls, loop.lives - lives, loop.faults - faults);
}

typedef struct child_report {
    long calls, met;
    unsigned bad;
    bool lost;
} child_report;

/* The life in a child process. */
static child_report in_child(const fault_life *life, int source, const fault_plan *plan)
{
    child_report report = {0, 0, 1, false};
    int ends[2], state = 0;
    fflush(stdout);
    if (pipe(ends) != 0) return report;
    const pid_t child = fork();
    if (child == 0) {
        const unsigned before = CU_get_number_of_failures();
        loop.lost = 0;
        report.met = fault_loop_once(life, source, plan);
        report.calls = calls_of(source);
        report.lost = loop.lost > 0;
        report.bad = CU_get_number_of_failures() - before;
        fflush(stdout);
        _exit(write(ends[1], &report, sizeof report) == (ssize_t)sizeof report ? 0 : 1);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &report, sizeof report) != (ssize_t)sizeof report) report.bad++;
    close(ends[0]);
    if (child > 0) waitpid(child, &state, 0);
    if (!CHECK_INT(state, 0) || !CHECK_INT(report.bad, 0)) say(life, source, plan, "child");
    loop.lives++;
    loop.faults += report.met;
    loop.lost += report.lost;
    return report;
}

void fault_loop_children(const fault_life *life, int source, const int *codes, int n_codes,
                         const fault_effort *effort)
{
    const fault_plan none = {0};
    const long lives = loop.lives, faults = loop.faults;
    in_child(life, source, &none); /* what it leaves in caches on disk spares later ones calls */
    const long calls = in_child(life, source, &none).calls;
    const long strides[] = {effort->stride, effort->stride_on, effort->stride_forever};
    CHECK(calls > 0);
    for (int on = FAULT_ALONE; on <= FAULT_FOREVER; on++)
        for (long n = 1; n <= calls && strides[on] > 0; n += strides[on]) {
            const fault_plan plan = {.at = n, .on = on, .code = codes[n % n_codes]};
            if (CU_get_number_of_failures() > 10) return;
            CHECK(in_child(life, source, &plan).met > 0);
        }
    printf("  %s, %s: %ld in a life; %ld lives, %ld faults\n", life->name, source_names[source],
           calls, loop.lives - lives, loop.faults - faults);
}

/* @return the status of the last step done. */
static oclora_status live_with_lie(const fault_life *life)
{
    char text[512] = "";
    oclora_status status = OCLORA_OK;
    life->begin(life->user);
    for (int s = 0; s < life->steps && status == OCLORA_OK; s++)
        status = life->step(life->user, s, text);
    if (status != OCLORA_OK) CHECK(check_failure(life, status, text) && status != OCLORA_INTERNAL);
    life->end(life->user);
    CHECK(loop.layer->lies_told() > 0);
    return status;
}

int fault_loop_lies(const fault_life *life)
{
    int number = 0, state;
    for (const char *lie; (lie = loop.layer->lie(number)) != NULL; number++) {
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            const unsigned before = CU_get_number_of_failures();
            printf("    %2d %s: status %d\n", number, lie, live_with_lie(life));
            fflush(stdout);
            _exit(CU_get_number_of_failures() > before);
        }
        state = -1;
        if (child > 0) waitpid(child, &state, 0);
        if (!CHECK_INT(state, 0)) printf("  failed with: %s\n", lie);
    }
    loop.layer->lie(-1);
    return number;
}

long fault_loop_lost(void)
{
    return loop.lost;
}

void fault_loop_summary(const char *title)
{
    printf("%s: %ld faults injected in %ld lives, %ld of which ended with a lost device\n", title,
           loop.faults, loop.lives, loop.lost);
}
