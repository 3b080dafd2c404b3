#define _GNU_SOURCE
#include "memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIBRARIES = 8, TABLE = 1 << 16 };

/* glibc's own names of what is defined here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *memory);

static struct {
    uintptr_t begin, end;
    int kind;
} libraries[LIBRARIES];
static int n_libraries;

static atomic_long calls, failures, live, at, also;
static atomic_int armed, on, kind_of_plan;
static const char *_Atomic last;

/* Addresses of live allocations: open addressing, removal leaves a mark. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t table[TABLE];
enum { REMOVED = 1 };

typedef struct search {
    const char *name;
    uintptr_t begin, end;
} search;

static int look_at(struct dl_phdr_info *info, size_t size, void *user)
{
    search *wanted = user;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *name = slash != NULL ? slash + 1 : info->dlpi_name;
    (void)size;
    if (strncmp(name, wanted->name, strlen(wanted->name)) != 0) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
        wanted->begin = info->dlpi_addr + part->p_vaddr;
        wanted->end = wanted->begin + part->p_memsz;
    }
    return 1;
}

bool fault_memory_watch(const char *file_name, bool kept)
{
    search wanted = {file_name, 0, 0};
    dl_iterate_phdr(look_at, &wanted);
    if (wanted.begin == 0 || n_libraries == LIBRARIES) return false;
    libraries[n_libraries].begin = wanted.begin;
    libraries[n_libraries].end = wanted.end;
    libraries[n_libraries].kind = strstr(file_name, "jansson") != NULL ? 3 : kept ? 2 : 1;
    n_libraries++;
    return true;
}

void fault_memory_forget(void)
{
    n_libraries = 0;
}

/* 0 for callers that are not watched, 1 for watched ones, 2 for those whose memory is counted too.
 */
static int caller_is(const void *caller)
{
    const uintptr_t address = (uintptr_t)caller;
    for (int i = 0; i < n_libraries; i++)
        if (address >= libraries[i].begin && address < libraries[i].end) return libraries[i].kind;
    return 0;
}

void fault_memory_arm(int kind, long first, long second, bool from_then_on)
{
    atomic_store(&kind_of_plan, kind);
    atomic_store(&at, first);
    atomic_store(&also, second);
    atomic_store(&on, from_then_on);
    atomic_store(&calls, 0);
    atomic_store(&failures, 0);
    atomic_store(&last, NULL);
    atomic_store(&armed, 1);
}

void fault_memory_disarm(void)
{
    atomic_store(&armed, 0);
}
long fault_memory_calls(void)
{
    return atomic_load(&calls);
}
long fault_memory_failures(void)
{
    return atomic_load(&failures);
}
long fault_memory_live(void)
{
    return atomic_load(&live);
}
const char *fault_memory_last(void)
{
    const char *name = atomic_load(&last);
    return name != NULL ? name : "nothing";
}

static bool fails(int kind, const void *caller, const char *name)
{
    if (!atomic_load(&armed) || atomic_load(&kind_of_plan) != kind || caller_is(caller) == 0)
        return false;
    const long n = atomic_fetch_add(&calls, 1) + 1, first = atomic_load(&at);
    if (first == 0 || (n != first && n != atomic_load(&also) && !(atomic_load(&on) && n > first)))
        return false;
    if (atomic_fetch_add(&failures, 1) == 0) atomic_store(&last, name);
    return true;
}

static size_t place_of(uintptr_t address)
{
    return (size_t)(address >> 4) * 2654435761u % TABLE;
}

static void *keep(void *memory, const void *caller)
{
    if (memory == NULL || caller_is(caller) < 2) return memory;
    pthread_mutex_lock(&lock);
    size_t place = place_of((uintptr_t)memory);
    while (table[place] > REMOVED) place = (place + 1) % TABLE;
    table[place] = (uintptr_t)memory;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&live, 1);
    return memory;
}

static void drop(const void *memory)
{
    if (memory == NULL || atomic_load(&live) == 0) return;
    pthread_mutex_lock(&lock);
    size_t place = place_of((uintptr_t)memory);
    while (table[place] != 0 && table[place] != (uintptr_t)memory) place = (place + 1) % TABLE;
    const bool found = table[place] != 0;
    if (found) table[place] = table[(place + 1) % TABLE] == 0 ? 0 : REMOVED;
    pthread_mutex_unlock(&lock);
    if (found) atomic_fetch_sub(&live, 1);
}

