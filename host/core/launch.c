#include "host/core/chain.h"

#include <string.h>

enum { KERNELS_FIRST_CAPACITY = 64 };

static uint64_t hash_string(uint64_t hash, const char *text)
{
    const uint64_t prime = 0x100000001b3u;
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * prime;
    return (hash ^ 0xff) * prime;
}

static uint64_t hash_ref(const oclora_kernel_ref *ref)
{
    uint64_t hash = hash_string(0xcbf29ce484222325u, ref->file);
    return hash_string(hash_string(hash, ref->entry), ref->defines);
}

oclora_kernel_ref oclora_kernel_ref_of(const char *name)
{
    const char *entry = name + strlen(name) + 1;
    oclora_kernel_ref ref = {name, entry, entry + strlen(entry) + 1};
    return ref;
}

static bool same_name(const char *name, const oclora_kernel_ref *ref)
{
    const oclora_kernel_ref own = oclora_kernel_ref_of(name);
    return !strcmp(own.file, ref->file) && !strcmp(own.entry, ref->entry) &&
           !strcmp(own.defines, ref->defines);
}

/* The kernel's place in the table, or the free place where it belongs. */
static oclora_kernel *find_place(oclora_kernel *kernels, size_t capacity, uint64_t hash,
                                 const oclora_kernel_ref *ref)
{
    size_t at = (size_t)hash & (capacity - 1);
    while (kernels[at].cl &&
           (kernels[at].hash != hash || !ref || !same_name(kernels[at].name, ref)))
        at = (at + 1) & (capacity - 1);
    return &kernels[at];
}

static oclora_status grow_kernels(oclora_stream *stream, oclora_error *err)
{
    if (stream->kernels && stream->n_kernels * 2 < stream->kernels_capacity) return OCLORA_OK;
    const oclora_env *env = &stream->context->env;
    size_t capacity =
        stream->kernels ? stream->kernels_capacity * 2 : (size_t)KERNELS_FIRST_CAPACITY;
    oclora_kernel *kernels = oclora_alloc(env, capacity, sizeof *kernels);
    if (!kernels) return oclora_fail_memory(err, capacity * sizeof *kernels, "kernel objects");
    for (size_t i = 0; i < stream->kernels_capacity; i++)
        if (stream->kernels[i].cl)
            *find_place(kernels, capacity, stream->kernels[i].hash, NULL) = stream->kernels[i];
    oclora_release(env, stream->kernels);
    stream->kernels = kernels;
    stream->kernels_capacity = capacity;
    return OCLORA_OK;
}

static char *copy_name(const oclora_env *env, const oclora_kernel_ref *ref)
{
    size_t file = strlen(ref->file) + 1, entry = strlen(ref->entry) + 1;
    size_t defines = strlen(ref->defines) + 1;
    char *name = oclora_alloc(env, file + entry + defines, 1);
    if (!name) return NULL;
    memcpy(name, ref->file, file);
    memcpy(name + file, ref->entry, entry);
    memcpy(name + file + entry, ref->defines, defines);
    return name;
}

static oclora_status create_kernel(oclora_stream *stream, const oclora_kernel_ref *ref,
                                   uint64_t hash, const oclora_kernel **out, oclora_error *err)
{
    oclora_context *context = stream->context;
    cl_program program = NULL;
    const char *reason = oclora_context_disabled_reason(context, ref->file, ref->defines);
    if (reason)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "%s of %s.cl [%s] is disabled on '%.60s': %s",
                           ref->entry, ref->file, ref->defines, context->device.name, reason);
    OCLORA_TRY(grow_kernels(stream, err));
    OCLORA_TRY(oclora_program_get(context, ref->file, ref->defines, &program, err));
    char *name = copy_name(&context->env, ref);
    if (!name) return oclora_fail_memory(err, strlen(ref->defines), "a kernel's name");
    cl_int code = CL_SUCCESS;
    cl_kernel kernel = clCreateKernel(program, ref->entry, &code);
    if (!kernel) {
        oclora_release(&context->env, name);
        if (code == CL_INVALID_KERNEL_NAME)
            return oclora_fail(err, OCLORA_NOT_FOUND, "%s.cl [%s] has no kernel '%s'", ref->file,
                               ref->defines, ref->entry);
        return oclora_context_fail_cl(context, err, code, "clCreateKernel", "%s of %s.cl [%s]",
                                      ref->entry, ref->file, ref->defines);
    }
    oclora_kernel *place = find_place(stream->kernels, stream->kernels_capacity, hash, ref);
    *place = (oclora_kernel){hash, (uint32_t)stream->n_kernels++, name, kernel};
    *out = place;
    return OCLORA_OK;
}

