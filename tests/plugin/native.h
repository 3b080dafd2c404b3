/* native.h - what the tests of liboclora.so share: the library by dlopen, a small base, messages.
 */
#ifndef OCLORA_TESTS_NATIVE_H
#define OCLORA_TESTS_NATIVE_H

#include "abi/oclora.h"

#include "support/harness.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NATIVE_LIBRARY OCLORA_BUILD_DIR "/lib/liboclora.so"

/* Loads the library and asks for its table; the program ends without. */
static inline const oclora_api *native_open(void **library)
{
    *library = dlopen(NATIVE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (*library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    oclora_get_api_fn get = NULL;
    void *symbol = dlsym(*library, "oclora_get_api");
    memcpy(&get, &symbol, sizeof get);
    const oclora_api *api = get == NULL ? NULL : get(OCLORA_MAJOR);
    if (api == NULL) exit(1);
    return api;
}

static inline bool native_check(oclora_status actual, oclora_status expected,
                                const oclora_message *message, const char *what, const char *file,
                                int line)
{
    oclora_error err = {.status = actual};
    if (message != NULL) snprintf(err.text, sizeof err.text, "%s", message->text);
    return oclora_check_status(actual, expected, &err, what, file, line);
}

/* A call of the table against the status it must give; `msg` is the message it was given. */
#define WANT(call, expected) native_check((call), (expected), &msg, #call, __FILE__, __LINE__)
#define WANT_OK(call)        WANT(call, OCLORA_OK)

/* Runs `run` for each device, or with `classes` for each device and class. OCLORA_TEST_DEVICE
 * limits it to devices whose "platform / name" contains that text. */
static inline void native_each(const oclora_api *api, int classes,
                               void (*run)(uint32_t device, uint32_t device_class))
{
    oclora_message msg = {sizeof msg, ""};
    uint32_t count = 0;
    WANT_OK(api->device_count(&count, &msg));
    if (count == 0) oclora_test_skip("no OpenCL device");
    for (uint32_t i = 0; i < count; i++) {
        oclora_device_desc desc = {.struct_size = sizeof desc};
        WANT_OK(api->device_info(i, &desc, &msg));
        char title[200];
        const char *only = getenv("OCLORA_TEST_DEVICE");
        snprintf(title, sizeof title, "%s / %s", desc.platform, desc.name);
        if (only != NULL && strstr(title, only) == NULL) continue;
        for (uint32_t c = classes ? OCLORA_CLASS_CPU : OCLORA_CLASS_AUTO;
             c <= (classes ? OCLORA_CLASS_GPU : OCLORA_CLASS_AUTO); c++) {
            printf("  on %s / %s%s\n", desc.platform, desc.name,
                   c == OCLORA_CLASS_GPU   ? ", GPU class"
                   : c == OCLORA_CLASS_CPU ? ", CPU class"
                                           : "");
            run(i, c);
        }
    }
}

static inline oclora_context_t *native_context(const oclora_api *api, uint32_t device,
                                               uint32_t device_class)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_context_t *context = NULL;
    char index[16];
    snprintf(index, sizeof index, "%u", device);
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .device = index,
                                      .device_length = strlen(index),
                                      .cache_dir = OCLORA_BUILD_DIR "/test-cache",
                                      .cache_dir_length = strlen(OCLORA_BUILD_DIR "/test-cache"),
                                      .device_class = device_class};
    WANT_OK(api->context_create(&args, &context, &msg));
    return context;
}

#endif
