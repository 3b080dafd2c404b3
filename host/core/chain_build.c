#include "host/core/chain_build.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SET_WORDS = OCLORA_CHAIN_KERNELS / 64, MOST_BUILDS = 16, LOAD_AT_USE = 2 };

typedef enum { BUILD_WAITS, BUILD_RUNS, BUILD_READY, BUILD_FAILED } build_state;

typedef struct build {
    oclora_chain_set set;
    build_state state;
    uint32_t uses;
    uint64_t last_use;
    bool looked;            /* for it on disk */
    oclora_chain_code code; /* while it is made, the thread's */
} build;

struct oclora_chain_builds {
    oclora_context *context;
    const oclora_chain_part *parts;
    build all[MOST_BUILDS];
    uint32_t n;
    uint64_t clock;
    build *running; /* what the thread makes, or NULL */
    pthread_t thread, watch;
    bool watched;           /* there is such a thread */
    bool compile;           /* for the thread: not only load it */
    oclora_chain_news news; /* to the thread */
    atomic_uint at_work;    /* of both: who is not done yet */
    oclora_status status;
    oclora_error err;
};

static bool set_within(const oclora_chain_set *part, const oclora_chain_set *whole)
{
    for (int i = 0; i < SET_WORDS; i++)
        if (part->words[i] & ~whole->words[i]) return false;
    return true;
}

static bool set_has(const oclora_chain_set *set, uint32_t ordinal)
{
    return set->words[ordinal / 64] >> ordinal % 64 & 1;
}

void oclora_chain_set_add(oclora_chain_set *set, uint32_t ordinal)
{
    set->words[ordinal / 64] |= (uint64_t)1 << ordinal % 64;
}

/* ---- making one; any thread ---- */

static int by_name(const void *a, const void *b)
{
    const oclora_chain_part *const *x = a, *const *y = b;
    const oclora_kernel_ref m = oclora_kernel_ref_of((*x)->name);
    const oclora_kernel_ref n = oclora_kernel_ref_of((*y)->name);
    const int file = strcmp(m.file, n.file), entry = strcmp(m.entry, n.entry);
    return file ? file : entry ? entry : strcmp(m.defines, n.defines);
}

/* Parts are sorted, so that the same kernels are the same program whatever the order they came in.
 * No kernel without an error: it is not there to be loaded. */
static oclora_status make(const oclora_chain_builds *builds, build *b, bool compile,
                          const oclora_chain_news *news, oclora_error *err)
{
    oclora_chain_recipe recipe = {.compile = compile, .news = news};
    for (uint32_t i = 0; i < OCLORA_CHAIN_KERNELS; i++)
        if (set_has(&b->set, i)) recipe.parts[recipe.count++] = &builds->parts[i];
    qsort(recipe.parts, recipe.count, sizeof *recipe.parts, by_name);
    for (uint32_t i = 0; i < recipe.count; i++)
        b->code.part_of[recipe.parts[i] - builds->parts] = (uint8_t)i;
    return oclora_chain_make(builds->context, &recipe, &b->code.cl, err);
}

/* ---- when ---- */

static void settle(oclora_chain_builds *builds, build *b, oclora_status status,
                   const oclora_error *err)
{
    const oclora_context *context = builds->context;
    b->state = status ? BUILD_FAILED : b->code.cl ? BUILD_READY : BUILD_WAITS;
    if (status)
        oclora_log(&context->env, OCLORA_LOG_WARN, "launches stay single on '%s': %s",
                   context->device.name, err->text);
}

static void make_now(oclora_chain_builds *builds, build *b)
{
    oclora_error err = {0};
    const oclora_status status = make(builds, b, true, NULL, &err);
    settle(builds, b, status, &err);
}

/* The last that either thread does. */
static void *leave(oclora_chain_builds *builds)
{
    atomic_fetch_sub(&builds->at_work, 1);
    atomic_fetch_sub(&builds->context->makers, 1);
    return NULL;
}

static void *make_beside(void *user)
{
    oclora_chain_builds *builds = user;
    builds->status = make(builds, builds->running, builds->compile, &builds->news, &builds->err);
    if (builds->compile && !builds->status) atomic_store(&builds->context->has_compiled, true);
    return leave(builds);
}

/* What a driver compiles with makes objects on the way that its exit handlers destroy, whichever
 * step it is at; those of the process have to come behind them all, and soon. Most are made once,
 * by the first compilation. */
static void *watch_exit(void *user)
{
    oclora_chain_builds *builds = user;
    const oclora_context *context = builds->context;
    const struct timespec pause = {0, atomic_load(&context->has_compiled) ? 20000000 : 500000};
    while (atomic_load(&builds->at_work) > 1) {
        context->drivers_work();
        nanosleep(&pause, NULL);
    }
    return leave(builds);
}