/* jansson 2.14 asserts, and ends the process, where the buffer of the text that it reads cannot
 * grow: its sizes are powers of two. */
static bool is_text_buffer(const void *caller, size_t size)
{
    return caller_is(caller) == 3 && (size & (size - 1)) == 0;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size)
{
    if (!is_text_buffer(CALLER, size) && fails(FAULT_MEMORY, CALLER, "malloc")) return NULL;
    return keep(__libc_malloc(size), CALLER);
}
void *calloc(size_t count, size_t size)
{
    if (fails(FAULT_MEMORY, CALLER, "calloc")) return NULL;
    return keep(__libc_calloc(count, size), CALLER);
}
void *realloc(void *old, size_t size)
{
    if (fails(FAULT_MEMORY, CALLER, "realloc")) return NULL;
    drop(old);
    return keep(__libc_realloc(old, size), CALLER);
}
void *aligned_alloc(size_t align, size_t size)
{
    if (fails(FAULT_MEMORY, CALLER, "aligned_alloc")) return NULL;
    return keep(__libc_memalign(align, size), CALLER);
}
void free(void *memory)
{
    drop(memory);
    __libc_free(memory);
}

/* The C library's function of a name, kept in `found`. */
static void *real(const char *name, void *_Atomic *found)
{
    void *address = atomic_load(found);
    if (address == NULL) atomic_store(found, address = dlsym(RTLD_NEXT, name));
    return address;
}

#define SYSTEM(type, name, bad, number, parameters, arguments)                                     \
    type name parameters                                                                           \
    {                                                                                              \
        static void *_Atomic found;                                                                \
        if (fails(FAULT_SYSTEM, CALLER, #name)) {                                                  \
            errno = number;                                                                        \
            return bad;                                                                            \
        }                                                                                          \
        type(*function) parameters;                                                                \
        void *address = real(#name, &found);                                                       \
        memcpy(&function, &address, sizeof function);                                              \
        return function arguments;                                                                 \
    }
SYSTEM(FILE *, fopen, NULL, EMFILE, (const char *restrict p, const char *restrict m), (p, m))
SYSTEM(void *, mmap, MAP_FAILED, ENOMEM, (void *a, size_t s, int p, int f, int d, off_t o),
       (a, s, p, f, d, o))
SYSTEM(ssize_t, read, -1, EIO, (int d, void *b, size_t s), (d, b, s))
SYSTEM(ssize_t, write, -1, ENOSPC, (int d, const void *b, size_t s), (d, b, s))
SYSTEM(int, fstat, -1, EIO, (int d, struct stat *s), (d, s))
SYSTEM(int, stat, -1, EACCES, (const char *restrict p, struct stat *restrict s), (p, s))
SYSTEM(int, mkdir, -1, EROFS, (const char *p, mode_t m), (p, m))
SYSTEM(int, mkstemp, -1, EROFS, (char *p), (p))
SYSTEM(int, rename, -1, EROFS, (const char *a, const char *b), (a, b))
SYSTEM(int, pthread_mutex_init, EAGAIN, EAGAIN, (pthread_mutex_t * m, const pthread_mutexattr_t *a),
       (m, a))
SYSTEM(int, pthread_cond_init, EAGAIN, EAGAIN,
       (pthread_cond_t *restrict c, const pthread_condattr_t *restrict a), (c, a))
SYSTEM(int, pthread_create, EAGAIN, EAGAIN,
       (pthread_t *restrict t, const pthread_attr_t *restrict a, void *(*f)(void *),
        void *restrict u),
       (t, a, f, u))

int open(const char *path, int flags, ...)
{
    static void *_Atomic found;
    mode_t mode = 0;
    if ((flags & O_CREAT) != 0) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (fails(FAULT_SYSTEM, CALLER, "open")) {
        errno = EMFILE;
        return -1;
    }
    int (*function)(const char *, int, ...);
    void *address = real("open", &found);
    memcpy(&function, &address, sizeof function);
    return function(path, flags, mode);
}
