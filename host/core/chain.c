#include "host/core/chain_build.h"

#include <string.h>

enum {
    LEAST_STEPS = 2,      /* fewer are not worth a chain */
    STATE_BYTES = 64,     /* of a step: a cache line */
    RUNS_PER_WORKER = 16, /* a worker takes its share of a step in so many runs */
    PUT_BYTES = OCLORA_STAGE_MAX_WRITE
};

/* cl/chain.cl: chain_step */
typedef struct chain_step {
    uint32_t kernel, first_arg, items, run;
    uint32_t size[4];
} chain_step;
_Static_assert(sizeof(chain_step) == 32, "cl/chain.cl: chain_step");

/* A launch that is kept back. */
typedef struct kept {
    cl_kernel cl;
    const char *name;
    uint32_t ordinal, first_arg, n_args, dims;
    size_t global[3]; /* in groups of one */
} kept;

struct oclora_chain {
    oclora_env env;
    bool open;
    uint32_t most_steps, workers;
    kept *kept;
    size_t n_kept, kept_capacity;
    oclora_arg *args; /* of the kept launches, one after the other */
    size_t n_args, args_capacity;
    const oclora_buffer *buffers[OCLORA_CHAIN_BUFFERS]; /* argument b + 1 of the chain */
    uint32_t n_buffers;
    oclora_chain_set submitting;                   /* kernels of the kept launches */
    oclora_chain_set graph;                        /* kernels since begin */
    uint64_t n_graph;                              /* launches kept back since begin */
    oclora_chain_part parts[OCLORA_CHAIN_KERNELS]; /* by ordinal; name NULL: not seen */
    oclora_chain_builds *builds;
    bool has_run;
    oclora_buffer *list; /* steps, arguments, state */
    unsigned char *image;
    size_t image_capacity;
};

/* ---- keeping back ---- */

bool oclora_chain_takes(const oclora_chain *chain, const oclora_launch *launch)
{
    uint64_t items = 1;
    if (!chain || !chain->open || launch->kernel->ordinal >= OCLORA_CHAIN_KERNELS ||
        launch->n_args > OCLORA_CHAIN_ARGS)
        return false;
    for (uint32_t i = 0; i < launch->dims; i++) {
        if (launch->global[i] > UINT32_MAX / 2 || (launch->local && launch->local[i] != 1))
            return false;
        items *= launch->global[i];
        if (items > UINT32_MAX / 2) return false;
    }
    for (uint32_t i = 0; i < launch->n_args; i++)
        if (launch->args[i].kind == OCLORA_ARG_LOCAL) return false;
    return true;
}

/* The chain's argument that holds the buffer; 0 is NULL. UINT32_MAX: not among them. */
static uint32_t find_buffer(const oclora_chain *chain, const oclora_buffer *buffer)
{
    if (!buffer) return 0;
    for (uint32_t i = 0; i < chain->n_buffers; i++)
        if (chain->buffers[i] == buffer) return i + 1;
    return UINT32_MAX;
}

static bool buffers_fit(const oclora_chain *chain, const oclora_launch *launch)
{
    uint32_t more = 0;
    for (uint32_t i = 0; i < launch->n_args; i++)
        more += launch->args[i].kind == OCLORA_ARG_BUFFER &&
                find_buffer(chain, launch->args[i].value.buffer) == UINT32_MAX;
    return chain->n_buffers + more <= OCLORA_CHAIN_BUFFERS;
}

static void note_part(oclora_chain *chain, const oclora_launch *launch)
{
    oclora_chain_part *part = &chain->parts[launch->kernel->ordinal];
    if (part->name) return;
    part->name = launch->kernel->name;
    part->n_args = launch->n_args;
    for (uint32_t i = 0; i < launch->n_args; i++) {
        part->kinds[i] = (uint8_t)launch->args[i].kind;
        part->bytes[i] = (uint8_t)launch->args[i].bytes;
    }
}

static void keep(oclora_chain *chain, const oclora_launch *launch)
{
    kept *k = &chain->kept[chain->n_kept++];
    *k = (kept){.cl = launch->kernel->cl,
                .name = launch->kernel->name,
                .ordinal = launch->kernel->ordinal,
                .first_arg = (uint32_t)chain->n_args,
                .n_args = launch->n_args,
                .dims = launch->dims,
                .global = {1, 1, 1}};
    memcpy(k->global, launch->global, launch->dims * sizeof *k->global);
    for (uint32_t i = 0; i < launch->n_args; i++) {
        const oclora_arg *arg = &launch->args[i];
        if (arg->kind == OCLORA_ARG_BUFFER && find_buffer(chain, arg->value.buffer) == UINT32_MAX)
            chain->buffers[chain->n_buffers++] = arg->value.buffer;
        chain->args[chain->n_args++] = *arg;
    }
    oclora_chain_set_add(&chain->submitting, k->ordinal);
    oclora_chain_set_add(&chain->graph, k->ordinal);
    chain->n_graph++;
}

