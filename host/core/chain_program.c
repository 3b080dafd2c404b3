/* chain_program.c - kernels as functions, and the program that calls them. */
#include "host/core/chain_build.h"
#include "host/core/source.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REST_MS = 1000, MOST_WAIT_MS = 20 * 1000 };

/* What makes a kernel with groups of one item a function that is told its item. */
static const char prologue[] =
    "#define OCLORA_CHAIN 1\n"
    "#define CHAIN_ITEM const uint *chain_item, const uint *chain_size,\n"
    "#define __kernel static inline\n"
    "#define reqd_work_group_size(x, y, z) always_inline\n"
    "#define vec_type_hint(type) always_inline\n"
    "#define __local\n"
    "#define get_global_id(d) ((size_t)chain_item[d])\n"
    "#define get_group_id(d) ((size_t)chain_item[d])\n"
    "#define get_local_id(d) ((size_t)0)\n"
    "#define get_global_size(d) ((size_t)chain_size[d])\n"
    "#define get_num_groups(d) ((size_t)chain_size[d])\n"
    "#define get_local_size(d) ((size_t)1)\n";

/* Text that grows; `failed` once memory ran out. */
typedef struct text {
    const oclora_env *env;
    char *at;
    size_t length, capacity;
    bool failed;
} text;

static void append(text *t, const char *added, size_t length)
{
    if (t->failed) return;
    if (oclora_reserve(t->env, &t->at, &t->capacity, t->length + length + 1, 1, NULL)) {
        t->failed = true;
        return;
    }
    memcpy(t->at + t->length, added, length);
    t->length += length;
    t->at[t->length] = 0;
}

static void append_text(text *t, const char *added)
{
    append(t, added, strlen(added));
}

/* The source with CHAIN_ITEM as first parameter of every kernel. */
static void append_source(text *t, const char *source)
{
    const char *kernel;
    while ((kernel = strstr(source, "__kernel")) != NULL) {
        const char *name = strstr(kernel, "void");
        const char *open = name ? strchr(name, '(') : NULL;
        if (!open) break;
        append(t, source, (size_t)(open + 1 - source));
        append_text(t, "CHAIN_ITEM ");
        source = open + 1;
    }
    append_text(t, source);
}

static void append_arg(text *t, const oclora_chain_part *part, uint32_t i)
{
    char one[64];
    const char *before = "", *after = "";
    if (part->kinds[i] == OCLORA_ARG_BUFFER) {
        before = "(__global void *)buffers[";
        after = "]";
    } else if (part->kinds[i] == OCLORA_ARG_FLOAT) {
        before = "as_float((uint)";
        after = ")";
    } else if (part->bytes[i] == 4) {
        before = "(uint)";
    }
    snprintf(one, sizeof one, ", %sargs[%u]%s", before, (unsigned)i, after);
    append_text(t, one);
}

/* The function of one form that chain.cl calls; apart from it, so that compilers take a part's time
 * for each part, and registers are its own. */
static void append_wrapper(text *t, const oclora_chain_part *part, uint32_t index)
{
    char head[256];
    const char *entry = oclora_kernel_ref_of(part->name).entry;
    snprintf(
        head, sizeof head,
        "\n__attribute__((noinline)) void oclora_chain_part_%u(const uint *item, const uint *size, "
        "__global const ulong *args, __global uchar *const *buffers)\n{\n    %.64s(item, size",
        (unsigned)index, entry);
    append_text(t, head);
    for (uint32_t i = 0; i < part->n_args; i++) append_arg(t, part, i);
    append_text(t, ");\n}\n");
}

static oclora_status part_source(text *t, const oclora_chain_part *part, uint32_t index,
                                 oclora_error *err)
{
    const oclora_source *source = NULL;
    OCLORA_TRY(oclora_program_source(part->name, &source, err));
    append_text(t, prologue);
    append_source(t, (const char *)source->text);
    append_wrapper(t, part, index);
    return t->failed ? oclora_fail_memory(err, t->length, "a chain's source") : OCLORA_OK;
}

static oclora_status chain_source(text *t, uint32_t n_parts, oclora_error *err)
{
    const oclora_source *source = NULL;
    OCLORA_TRY(oclora_program_source("chain", &source, err));
    append_text(t, "#define CHAIN_PARTS(X)");
    for (uint32_t i = 0; i < n_parts; i++) {
        char one[24];
        snprintf(one, sizeof one, " X(%u)", (unsigned)i);
        append_text(t, one);
    }
    append_text(t, "\n");
    append_text(t, (const char *)source->text);
    return t->failed ? oclora_fail_memory(err, t->length, "a chain's source") : OCLORA_OK;
}

