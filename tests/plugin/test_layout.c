/* The binary layout of abi/oclora.h as version 1.0 froze it (64-bit hosts). A change here breaks
 * every host program that exists: fields and slots are appended, never moved. */
#include "native.h"

#define END(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))
/* The struct's last field, its size up to there, and no padding after it. */
#define PIN(type, last, bytes)                                                                     \
    _Static_assert(END(type, last) == (bytes) && sizeof(type) == (bytes), #type);                  \
    _Static_assert(offsetof(type, struct_size) == 0, #type " begins with its size")

PIN(oclora_message, text, 512);
PIN(oclora_callbacks, reserved, 56);
PIN(oclora_device_desc, reserved, 448);
PIN(oclora_context_args, no_cache, 80);
PIN(oclora_capabilities, reserved, 48);
PIN(oclora_weight_args, reserved, 64);
PIN(oclora_pool_args, budget_bytes, 16);
PIN(oclora_pool_desc, evictions, 56);
PIN(oclora_adapter_args, reserved, 48);
PIN(oclora_adapter_memory_args, reserved, 64);
PIN(oclora_adapter_desc, name, 208);
PIN(oclora_batch_args, instance, 48);
_Static_assert(END(oclora_batch_args, reserved) == 40, "version 1.0's batch");
PIN(oclora_linear_args, flags, 80);
PIN(oclora_api, event_destroy, 240);

_Static_assert(offsetof(oclora_weight_args, bias) == 40, "weight");
_Static_assert(offsetof(oclora_weight_args, type) == 48, "weight");
_Static_assert(offsetof(oclora_context_args, cl_context) == 48, "context");
_Static_assert(offsetof(oclora_context_args, device_class) == 72, "context");
_Static_assert(offsetof(oclora_batch_args, weight) == 24, "batch");
_Static_assert(offsetof(oclora_linear_args, x_mem) == 40, "linear");
_Static_assert(offsetof(oclora_linear_args, n_rows) == 72, "linear");
_Static_assert(offsetof(oclora_adapter_desc, hash) == 48, "adapter");
_Static_assert(offsetof(oclora_device_desc, global_bytes) == 392, "device");

static void test_table(void)
{
    void *library = NULL;
    const oclora_api *api = native_open(&library);
    CHECK_INT(api->struct_size, sizeof *api);
    CHECK_INT(api->major, 1);
    CHECK_INT(api->minor, OCLORA_MINOR);
    /* No slot is empty. */
    const size_t first = offsetof(oclora_api, version);
    for (size_t at = first; at < sizeof *api; at += sizeof(void *)) {
        void *slot = NULL;
        memcpy(&slot, (const char *)api + at, sizeof slot);
        CHECK(slot != NULL);
    }
    CHECK_CONTAINS(api->version(), ".");
    CHECK_CONTAINS(api->status_name(OCLORA_POOL_FULL), "OCLORA_POOL_FULL");
    CHECK_CONTAINS(api->status_text(OCLORA_POOL_FULL), "pool");
    CHECK(api->status_name(12345) != NULL && api->status_text(-1) != NULL);
    dlclose(library);
}

/* The header alone, in every language a host may be written in. */
static void test_header(void)
{
    static const char *const ways[] = {"c99", "c11", "c++11", "c++17"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char command[512];
        snprintf(command, sizeof command,
                 "printf '#include \"oclora.h\"\\n#include \"oclora.h\"\\n' | %s -std=%s -x %s "
                 "-Wall -Wextra -Wpedantic -Werror -fsyntax-only -I%s/abi -",
                 ways[i][1] == '+' ? "c++" : "cc", ways[i], ways[i][1] == '+' ? "c++" : "c",
                 OCLORA_SOURCE_DIR);
        if (!CHECK_INT(system(command), 0)) fprintf(stderr, "  %s\n", command);
    }
}

int main(void)
{
    static const oclora_test tests[] = {
        {"table and slots", test_table},
        {"the header alone", test_header},
    };
    return oclora_test_main("plugin_layout", tests, sizeof tests / sizeof *tests);
}
