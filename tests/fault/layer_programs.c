/* Built programs and contexts that are kept for the life of the process: a life with a fault then
 * takes milliseconds instead of the driver's compile time. The library under test sees no
 * difference: what it releases is gone for it, and what it builds anew is built from the same text.
 */
#include "layer_private.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXTS = 16, PROGRAMS = 512, UNITS = 129 };

/* What the library holds: a program by its contents, and the real one once it is known. */
typedef struct held_program {
    uint64_t hash; /* of context and contents, with the options once built */
    cl_program real;
    int built;     /* `real` is kept */
    char *options; /* compiled with these, once something is linked of it */
    cl_device_id device;
} held_program;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    cl_device_id device;
    cl_context context;
} contexts[CONTEXTS];
static struct {
    uint64_t hash;
    cl_program program;
} programs[PROGRAMS];

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

cl_context fault_context(const cl_context_properties *properties, cl_device_id device, cl_int *code)
{
    cl_context made = NULL;
    size_t place = 0;
    pthread_mutex_lock(&lock);
    while (place < CONTEXTS && contexts[place].device != NULL && contexts[place].device != device)
        place++;
    if (place < CONTEXTS && contexts[place].device == NULL) {
        /* No notification: its user would be the first holder, who goes. */
        contexts[place].context =
            fault_next->clCreateContext(properties, 1, &device, NULL, NULL, code);
        if (contexts[place].context != NULL) contexts[place].device = device;
    }
    if (place < CONTEXTS && contexts[place].device == device) {
        made = contexts[place].context;
        fault_next->clRetainContext(made);
        if (code != NULL) *code = CL_SUCCESS;
    }
    pthread_mutex_unlock(&lock);
    return made;
}

static cl_program find(uint64_t hash)
{
    for (size_t i = 0; i < PROGRAMS && programs[i].program != NULL; i++)
        if (programs[i].hash == hash) return programs[i].program;
    return NULL;
}

static cl_program hold(uint64_t hash, cl_program real)
{
    held_program *held = calloc(1, sizeof *held);
    if (held == NULL) abort();
    held->hash = hash;
    held->real = real;
    return (cl_program)(void *)held;
}

cl_program fault_program_of_source(cl_context context, cl_uint count, const char **texts,
                                   const size_t *lengths, cl_int *code)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, &context, sizeof context);
    for (cl_uint i = 0; i < count; i++)
        hash = hash_bytes(hash, texts[i],
                          lengths != NULL && lengths[i] > 0 ? lengths[i] : strlen(texts[i]));
    cl_program real = fault_next->clCreateProgramWithSource(context, count, texts, lengths, code);
    return real == NULL ? NULL : hold(hash, real);
}

cl_program fault_program_of_binary(cl_context context, cl_device_id device, size_t size,
                                   const unsigned char *binary, cl_int *status, cl_int *code)
{
    uint64_t hash = hash_bytes(0x84222325cbf29ce4u, &context, sizeof context);
    hash = hash_bytes(hash, binary, size);
    cl_program real =
        fault_next->clCreateProgramWithBinary(context, 1, &device, &size, &binary, status, code);
    return real == NULL ? NULL : hold(hash, real);
}

cl_int fault_program_build(cl_program program, const cl_device_id *device, const char *options)
{
    held_program *held = (held_program *)(void *)program;
    const char *words = options != NULL ? options : "";
    const uint64_t hash = hash_bytes(held->hash, words, strlen(words));
    cl_int code = CL_SUCCESS;
    if (held->built) return CL_SUCCESS;
    pthread_mutex_lock(&lock);
    cl_program kept = find(hash);
    if (kept != NULL) {
        fault_next->clReleaseProgram(held->real);
        held->real = kept;
        held->built = 1;
    } else {
        code = fault_next->clBuildProgram(held->real, 1, device, options, NULL, NULL);
        for (size_t i = 0; i < PROGRAMS && code == CL_SUCCESS && !held->built; i++) {
            if (programs[i].program != NULL) continue;
            programs[i].hash = hash;
            programs[i].program = held->real;
            held->built = 1;
        }
    }
    pthread_mutex_unlock(&lock);
    return code;
}

cl_int fault_program_compile(cl_program program, const cl_device_id *device, const char *options)
{
    held_program *held = (held_program *)(void *)program;
    const char *words = options != NULL ? options : "";
    held->hash = hash_bytes(held->hash, words, strlen(words));
    held->device = *device;
    held->options = strdup(words);
    return held->options != NULL ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
}

static cl_program link_units(cl_context context, const cl_device_id *device, const char *options,
                             cl_uint count, const cl_program *units, cl_int *code)
{
    cl_program real[UNITS];
    if (count > UNITS) abort();
    for (cl_uint i = 0; i < count; i++) {
        held_program *held = (held_program *)(void *)units[i];
        real[i] = held->real;
        *code = fault_next->clCompileProgram(held->real, 1, &held->device, held->options, 0, NULL,
                                             NULL, NULL, NULL);
        if (*code != CL_SUCCESS) return NULL;
    }
    return fault_next->clLinkProgram(context, 1, device, options, count, real, NULL, NULL, code);
}

cl_program fault_program_link(cl_context context, const cl_device_id *device, const char *options,
                              cl_uint count, const cl_program *units, cl_int *code)
{
    uint64_t hash = hash_bytes(0x8422232584222325u, &context, sizeof context);
    for (cl_uint i = 0; i < count; i++)
        hash = hash_bytes(hash, &((held_program *)(void *)units[i])->hash, sizeof hash);
    pthread_mutex_lock(&lock);
    cl_program real = find(hash);
    *code = CL_SUCCESS;
    int kept = real != NULL;
    if (real == NULL) real = link_units(context, device, options, count, units, code);
    for (size_t i = 0; i < PROGRAMS && real != NULL && *code == CL_SUCCESS && !kept; i++) {
        if (programs[i].program != NULL) continue;
        programs[i].hash = hash;
        programs[i].program = real;
        kept = 1;
    }
    pthread_mutex_unlock(&lock);
    if (real == NULL) return NULL;
    cl_program made = hold(hash, real);
    ((held_program *)(void *)made)->built = kept;
    return made;
}

cl_program fault_program_real(cl_program program)
{
    return ((held_program *)(void *)program)->real;
}

cl_int fault_program_release(cl_program program)
{
    held_program *held = (held_program *)(void *)program;
    const cl_int code = held->built ? CL_SUCCESS : fault_next->clReleaseProgram(held->real);
    free(held->options);
    free(held);
    return code;
}