/* Compiles without linking. */
static oclora_status compile_unit(oclora_context *context, const char *source, const char *name,
                                  const char *defines, cl_program *out, oclora_error *err)
{
    cl_int code = CL_SUCCESS;
    char *options = oclora_program_options(context, defines);
    if (!options) return oclora_fail_memory(err, strlen(defines), "build options");
    oclora_status status = OCLORA_OK;
    cl_program program = clCreateProgramWithSource(context->cl, 1, &source, NULL, &code);
    if (!program)
        status = oclora_context_fail_cl(context, err, code, "clCreateProgramWithSource",
                                        "%s.cl for a chain", name);
    else if ((code = clCompileProgram(program, 1, &context->cl_device, options, 0, NULL, NULL, NULL,
                                      NULL)) != CL_SUCCESS)
        status =
            oclora_program_fail(context, program, code, "clCompileProgram", name, defines, err);
    oclora_release(&context->env, options);
    if (status && program) clReleaseProgram(program);
    if (!status) *out = program;
    return status;
}

/* Compiling goes on for seconds: not for nobody, and not on a dead device. */
static oclora_status go_on(const oclora_context *context, const oclora_chain_recipe *all,
                           oclora_error *err)
{
    if (all->news && (atomic_load(&all->news->stop) || atomic_load(&context->quiet)))
        return oclora_fail(err, OCLORA_WRONG_STATE, "a chain is not wanted any more");
    return oclora_context_health(context, err);
}

