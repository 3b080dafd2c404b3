/* Linked into tests of the operators and of whole graphs in front of the engine's own calls
 * (--wrap): device memory holds OCLORA_POISON (a byte; 255 makes NaNs) wherever the engine may not
 * rely on what it holds, and all that is read back goes into one digest, printed at the end.
 *
 *   new buffers         filled when they are made
 *   scratch memory      filled every time it is asked for
 *   __local arrays      filled at the start of each kernel that has some, in its source
 *
 * What was read before it was written shows as another digest under another poison. */
#include "host/core/cache.h"
#include "host/core/cl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The names that --wrap gives. NOLINTBEGIN(bugprone-reserved-identifier) */
#define REAL(name) __real_##name
#define WRAP(name) __wrap_##name
cl_program REAL(clCreateProgramWithSource)(cl_context, cl_uint, const char **, const size_t *,
                                           cl_int *);
cl_mem REAL(clCreateBuffer)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
oclora_status REAL(oclora_stream_scratch)(oclora_stream *, uint32_t, uint64_t, oclora_buffer **,
                                          oclora_error *);
oclora_status REAL(oclora_stream_read)(oclora_stream *, const oclora_buffer *, uint64_t, void *,
                                       uint64_t, oclora_error *);
cl_program WRAP(clCreateProgramWithSource)(cl_context, cl_uint, const char **, const size_t *,
                                           cl_int *);
cl_mem WRAP(clCreateBuffer)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
oclora_status WRAP(oclora_stream_scratch)(oclora_stream *, uint32_t, uint64_t, oclora_buffer **,
                                          oclora_error *);
oclora_status WRAP(oclora_stream_read)(oclora_stream *, const oclora_buffer *, uint64_t, void *,
                                       uint64_t, oclora_error *);
oclora_cache_result WRAP(oclora_cache_load)(const oclora_env *, const char *,
                                            const oclora_cache_key *, void **, size_t *);
bool WRAP(oclora_cache_store)(const oclora_env *, const char *, const oclora_cache_key *,
                              const void *, size_t);
/* NOLINTEND */

enum { PIECE = 640, NAMES = 8 };

static uint64_t digest = 0xcbf29ce484222325u;
static unsigned long n_buffers, n_scratch, n_arrays, n_reads;

static unsigned char poison(void)
{
    const char *text = getenv("OCLORA_POISON");
    return (unsigned char)(text != NULL ? atoi(text) : 255);
}

static void print_digest(void)
{
    printf("\npoisoned: %lu buffers, %lu uses of scratch memory, %lu local arrays\n", n_buffers,
           n_scratch, n_arrays);
    printf("digest of %lu reads: %016" PRIx64 "\n", n_reads, digest);
}

static void register_once(void)
{
    static int done;
    if (!done++) atexit(print_digest);
}

/* ---- local arrays ---- */

typedef struct text {
    char *data;
    size_t length, capacity;
} text;

static void append(text *t, const char *data, size_t length)
{
    if (t->length + length + 1 > t->capacity) {
        t->capacity = 2 * (t->length + length + 1);
        t->data = realloc(t->data, t->capacity);
        if (t->data == NULL) abort();
    }
    memcpy(t->data + t->length, data, length);
    t->length += length;
    t->data[t->length] = '\0';
}

static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Fills one array by all work-items of the group. */
static void append_fill(text *out, const char *name, size_t length)
{
    char piece[PIECE];
    const int n = snprintf(
        piece, sizeof piece,
        " { __local uchar *poison_p = (__local uchar *)%.*s;"
        " size_t poison_n = get_local_size(0) * get_local_size(1) * get_local_size(2);"
        " size_t poison_i = get_local_id(0) + get_local_size(0) * (get_local_id(1) +"
        " get_local_size(1) * get_local_id(2));"
        " for (; poison_i < sizeof(%.*s); poison_i += poison_n) poison_p[poison_i] = %u; }",
        (int)length, name, (int)length, name, (unsigned)poison());
    if (n <= 0 || n >= PIECE) abort();
    append(out, piece, (size_t)n);
    n_arrays++;
}

/* `at` is behind "__local" of a declaration that ends at `end`: every name before a '[' that is not
 * inside another's brackets. */