oclora_status oclora_chain_add(oclora_stream *stream, const oclora_launch *launch,
                               oclora_error *err)
{
    oclora_chain *chain = stream->chain;
    if (chain->n_kept == chain->most_steps || !buffers_fit(chain, launch))
        OCLORA_TRY(oclora_chain_submit(stream, err));
    OCLORA_TRY(oclora_reserve(&chain->env, &chain->kept, &chain->kept_capacity, chain->n_kept + 1,
                              sizeof *chain->kept, err));
    OCLORA_TRY(oclora_reserve(&chain->env, &chain->args, &chain->args_capacity,
                              chain->n_args + launch->n_args, sizeof *chain->args, err));
    note_part(chain, launch);
    keep(chain, launch);
    return OCLORA_OK;
}

/* ---- submitting ---- */

static oclora_status run_plain(oclora_stream *stream, size_t count, oclora_error *err)
{
    static const size_t ones[3] = {1, 1, 1};
    oclora_chain *chain = stream->chain;
    for (size_t i = 0; i < count; i++) {
        const kept *k = &chain->kept[i];
        OCLORA_TRY(oclora_stream_enqueue(stream, k->cl, k->name, chain->args + k->first_arg,
                                         k->n_args, k->dims, k->global, ones, err));
    }
    return OCLORA_OK;
}

static uint64_t arg_bits(const oclora_chain *chain, const oclora_arg *arg)
{
    switch (arg->kind) {
    case OCLORA_ARG_BUFFER:
        return find_buffer(chain, arg->value.buffer);
    case OCLORA_ARG_FLOAT: {
        uint32_t bits;
        memcpy(&bits, &arg->value.f32, sizeof bits);
        return bits;
    }
    default:
        return arg->bytes == 8 ? arg->value.u64 : arg->value.u32;
    }
}

typedef struct image_layout {
    size_t args, state, bytes; /* the steps begin at 0 */
} image_layout;

static void write_image(oclora_chain *chain, const oclora_chain_code *code, size_t count,
                        size_t n_args, const image_layout *at)
{
    chain_step *steps = (chain_step *)chain->image;
    uint64_t *args = (uint64_t *)(chain->image + at->args);
    for (size_t i = 0; i < count; i++) {
        const kept *k = &chain->kept[i];
        const uint32_t items = (uint32_t)(k->global[0] * k->global[1] * k->global[2]);
        const uint32_t run = items / (chain->workers * RUNS_PER_WORKER);
        steps[i] = (chain_step){
            code->part_of[k->ordinal],
            k->first_arg,
            items,
            run ? run : 1,
            {(uint32_t)k->global[0], (uint32_t)k->global[1], (uint32_t)k->global[2], 0}};
    }
    for (size_t i = 0; i < n_args; i++) args[i] = arg_bits(chain, &chain->args[i]);
    memset(chain->image + at->state, 0, at->bytes - at->state);
}

/* The list as an image in host memory, then on the device. */
static oclora_status put_list(oclora_stream *stream, const oclora_chain_code *code, size_t count,
                              size_t n_args, image_layout *at, oclora_error *err)
{
    oclora_chain *chain = stream->chain;
    at->args = count * sizeof(chain_step);
    at->state =
        (at->args + n_args * sizeof(uint64_t) + STATE_BYTES - 1) / STATE_BYTES * STATE_BYTES;
    at->bytes = at->state + count * STATE_BYTES;
    OCLORA_TRY(
        oclora_reserve(&chain->env, &chain->image, &chain->image_capacity, at->bytes, 1, err));
    if (!chain->list || oclora_buffer_bytes(chain->list) < at->bytes) {
        oclora_buffer *grown = NULL;
        OCLORA_TRY(oclora_buffer_create(&grown, stream->context, at->bytes + at->bytes / 2, err));
        oclora_buffer_destroy(chain->list);
        chain->list = grown;
    }
    write_image(chain, code, count, n_args, at);
    for (size_t i = 0; i < at->bytes; i += PUT_BYTES) {
        const size_t left = at->bytes - i;
        OCLORA_TRY(oclora_stream_write(stream, chain->list, i, chain->image + i,
                                       left < PUT_BYTES ? left : PUT_BYTES, err));
    }
    return OCLORA_OK;
}

oclora_status oclora_chain_enqueue(oclora_stream *stream, cl_kernel chain, const oclora_arg *args,
                                   oclora_error *err)
{
    static const char name[] = "chain\0chain\0";
    const size_t global = stream->context->device.compute_units, local = 1;
    return oclora_stream_enqueue(stream, chain, name, args, OCLORA_CHAIN_LAUNCH_ARGS, 1, &global,
                                 &local, err);
}

