#include "plugin/native/args.h"

#include <string.h>

/* Caller's callbacks are handed to the engine as they are. */
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "the native ABI is for 64-bit hosts");

static uint64_t size_of(const void *theirs)
{
    uint64_t size;
    memcpy(&size, theirs, sizeof size);
    return size;
}

oclora_status native_room(const void *theirs, size_t v1_size, const char *what, oclora_error *err)
{
    if (theirs == NULL) return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "%s is NULL", what);
    const uint64_t size = size_of(theirs);
    if (size >= v1_size) return OCLORA_OK;
    return oclora_fail(err, OCLORA_ABI_MISMATCH,
                       "%s: struct_size is %llu, version 1.0 has %zu bytes; set it to sizeof the "
                       "struct",
                       what, (unsigned long long)size, v1_size);
}

oclora_status native_take(void *own, size_t own_size, size_t v1_size, const void *theirs,
                          const char *what, oclora_error *err)
{
    OCLORA_TRY(native_room(theirs, v1_size, what, err));
    const uint64_t size = size_of(theirs);
    memset(own, 0, own_size);
    memcpy(own, theirs, size < own_size ? (size_t)size : own_size);
    return OCLORA_OK;
}

void native_give(void *theirs, const void *own, size_t own_size)
{
    const uint64_t size = size_of(theirs);
    const size_t bytes = size < own_size ? (size_t)size : own_size;
    memcpy((char *)theirs + sizeof size, (const char *)own + sizeof size, bytes - sizeof size);
}

oclora_status native_text(char **out, const oclora_env *env, const char *text, uint64_t length,
                          uint64_t limit, int optional, const char *what, oclora_error *err)
{
    if (text == NULL && length == 0 && optional) {
        *out = NULL;
        return OCLORA_OK;
    }
    if (text == NULL || length == 0 || length > limit || memchr(text, 0, (size_t)length) != NULL)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "%s is a text of 1 to %llu bytes without zero bytes", what,
                           (unsigned long long)limit);
    char *copy = oclora_string_copy(env, text, (size_t)length);
    if (copy == NULL) return oclora_fail_memory(err, (size_t)length, what);
    *out = copy;
    return OCLORA_OK;
}

oclora_status native_report(oclora_message *message, oclora_status status, const oclora_error *err)
{
    const size_t head = offsetof(oclora_message, text);
    if (message == NULL || message->struct_size <= head) return status;
    const char *text = status == OCLORA_OK ? "" : err->text;
    size_t room = sizeof message->text;
    if (message->struct_size - head < room) room = (size_t)(message->struct_size - head);
    size_t length = strlen(text);
    if (length >= room) length = room - 1;
    while (length > 0 && length < strlen(text) && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--; /* not inside a UTF-8 character */
    memcpy(message->text, text, length);
    message->text[length] = 0;
    return status;
}

oclora_status native_env(oclora_env *out, const oclora_callbacks *callbacks, oclora_error *err)
{
    memset(out, 0, sizeof *out);
    if (callbacks == NULL) return OCLORA_OK;
    oclora_callbacks own;
    OCLORA_TRY(native_take(&own, sizeof own, NATIVE_SIZE(oclora_callbacks, reserved), callbacks,
                           "callbacks", err));
    if ((own.alloc == NULL) != (own.release == NULL))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "callbacks: alloc and release come together");
    out->alloc = own.alloc;
    out->release = own.release;
    out->alloc_user = own.alloc_user;
    out->log = own.log;
    out->log_user = own.log_user;
    out->log_level = own.log_level;
    return OCLORA_OK;
}