static bool spawn(oclora_chain_builds *builds, pthread_t *thread, void *(*work)(void *))
{
    atomic_fetch_add(&builds->context->makers, 1);
    if (!pthread_create(thread, NULL, work, builds)) return true;
    atomic_fetch_sub(&builds->context->makers, 1);
    return false;
}

static void start(oclora_chain_builds *builds, build *b, bool compile)
{
    const bool watch = builds->context->drivers_work != NULL;
    builds->running = b;
    builds->compile = compile;
    b->state = BUILD_RUNS;
    b->looked = true;
    builds->err = (oclora_error){0};
    atomic_store(&builds->at_work, watch ? 2 : 1);
    builds->watched = watch && spawn(builds, &builds->watch, watch_exit);
    if (builds->watched == watch && spawn(builds, &builds->thread, make_beside)) return;
    atomic_store(&builds->at_work, 1); /* the watch ends */
    if (builds->watched) pthread_join(builds->watch, NULL);
    builds->running = NULL;
    const oclora_status status =
        oclora_fail(&builds->err, OCLORA_INTERNAL, "no thread could be had to compile a chain");
    settle(builds, b, status, &builds->err);
}

/* Waits for the threads, if there are any; whose place they made. */
static build *join(oclora_chain_builds *builds)
{
    build *b = builds->running;
    if (!b) return NULL;
    pthread_join(builds->thread, NULL);
    if (builds->watched) pthread_join(builds->watch, NULL);
    builds->running = NULL;
    return b;
}

static void join_and_settle(oclora_chain_builds *builds)
{
    build *b = join(builds);
    if (b) settle(builds, b, builds->status, &builds->err);
}

void oclora_chain_builds_work(oclora_chain_builds *builds)
{
    atomic_store(&builds->news.last_work, oclora_chain_now());
    if (builds->running && !atomic_load(&builds->at_work)) join_and_settle(builds);
}

/* The place of the set that has not been used for longest. */
static build *oldest(oclora_chain_builds *builds)
{
    build *found = NULL;
    for (uint32_t i = 0; i < builds->n; i++) {
        build *b = &builds->all[i];
        if (b != builds->running && (!found || b->last_use < found->last_use)) found = b;
    }
    return found;
}

/* What covers the set; else a new place. */
static build *find_build(oclora_chain_builds *builds, const oclora_chain_set *set)
{
    for (uint32_t i = 0; i < builds->n; i++)
        if (set_within(set, &builds->all[i].set)) return &builds->all[i];
    build *made = builds->n < MOST_BUILDS ? &builds->all[builds->n++] : oldest(builds);
    if (made->code.cl) clReleaseKernel(made->code.cl);
    *made = (build){.set = *set};
    return made;
}

/* A chain on disk is loaded at the second use; else it is compiled when its kernels turn out to
 * stay in use. Both beside the graphs: loading takes 20 to 60 ms. */
void oclora_chain_builds_note(oclora_chain_builds *builds, const oclora_chain_set *set)
{
    const oclora_context *context = builds->context;
    build *b = find_build(builds, set);
    b->last_use = ++builds->clock;
    b->uses += b->uses < UINT32_MAX;
    const bool wait = b->uses >= oclora_context_tuned(context, OCLORA_TUNE_CHAIN_WAIT_AT);
    const bool compile = b->uses >= oclora_context_tuned(context, OCLORA_TUNE_CHAIN_BUILD_AT);
    if (wait && b->state <= BUILD_RUNS) join_and_settle(builds);
    if (b->state != BUILD_WAITS) return;
    if (wait)
        make_now(builds, b);
    else if (!builds->running && !atomic_load(&context->quiet) &&
             (compile || (b->uses >= LOAD_AT_USE && !b->looked)))
        start(builds, b, compile);
}

const oclora_chain_code *oclora_chain_builds_find(oclora_chain_builds *builds,
                                                  const oclora_chain_set *set)
{
    for (uint32_t i = 0; i < builds->n; i++) {
        build *b = &builds->all[i];
        if (b->state != BUILD_READY || !set_within(set, &b->set)) continue;
        b->last_use = ++builds->clock;
        return &b->code;
    }
    return NULL;
}

oclora_chain_builds *oclora_chain_builds_create(oclora_context *context,
                                                const oclora_chain_part *parts)
{
    oclora_chain_builds *builds = oclora_alloc(&context->env, 1, sizeof *builds);
    if (!builds) return NULL;
    builds->context = context;
    builds->parts = parts;
    atomic_init(&builds->news.stop, false);
    atomic_init(&builds->news.last_work, 0);
    atomic_init(&builds->at_work, 0);
    return builds;
}

void oclora_chain_builds_destroy(oclora_chain_builds *builds)
{
    if (!builds) return;
    const oclora_env *env = &builds->context->env;
    atomic_store(&builds->news.stop, true);
    join(builds);
    for (uint32_t i = 0; i < builds->n; i++)
        if (builds->all[i].code.cl) clReleaseKernel(builds->all[i].code.cl);
    oclora_release(env, builds);
}
