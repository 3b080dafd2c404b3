/* source.h - the kernel sources embedded at build time. */
#ifndef OCLORA_CORE_SOURCE_H
#define OCLORA_CORE_SOURCE_H

#include <stddef.h>

typedef struct oclora_source {
    const char *name;          /* file name in cl/ without .cl */
    const unsigned char *text; /* zero-terminated */
    size_t length;
} oclora_source;

/* Ends with an entry whose name is NULL. */
extern const oclora_source oclora_sources[];

#endif
