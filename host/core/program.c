#include "host/core/cl.h"

#include "host/core/source.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* OpenCL C 1.2 and IEEE arithmetic as written: no fast-math option is ever added. */
char *oclora_program_options(const oclora_context *context, const char *defines)
{
    static const char base[] = "-cl-std=CL1.2 ";
    const char *device_class = context->device_class == OCLORA_CLASS_GPU ? "-DOCLORA_CLASS_GPU=1 "
                                                                         : "-DOCLORA_CLASS_CPU=1 ";
    size_t size = sizeof base + strlen(device_class) + strlen(defines);
    char *options = oclora_alloc(&context->env, size, 1);
    if (options) snprintf(options, size, "%s%s%s", base, device_class, defines);
    return options;
}

oclora_status oclora_program_source(const char *file, const oclora_source **out, oclora_error *err)
{
    for (const oclora_source *source = oclora_sources; source->name; source++) {
        if (strcmp(source->name, file)) continue;
        *out = source;
        return OCLORA_OK;
    }
    return oclora_fail(err, OCLORA_NOT_FOUND, "no kernel file '%s.cl' was built in", file);
}

static bool make_key(const oclora_context *context, const char *text, const char *options,
                     oclora_cache_key *out)
{
    const oclora_device *device = &context->device;
    char processor[4096] = "";
    if (device->type == OCLORA_DEVICE_CPU) oclora_cache_processor(processor, sizeof processor);
    const char *parts[] = {text,           options,          device->name,   device->version,
                           device->driver, device->platform, device->vendor, processor};
    return oclora_cache_key_make(out, parts, sizeof parts / sizeof parts[0]);
}

oclora_status oclora_context_program_key(const oclora_context *context, const char *file,
                                         const char *defines, oclora_cache_key *out,
                                         oclora_error *err)
{
    const oclora_source *source = NULL;
    OCLORA_TRY(oclora_program_source(file, &source, err));
    char *options = oclora_program_options(context, defines);
    if (!options) return oclora_fail_memory(err, strlen(defines), "build options");
    bool ok = make_key(context, (const char *)source->text, options, out);
    oclora_release(&context->env, options);
    return ok ? OCLORA_OK : oclora_fail(err, OCLORA_INTERNAL, "no SHA-256 from libcrypto");
}

/* @return NULL if there is no usable binary; the caller compiles then. */
static cl_program load_binary(oclora_context *context, const oclora_cache_key *key,
                              const char *options)
{
    void *data = NULL;
    size_t size = 0;
    oclora_cache_result result =
        oclora_cache_load(&context->env, context->cache_dir, key, &data, &size);
    if (result == OCLORA_CACHE_REJECTED) atomic_fetch_add(&context->rejected, 1);
    if (result != OCLORA_CACHE_HIT) return NULL;

    const unsigned char *binary = data;
    cl_int code = CL_SUCCESS, load_status = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(context->cl, 1, &context->cl_device, &size,
                                                   &binary, &load_status, &code);
    oclora_release(&context->env, data);
    if (program && (code || load_status ||
                    clBuildProgram(program, 1, &context->cl_device, options, NULL, NULL))) {
        clReleaseProgram(program);
        program = NULL;
    }
    if (program)
        atomic_fetch_add(&context->loaded, 1);
    else
        atomic_fetch_add(&context->rejected, 1);
    return program;
}

static void save_binary(oclora_context *context, const oclora_cache_key *key, cl_program program)
{
    size_t size = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || !size)
        return;
    unsigned char *binary = oclora_alloc(&context->env, size, 1);
    if (!binary) return;
    if (!clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL))
        oclora_cache_store(&context->env, context->cache_dir, key, binary, size);
    oclora_release(&context->env, binary);
}