uint64_t oclora_chain_now(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* PoCL makes machine code under a lock that every launch of the process needs. So it is left until
 * the stream has had nothing to do for a while; one that never rests is no user's who waits. */
static oclora_status await_rest(const oclora_context *context, const oclora_chain_recipe *all,
                                oclora_error *err)
{
    const uint64_t began = oclora_chain_now();
    const bool locks = !strcmp(oclora_tune_vendor(&context->device), "pocl");
    for (;;) {
        const struct timespec pause = {0, 20 * 1000000};
        OCLORA_TRY(go_on(context, all, err));
        const uint64_t now = oclora_chain_now();
        if (!locks || !all->news || now - began > MOST_WAIT_MS ||
            now > atomic_load(&all->news->last_work) + REST_MS)
            return OCLORA_OK;
        nanosleep(&pause, NULL);
    }
}

static oclora_status compile_units(oclora_context *context, const oclora_chain_recipe *all,
                                   cl_program *units, oclora_error *err)
{
    text source = {.env = &context->env};
    oclora_status status = OCLORA_OK;
    for (uint32_t i = 0; i < all->count && !status; i++) {
        const oclora_kernel_ref ref = oclora_kernel_ref_of(all->parts[i]->name);
        source.length = 0;
        status = go_on(context, all, err);
        if (!status) status = part_source(&source, all->parts[i], i, err);
        if (!status)
            status = compile_unit(context, source.at, ref.file, ref.defines, &units[i], err);
    }
    source.length = 0;
    if (!status) status = chain_source(&source, all->count, err);
    if (!status) status = compile_unit(context, source.at, "chain", "", &units[all->count], err);
    oclora_release(&context->env, source.at);
    return status;
}

static oclora_status link_units(oclora_context *context, const cl_program *units, uint32_t count,
                                cl_program *out, oclora_error *err)
{
    cl_int code = CL_SUCCESS;
    cl_program linked =
        clLinkProgram(context->cl, 1, &context->cl_device, "", count, units, NULL, NULL, &code);
    if (!linked) return oclora_context_fail_cl(context, err, code, "clLinkProgram", "a chain");
    if (!code) {
        *out = linked;
        return OCLORA_OK;
    }
    oclora_status status =
        oclora_program_fail(context, linked, code, "clLinkProgram", "chain", "", err);
    clReleaseProgram(linked);
    return status;
}

/* A chain of no steps. */
static oclora_status run_empty(oclora_context *context, cl_kernel chain, oclora_error *err)
{
    oclora_stream *stream = NULL;
    oclora_arg args[OCLORA_CHAIN_LAUNCH_ARGS] = {oclora_arg_buffer(NULL), oclora_arg_u32(0),
                                                 oclora_arg_u32(0), oclora_arg_u32(0)};
    for (uint32_t i = 0; i < OCLORA_CHAIN_BUFFERS; i++) args[4 + i] = oclora_arg_buffer(NULL);
    OCLORA_TRY(oclora_stream_create(&stream, context, err));
    oclora_status status = oclora_chain_enqueue(stream, chain, args, err);
    if (!status) status = oclora_stream_finish(stream, err);
    oclora_stream_destroy(stream);
    return status;
}

static oclora_status create_kernel(oclora_context *context, cl_program program, cl_kernel *out,
                                   oclora_error *err)
{
    cl_int code = CL_SUCCESS;
    cl_kernel kernel = clCreateKernel(program, "chain", &code);
    if (!kernel) return oclora_context_fail_cl(context, err, code, "clCreateKernel", "a chain");
    oclora_status status = run_empty(context, kernel, err);
    if (status)
        clReleaseKernel(kernel);
    else
        *out = kernel;
    return status;
}

/* oclora_program_compiler. PoCL makes the machine code of a launch when it comes, and some more for
 * the disk cache, which then keeps both. */
static oclora_status compile_chain(oclora_context *context, const char *options, const void *user,
                                   cl_program *out, oclora_error *err)
{
    const oclora_chain_recipe *all = user;
    cl_program linked = NULL;
    cl_kernel kernel = NULL;
    (void)options; /* every unit has its own */
    cl_program *units = oclora_alloc(&context->env, all->count + 1, sizeof(cl_program));
    if (!units) return oclora_fail_memory(err, all->count * sizeof(cl_program), "a chain's units");
    oclora_status status = compile_units(context, all, units, err);
    if (!status) status = go_on(context, all, err);
    if (!status) status = link_units(context, units, all->count + 1, &linked, err);
    if (!status) status = await_rest(context, all, err);
    if (!status) status = create_kernel(context, linked, &kernel, err);
    if (kernel) clReleaseKernel(kernel);
    if (!status) status = await_rest(context, all, err);
    if (!status)
        *out = linked;
    else if (linked)
        clReleaseProgram(linked);
    for (uint32_t i = 0; i <= all->count; i++)
        if (units[i]) clReleaseProgram(units[i]);
    oclora_release(&context->env, units);
    return status;
}

/* All that the program depends on, for the disk cache. */
static oclora_status whole_text(text *t, const oclora_chain_recipe *all, oclora_error *err)
{
    for (uint32_t i = 0; i < all->count; i++) {
        OCLORA_TRY(part_source(t, all->parts[i], i, err));
        append_text(t, oclora_kernel_ref_of(all->parts[i]->name).defines);
    }
    return chain_source(t, all->count, err);
}

static oclora_status make_program(oclora_context *context, const oclora_chain_recipe *all,
                                  cl_program *out, oclora_error *err)
{
    text whole = {.env = &context->env};
    char *options = oclora_program_options(context, "");
    oclora_status status =
        options ? whole_text(&whole, all, err) : oclora_fail_memory(err, 64, "build options");
    if (!status)
        status = oclora_program_cached(context, whole.at, options, true,
                                       all->compile ? compile_chain : NULL, all, out, err);
    oclora_release(&context->env, options);
    oclora_release(&context->env, whole.at);
    return status;
}

static oclora_status name_program(text *key, const oclora_chain_recipe *all, oclora_error *err)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const oclora_kernel_ref ref = oclora_kernel_ref_of(all->parts[i]->name);
        append_text(key, ref.file);
        append_text(key, " ");
        append_text(key, ref.entry);
        append_text(key, " ");
        append_text(key, ref.defines);
        append_text(key, ";");
    }
    return key->failed ? oclora_fail_memory(err, key->length, "a chain's name") : OCLORA_OK;
}

oclora_status oclora_chain_make(oclora_context *context, const oclora_chain_recipe *recipe,
                                cl_kernel *out, oclora_error *err)
{
    text key = {.env = &context->env};
    cl_program found = NULL, made = NULL;
    oclora_status status = name_program(&key, recipe, err);
    if (!status) found = oclora_program_find(context, "chain", key.at);
    if (!status && !found) status = make_program(context, recipe, &made, err);
    if (made) status = oclora_program_keep(context, "chain", key.at, made, &found, err);
    oclora_release(&context->env, key.at);
    return status || !found ? status : create_kernel(context, found, out, err);
}
