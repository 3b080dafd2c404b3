/* args.h - between the caller's structs, of whatever minor version, and this library's own. */
#ifndef OCLORA_NATIVE_ARGS_H
#define OCLORA_NATIVE_ARGS_H

#include "abi/oclora.h"
#include "host/core/env.h"

/* Size of a struct up to and with its last field of version 1.0: what a caller must have. */
#define NATIVE_SIZE(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

/* Copies the caller's struct into the zeroed `own`: no more than both have. Errors:
 * INVALID_ARGUMENT (NULL), ABI_MISMATCH (smaller than version 1.0). */
oclora_status native_take(void *own, size_t own_size, size_t v1_size, const void *theirs,
                          const char *what, oclora_error *err);

/* Whether an out-struct may be written; then writes it, keeping the caller's struct_size. */
oclora_status native_room(const void *theirs, size_t v1_size, const char *what, oclora_error *err);
void native_give(void *theirs, const void *own, size_t own_size);

/* A zero-terminated copy of a caller's text; release with oclora_release. NULL with length 0 gives
 * NULL where `optional`. INVALID_ARGUMENT: missing, longer than `limit`, or with a zero byte
 * inside. */
oclora_status native_text(char **out, const oclora_env *env, const char *text, uint64_t length,
                          uint64_t limit, int optional, const char *what, oclora_error *err);

enum { NATIVE_NAME_MAX = 127, NATIVE_PATH_MAX = 4096 };

/* Ends a call: the text into the caller's message, if any. @return `status`. */
oclora_status native_report(oclora_message *message, oclora_status status, const oclora_error *err);

/* Callbacks of version 1.0 or later -> env; NULL gives the defaults. */
oclora_status native_env(oclora_env *out, const oclora_callbacks *callbacks, oclora_error *err);

#endif