static oclora_status run_chain(oclora_stream *stream, const oclora_chain_code *code, size_t count,
                               size_t n_args, oclora_error *err)
{
    oclora_chain *chain = stream->chain;
    image_layout at;
    OCLORA_TRY(put_list(stream, code, count, n_args, &at, err));
    oclora_arg args[OCLORA_CHAIN_LAUNCH_ARGS] = {
        oclora_arg_buffer(chain->list), oclora_arg_u32((uint32_t)count),
        oclora_arg_u32((uint32_t)at.args), oclora_arg_u32((uint32_t)at.state)};
    for (uint32_t i = 0; i < OCLORA_CHAIN_BUFFERS; i++)
        args[4 + i] = oclora_arg_buffer(i < chain->n_buffers ? chain->buffers[i] : NULL);
    chain->has_run = true;
    return oclora_chain_enqueue(stream, code->cl, args, err);
}

oclora_status oclora_chain_submit(oclora_stream *stream, oclora_error *err)
{
    oclora_chain *chain = stream->chain;
    if (!chain || !chain->n_kept) return OCLORA_OK;
    const size_t count = chain->n_kept, n_args = chain->n_args;
    const oclora_chain_code *code =
        count >= LEAST_STEPS ? oclora_chain_builds_find(chain->builds, &chain->submitting) : NULL;
    chain->n_kept = 0; /* writing the list submits, too */
    oclora_status status = oclora_context_health(stream->context, err);
    if (!status)
        status = code ? run_chain(stream, code, count, n_args, err) : run_plain(stream, count, err);
    chain->n_args = 0;
    chain->n_buffers = 0;
    memset(&chain->submitting, 0, sizeof chain->submitting);
    return status;
}

bool oclora_chain_has_run(const oclora_chain *chain)
{
    return chain && chain->has_run;
}

/* ---- a stream's chain ---- */

bool oclora_stream_chains(const oclora_stream *stream)
{
#ifdef __x86_64__
    const oclora_context *context = stream->context;
    const bool known = oclora_tune_vendor(&context->device)[0] != 0; /* how it orders memory */
    return known && context->device.type == OCLORA_DEVICE_CPU &&
           context->device_class == OCLORA_CLASS_CPU &&
           oclora_context_kernel_enabled(context, "chain", "");
#else
    (void)stream;
    return false;
#endif
}

/* NULL where chains may not run, or without memory: launches are single then. */
static oclora_chain *create(const oclora_stream *stream)
{
    oclora_context *context = stream->context;
    if (!oclora_stream_chains(stream)) return NULL;
    oclora_chain *chain = oclora_alloc(&context->env, 1, sizeof *chain);
    if (!chain) return NULL;
    chain->env = context->env;
    chain->workers = context->device.compute_units;
    chain->builds = oclora_chain_builds_create(context, chain->parts);
    if (chain->builds) return chain;
    oclora_chain_destroy(chain);
    return NULL;
}

void oclora_stream_chain_begin(oclora_stream *stream, uint32_t rows)
{
    const oclora_context *context = stream->context;
    const uint32_t most_steps = oclora_context_tuned(context, OCLORA_TUNE_CHAIN_STEPS);
    if (stream->chain) oclora_chain_builds_work(stream->chain->builds);
    if (most_steps < LEAST_STEPS || rows > oclora_context_tuned(context, OCLORA_TUNE_CHAIN_ROWS))
        return;
    if (!stream->chain) stream->chain = create(stream);
    oclora_chain *chain = stream->chain;
    if (!chain) return;
    chain->most_steps = most_steps;
    chain->open = true;
    memset(&chain->graph, 0, sizeof chain->graph);
    chain->n_graph = 0;
}

oclora_status oclora_stream_chain_end(oclora_stream *stream, oclora_error *err)
{
    oclora_chain *chain = stream->chain;
    if (chain) oclora_chain_builds_work(chain->builds);
    if (!chain || !chain->open) return OCLORA_OK;
    chain->open = false;
    OCLORA_TRY(oclora_chain_submit(stream, err));
    if (chain->n_graph >= LEAST_STEPS) oclora_chain_builds_note(chain->builds, &chain->graph);
    return OCLORA_OK;
}

void oclora_chain_destroy(oclora_chain *chain)
{
    if (!chain) return;
    oclora_env env = chain->env;
    oclora_chain_builds_destroy(chain->builds);
    oclora_buffer_destroy(chain->list);
    oclora_release(&env, chain->kept);
    oclora_release(&env, chain->args);
    oclora_release(&env, chain->image);
    oclora_release(&env, chain);
}