oclora_status oclora_program_fail(oclora_context *context, cl_program program, cl_int code,
                                  const char *call, const char *file, const char *defines,
                                  oclora_error *err)
{
    char head[301] = "(no build log)";
    size_t size = 0;
    clGetProgramBuildInfo(program, context->cl_device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = size > 1 && size < SIZE_MAX ? oclora_alloc(&context->env, size + 1, 1) : NULL;
    if (log) {
        clGetProgramBuildInfo(program, context->cl_device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
        oclora_log(&context->env, OCLORA_LOG_INFO, "build log of %s.cl [%s]: %s", file, defines,
                   log);
        snprintf(head, sizeof head, "%s", log);
    }
    oclora_release(&context->env, log);
    oclora_status status =
        oclora_context_fail_cl(context, err, code, call, "%s.cl [%s] on '%.60s': %s", file, defines,
                               context->device.name, head);
    /* Runtimes disagree on the code for a rejected source. */
    if (status == OCLORA_OPENCL) status = OCLORA_BUILD_FAILED;
    if (err) err->status = status;
    return status;
}

static oclora_status compile(oclora_context *context, const char *options, const void *user,
                             cl_program *out, oclora_error *err)
{
    const oclora_kernel_ref *ref = user;
    const oclora_source *source = NULL;
    OCLORA_TRY(oclora_program_source(ref->file, &source, err));
    const char *text = (const char *)source->text;
    cl_int code = CL_SUCCESS;
    cl_program program = clCreateProgramWithSource(context->cl, 1, &text, &source->length, &code);
    if (!program)
        return oclora_context_fail_cl(context, err, code, "clCreateProgramWithSource", "%s.cl",
                                      source->name);
    code = clBuildProgram(program, 1, &context->cl_device, options, NULL, NULL);
    if (code) {
        oclora_status status = oclora_program_fail(context, program, code, "clBuildProgram",
                                                   ref->file, ref->defines, err);
        clReleaseProgram(program);
        return status;
    }
    *out = program;
    return OCLORA_OK;
}

oclora_status oclora_program_cached(oclora_context *context, const char *text, const char *options,
                                    bool costly, oclora_program_compiler make, const void *user,
                                    cl_program *out, oclora_error *err)
{
    oclora_cache_key key;
    bool cached = context->cache_dir && (costly || !context->no_binaries) &&
                  make_key(context, text, options, &key);
    cl_program program = cached ? load_binary(context, &key, options) : NULL;
    if (!program) {
        if (!make) return OCLORA_OK;
        OCLORA_TRY(make(context, options, user, &program, err));
        atomic_fetch_add(&context->compiled, 1);
        if (cached) save_binary(context, &key, program);
    }
    *out = program;
    return OCLORA_OK;
}

static oclora_status make_plain(oclora_context *context, const char *file, const char *defines,
                                cl_program *out, oclora_error *err)
{
    const oclora_source *source = NULL;
    const oclora_kernel_ref ref = {file, "", defines};
    OCLORA_TRY(oclora_program_source(file, &source, err));
    char *options = oclora_program_options(context, defines);
    if (!options) return oclora_fail_memory(err, strlen(defines), "build options");
    oclora_status status = oclora_program_cached(context, (const char *)source->text, options,
                                                 false, compile, &ref, out, err);
    oclora_release(&context->env, options);
    return status;
}

static cl_program find_program(const oclora_context *context, const char *file, const char *key)
{
    for (size_t i = 0; i < context->n_programs; i++) {
        const oclora_program *program = &context->programs[i];
        if (!strcmp(program->file, file) && !strcmp(program->defines, key)) return program->cl;
    }
    return NULL;
}

static oclora_status add_program(oclora_context *context, const char *file, const char *key,
                                 cl_program made, oclora_error *err)
{
    const oclora_env *env = &context->env;
    OCLORA_TRY(oclora_reserve(env, &context->programs, &context->programs_capacity,
                              context->n_programs + 1, sizeof *context->programs, err));
    oclora_program program = {.cl = made};
    program.file = oclora_string_copy(env, file, strlen(file));
    program.defines = oclora_string_copy(env, key, strlen(key));
    if (!program.file || !program.defines) {
        oclora_release(env, program.file);
        oclora_release(env, program.defines);
        return oclora_fail_memory(err, strlen(file) + strlen(key), "a program's name");
    }
    context->programs[context->n_programs++] = program;
    return OCLORA_OK;
}

cl_program oclora_program_find(oclora_context *context, const char *file, const char *key)
{
    pthread_mutex_lock(&context->lock);
    cl_program found = find_program(context, file, key);
    pthread_mutex_unlock(&context->lock);
    return found;
}

oclora_status oclora_program_keep(oclora_context *context, const char *file, const char *key,
                                  cl_program made, cl_program *out, oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&context->lock);
    cl_program found = find_program(context, file, key);
    if (!found) status = add_program(context, file, key, made, err);
    pthread_mutex_unlock(&context->lock);
    if (found || status) clReleaseProgram(made);
    if (!status) *out = found ? found : made;
    return status;
}

/* Threads that want the same file at once wait for one build of it. */
oclora_status oclora_program_get(oclora_context *context, const char *file, const char *defines,
                                 cl_program *out, oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&context->lock);
    cl_program found = find_program(context, file, defines);
    if (!found) {
        status = make_plain(context, file, defines, &found, err);
        if (!status) status = add_program(context, file, defines, found, err);
        if (status && found) clReleaseProgram(found);
    }
    pthread_mutex_unlock(&context->lock);
    if (!status) *out = found;
    return status;
}

oclora_status oclora_context_build(oclora_context *context, const char *file, const char *defines,
                                   oclora_error *err)
{
    cl_program program = NULL;
    OCLORA_TRY(oclora_context_health(context, err));
    return oclora_program_get(context, file, defines, &program, err);
}

oclora_status oclora_context_kernel_names(oclora_context *context, const char *file,
                                          const char *defines, char **out, oclora_error *err)
{
    cl_program program = NULL;
    size_t size = 0;
    OCLORA_TRY(oclora_program_get(context, file, defines, &program, err));
    cl_int code = clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, 0, NULL, &size);
    char *names = code ? NULL : oclora_alloc(&context->env, size + 1, 1);
    if (!code && !names) return oclora_fail_memory(err, size + 1, "names of kernels");
    if (!code) code = clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, size, names, NULL);
    if (!code) {
        *out = names;
        return OCLORA_OK;
    }
    oclora_release(&context->env, names);
    return oclora_context_fail_cl(context, err, code, "clGetProgramInfo", "kernels of %s.cl", file);
}

oclora_program_stats oclora_context_program_stats(oclora_context *context)
{
    const oclora_program_stats stats = {atomic_load(&context->compiled),
                                        atomic_load(&context->loaded),
                                        atomic_load(&context->rejected)};
    return stats;
}

void oclora_programs_destroy(oclora_context *context)
{
    for (size_t i = 0; i < context->n_programs; i++) {
        clReleaseProgram(context->programs[i].cl);
        oclora_release(&context->env, context->programs[i].file);
        oclora_release(&context->env, context->programs[i].defines);
    }
    oclora_release(&context->env, context->programs);
}