static oclora_status get_kernel(oclora_stream *stream, const oclora_kernel_ref *ref,
                                const oclora_kernel **out, oclora_error *err)
{
    uint64_t hash = hash_ref(ref);
    if (stream->kernels) {
        const oclora_kernel *place =
            find_place(stream->kernels, stream->kernels_capacity, hash, ref);
        if (place->cl) {
            *out = place;
            return OCLORA_OK;
        }
    }
    return create_kernel(stream, ref, hash, out, err);
}

static cl_int set_arg(cl_kernel kernel, cl_uint index, const oclora_arg *arg)
{
    switch (arg->kind) {
    case OCLORA_ARG_BUFFER: {
        const cl_mem *mem = arg->value.buffer ? &arg->value.buffer->cl : NULL;
        return clSetKernelArg(kernel, index, sizeof *mem, mem);
    }
    case OCLORA_ARG_VALUE:
    case OCLORA_ARG_FLOAT:
        return clSetKernelArg(kernel, index, arg->bytes, &arg->value);
    case OCLORA_ARG_LOCAL:
        return clSetKernelArg(kernel, index, arg->bytes, NULL);
    default:
        return CL_INVALID_ARG_VALUE;
    }
}

oclora_status oclora_stream_enqueue(oclora_stream *stream, cl_kernel kernel, const char *name,
                                    const oclora_arg *args, uint32_t n_args, uint32_t dims,
                                    const size_t *global, const size_t *local, oclora_error *err)
{
    const oclora_kernel_ref ref = oclora_kernel_ref_of(name);
    for (uint32_t i = 0; i < n_args; i++) {
        cl_int code = set_arg(kernel, i, &args[i]);
        if (code)
            return oclora_context_fail_cl(stream->context, err, code, "clSetKernelArg",
                                          "argument %u of %s in %s.cl [%s]", i, ref.entry, ref.file,
                                          ref.defines);
    }
    cl_int code =
        clEnqueueNDRangeKernel(stream->cl, kernel, dims, NULL, global, local, 0, NULL, NULL);
    if (code)
        return oclora_context_fail_cl(stream->context, err, code, "clEnqueueNDRangeKernel",
                                      "%s of %s.cl [%s], global %zu x %zu x %zu", ref.entry,
                                      ref.file, ref.defines, global[0], dims > 1 ? global[1] : 1,
                                      dims > 2 ? global[2] : 1);
    stream->stats.enqueues++;
    return OCLORA_OK;
}

oclora_status oclora_stream_launch(oclora_stream *stream, const oclora_kernel_ref *ref,
                                   const oclora_arg *args, uint32_t n_args, uint32_t dims,
                                   const size_t *global, const size_t *local, oclora_error *err)
{
    const oclora_kernel *kernel = NULL;
    OCLORA_TRY(oclora_context_health(stream->context, err));
    if (dims < 1 || dims > 3)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "launch of %s in %u dimensions",
                           ref->entry, dims);
    for (uint32_t i = 0; i < dims; i++)
        if (!global[i]) return OCLORA_OK;
    OCLORA_TRY(get_kernel(stream, ref, &kernel, err));
    const oclora_launch launch = {kernel, args, n_args, dims, global, local};
    if (oclora_chain_takes(stream->chain, &launch)) {
        OCLORA_TRY(oclora_chain_add(stream, &launch, err));
    } else {
        OCLORA_TRY(oclora_chain_submit(stream, err));
        OCLORA_TRY(oclora_stream_enqueue(stream, kernel->cl, kernel->name, args, n_args, dims,
                                         global, local, err));
    }
    stream->stats.launches++;
    return OCLORA_OK;
}

void oclora_stream_each_kernel(const oclora_stream *stream,
                               void (*visit)(void *user, const oclora_kernel_ref *kernel),
                               void *user)
{
    for (size_t i = 0; i < stream->kernels_capacity; i++) {
        if (!stream->kernels[i].cl) continue;
        const oclora_kernel_ref kernel = oclora_kernel_ref_of(stream->kernels[i].name);
        visit(user, &kernel);
    }
    const oclora_kernel_ref chain = {"chain", "chain", ""};
    if (oclora_chain_has_run(stream->chain)) visit(user, &chain);
}

void oclora_stream_release_kernels(oclora_stream *stream)
{
    const oclora_env *env = &stream->context->env;
    for (size_t i = 0; i < stream->kernels_capacity; i++) {
        if (stream->kernels[i].cl) clReleaseKernel(stream->kernels[i].cl);
        oclora_release(env, stream->kernels[i].name);
    }
    oclora_release(env, stream->kernels);
}