static void append_fills(text *out, const char *at, const char *end)
{
    int depth = 0;
    for (const char *c = at; c < end; c++) {
        if (*c == '[' && depth == 0 && is_word(c[-1])) {
            const char *first = c;
            while (is_word(first[-1])) first--;
            append_fill(out, first, (size_t)(c - first));
        }
        depth += (*c == '[') - (*c == ']');
    }
    static const char wait[] = " barrier(CLK_LOCAL_MEM_FENCE);";
    append(out, wait, sizeof wait - 1);
}

/* A declaration of arrays, not a pointer or a parameter. */
static const char *end_of_arrays(const char *at)
{
    return at[strcspn(at, "[*;,){")] == '[' ? at + strcspn(at, ";") : NULL;
}

static char *poisoned_source(const char *source, size_t length)
{
    static const char word[] = "__local";
    text in = {0}, out = {0};
    append(&in, source, length);
    const char *from = in.data;
    for (const char *at = from; (at = strstr(at, word)) != NULL;) {
        at += sizeof word - 1;
        const char *end = is_word(*at) ? NULL : end_of_arrays(at);
        if (end == NULL) continue;
        append(&out, from, (size_t)(end + 1 - from));
        append_fills(&out, at, end);
        from = at = end + 1;
    }
    append(&out, from, strlen(from));
    free(in.data);
    return out.data;
}

cl_program WRAP(clCreateProgramWithSource)(cl_context context, cl_uint count, const char **texts,
                                           const size_t *lengths, cl_int *code)
{
    if (count != 1) abort();
    char *source = poisoned_source(texts[0], lengths != NULL && lengths[0] != 0 ? lengths[0]
                                                                                : strlen(texts[0]));
    const char *all = source;
    cl_program program = REAL(clCreateProgramWithSource)(context, 1, &all, NULL, code);
    free(source);
    return program;
}

/* Programs of before, and for later, hold no poison. */
oclora_cache_result WRAP(oclora_cache_load)(const oclora_env *env, const char *dir,
                                            const oclora_cache_key *key, void **data, size_t *size)
{
    (void)env, (void)dir, (void)key, (void)data, (void)size;
    return OCLORA_CACHE_MISS;
}
bool WRAP(oclora_cache_store)(const oclora_env *env, const char *dir, const oclora_cache_key *key,
                              const void *data, size_t size)
{
    (void)env, (void)dir, (void)key, (void)data, (void)size;
    return true;
}

/* ---- buffers ---- */

static void fill(cl_context context, cl_mem mem, size_t bytes)
{
    const unsigned char value = poison();
    cl_device_id device = NULL;
    cl_int code = clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL);
    cl_command_queue queue = code ? NULL : clCreateCommandQueue(context, device, 0, &code);
    if (queue == NULL || clEnqueueFillBuffer(queue, mem, &value, 1, 0, bytes, 0, NULL, NULL) ||
        clFinish(queue))
        abort();
    clReleaseCommandQueue(queue);
    n_buffers++;
}

cl_mem WRAP(clCreateBuffer)(cl_context context, cl_mem_flags flags, size_t bytes, void *host,
                            cl_int *code)
{
    register_once();
    cl_mem mem = REAL(clCreateBuffer)(context, flags, bytes, host, code);
    if (mem != NULL && host == NULL) fill(context, mem, bytes);
    return mem;
}

oclora_status WRAP(oclora_stream_scratch)(oclora_stream *stream, uint32_t slot, uint64_t bytes,
                                          oclora_buffer **out, oclora_error *err)
{
    OCLORA_TRY(REAL(oclora_stream_scratch)(stream, slot, bytes, out, err));
    n_scratch++;
    return oclora_stream_fill(stream, *out, 0, oclora_buffer_bytes(*out), poison(), err);
}

oclora_status WRAP(oclora_stream_read)(oclora_stream *stream, const oclora_buffer *src,
                                       uint64_t offset, void *data, uint64_t bytes,
                                       oclora_error *err)
{
    OCLORA_TRY(REAL(oclora_stream_read)(stream, src, offset, data, bytes, err));
    for (uint64_t i = 0; i < bytes; i++)
        digest = (digest ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    n_reads++;
    return OCLORA_OK;
}
