#include "support/harness.h"

#include <stdio.h>
#include <string.h>

static oclora_device *devices;
static size_t n_devices;

static bool list_devices(void)
{
    oclora_error err = {0};
    oclora_release(oclora_test_env(), devices);
    devices = NULL;
    CHECK_OK(oclora_devices_list(oclora_test_env(), &devices, &n_devices, &err), &err);
    if (!n_devices) oclora_test_skip("no OpenCL device is installed");
    return n_devices > 0;
}

static void test_list(void)
{
    if (!list_devices()) return;
    for (size_t i = 0; i < n_devices; i++) {
        const oclora_device *device = &devices[i];
        printf("  %zu: %s / %s, driver %s, features 0x%x\n", i, device->platform, device->name,
               device->driver, device->features);
        CHECK_INT(device->index, i);
        CHECK(device->name[0] && device->platform[0] && device->driver[0] && device->version[0]);
        CHECK(device->type >= OCLORA_DEVICE_CPU && device->type <= OCLORA_DEVICE_ACCELERATOR);
        CHECK_INT(device->device_class,
                  device->type == OCLORA_DEVICE_CPU ? OCLORA_CLASS_CPU : OCLORA_CLASS_GPU);
        CHECK(device->compute_units && device->max_work_group);
        CHECK(device->max_alloc_bytes && device->global_bytes >= device->max_alloc_bytes);
        CHECK(device->local_bytes >= 32 * 1024 && device->base_align_bytes);
        CHECK(device->platform_handle && device->device_handle);
    }
}

static void test_default(void)
{
    oclora_error err = {0};
    oclora_device chosen = {0}, empty = {0};
    if (!list_devices()) return;
    CHECK_OK(oclora_device_find(oclora_test_env(), NULL, &chosen, &err), &err);
    CHECK_OK(oclora_device_find(oclora_test_env(), "", &empty, &err), &err);
    CHECK_INT(chosen.index, empty.index);
    bool any_gpu = false, any_intel = false;
    for (size_t i = 0; i < n_devices; i++) {
        any_gpu |= devices[i].type == OCLORA_DEVICE_GPU;
        any_intel |= strstr(devices[i].platform, "Intel") != NULL;
    }
    if (any_gpu)
        CHECK_INT(chosen.type, OCLORA_DEVICE_GPU);
    else if (any_intel)
        CHECK_CONTAINS(chosen.platform, "Intel");
}

static void test_selectors(void)
{
    oclora_error err = {0};
    oclora_device chosen = {0};
    char selector[256];
    if (!list_devices()) return;
    for (size_t i = 0; i < n_devices; i++) {
        snprintf(selector, sizeof selector, "%zu", i);
        CHECK_OK(oclora_device_find(oclora_test_env(), selector, &chosen, &err), &err);
        CHECK_INT(chosen.index, i);
        snprintf(selector, sizeof selector, "%s / %s", devices[i].platform, devices[i].name);
        for (char *at = selector; *at; at++)
            if (*at >= 'a' && *at <= 'z') *at = (char)(*at - 32);
        CHECK_OK(oclora_device_find(oclora_test_env(), selector, &chosen, &err), &err);
        CHECK(chosen.platform_handle == devices[i].platform_handle);
        CHECK(!strcmp(chosen.name, devices[i].name));
    }
    CHECK_STATUS(oclora_device_find(oclora_test_env(), "no such device", &chosen, &err),
                 OCLORA_NOT_FOUND, &err);
    CHECK_CONTAINS(err.text, devices[0].name);
    CHECK_STATUS(oclora_device_find(oclora_test_env(), "9999", &chosen, &err), OCLORA_NOT_FOUND,
                 &err);
    CHECK_STATUS(oclora_device_find(oclora_test_env(), "99999999999999999999999", &chosen, &err),
                 OCLORA_NOT_FOUND, &err);
}

static void test_ambiguous(void)
{
    oclora_error err = {0};
    oclora_device chosen = {0};
    if (!list_devices()) return;
    if (devices[0].platform_handle == devices[n_devices - 1].platform_handle) {
        oclora_test_skip("needs two OpenCL platforms");
        return;
    }
    CHECK_STATUS(oclora_device_find(oclora_test_env(), " / ", &chosen, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_CONTAINS(err.text, devices[0].platform);
}

static void test_context_checks(void)
{
    oclora_error err = {0};
    oclora_context *context = NULL;
    const oclora_device nothing = {0};
    CHECK_STATUS(oclora_context_create(&context, oclora_test_env(), &nothing, NULL, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_context_create(&context, NULL, NULL, NULL, &err), OCLORA_INVALID_ARGUMENT,
                 &err);
    oclora_context_destroy(NULL);
    oclora_buffer_destroy(NULL);
    oclora_stream_destroy(NULL);
    CHECK(context == NULL);
    if (!list_devices()) return;
    const oclora_context_options options = {.device_class = 3};
    CHECK_STATUS(oclora_context_create(&context, NULL, &devices[0], &options, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_OK(oclora_context_create(&context, NULL, &devices[0], NULL, &err), &err);
    CHECK_INT(oclora_context_class(context), devices[0].device_class);
    CHECK(!strcmp(oclora_context_device(context)->name, devices[0].name));
    oclora_context_destroy(context);
}

static void test_no_memory_left(void)
{
    oclora_release(oclora_test_env(), devices);
    devices = NULL;
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    const oclora_test tests[] = {
        {"the list is complete", test_list},
        {"the default device", test_default},
        {"selectors", test_selectors},
        {"a selector of two platforms is refused", test_ambiguous},
        {"contexts check their arguments", test_context_checks},
        {"nothing is leaked", test_no_memory_left},
    };
    return oclora_test_main("device", tests, sizeof tests / sizeof tests[0]);
}
