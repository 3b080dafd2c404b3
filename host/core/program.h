/* program.h - what can be known of a context's built programs without OpenCL types (tests, tools). */
#ifndef OCLORA_CORE_PROGRAM_H
#define OCLORA_CORE_PROGRAM_H

#include "host/core/cache.h"
#include "host/core/context.h"

typedef struct oclora_program_stats {
    uint32_t compiled; /* from source */
    uint32_t loaded;   /* from the disk cache */
    uint32_t rejected; /* cache files that were there and could not be used */
} oclora_program_stats;
oclora_program_stats oclora_context_program_stats(oclora_context *context);

/* Builds (file, defines) now if it is not there yet, so that a later launch does not wait. */
oclora_status oclora_context_build(oclora_context *context, const char *file, const char *defines,
                                   oclora_error *err);

/* The kernels of (file, defines) on this device and class, built if need be: names with ';' between
 * them, to be released with oclora_release. */
oclora_status oclora_context_kernel_names(oclora_context *context, const char *file,
                                          const char *defines, char **out, oclora_error *err);

/* The name the disk cache gives this program on this device, driver and format. */
oclora_status oclora_context_program_key(const oclora_context *context, const char *file,
                                         const char *defines, oclora_cache_key *out,
                                         oclora_error *err);

/* The directory of the disk cache; NULL = none. */
const char *oclora_context_cache_dir(const oclora_context *context);

#endif
