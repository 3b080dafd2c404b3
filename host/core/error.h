/* error.h - how host/ reports failure: a status and, where the caller gave room, one text.
 *
 * Every fallible function takes `oclora_error *err` last. `err` may be NULL; it is written on
 * failure only. The text says what failed, where, and what to do next. Thread rule: an oclora_error
 * belongs to one thread. */
#ifndef OCLORA_CORE_ERROR_H
#define OCLORA_CORE_ERROR_H

#include "abi/oclora_types.h"

#include <stdarg.h>
#include <stddef.h>

typedef struct oclora_error {
    oclora_status status;
    char text[508];
} oclora_error;

#if defined(__GNUC__)
#define OCLORA_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#else
#define OCLORA_PRINTF(fmt_index, first_arg)
#endif

/* Records `status` and the formatted text in `err` (if any). @return `status`, so that
 * `return oclora_fail(err, OCLORA_..., "...")` is the whole error path. */
oclora_status oclora_fail(oclora_error *err, oclora_status status, const char *fmt, ...)
    OCLORA_PRINTF(3, 4);

/* As oclora_fail for a failed OpenCL call: maps `cl_code` to a status (out of memory, device lost,
 * build failure, other) and prefixes the text with `call` and the code's name. */
oclora_status oclora_fail_cl(oclora_error *err, int cl_code, const char *call, const char *fmt, ...)
    OCLORA_PRINTF(4, 5);

/* oclora_fail_cl with its arguments as a list. */
oclora_status oclora_fail_cl_list(oclora_error *err, int cl_code, const char *call, const char *fmt,
                                  va_list args) OCLORA_PRINTF(4, 0);

/* Puts "context: " before the text already in `err`. @return err's status, or `status` if err is NULL. */
oclora_status oclora_error_prefix(oclora_error *err, oclora_status status, const char *fmt, ...)
    OCLORA_PRINTF(3, 4);

const char *oclora_status_name(oclora_status status); /* "OCLORA_POOL_FULL"; never NULL */
const char *oclora_status_text(oclora_status status); /* the list's text; never NULL */
const char *oclora_cl_error_name(int cl_code);        /* "CL_OUT_OF_RESOURCES"; never NULL */

/* Returns from the calling function with the status of `expr` unless it is OCLORA_OK. */
#define OCLORA_TRY(expr)                                                                           \
    do {                                                                                           \
        oclora_status oclora_try_status_ = (expr);                                                 \
        if (oclora_try_status_ != OCLORA_OK) return oclora_try_status_;                            \
    } while (0)

#endif
