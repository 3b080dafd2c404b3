/* Loading and unloading the library; what it exports; version negotiation. */
#include "native.h"

static void test_ten_times(void)
{
    for (int i = 0; i < 10; i++) {
        oclora_message msg = {sizeof msg, ""};
        void *library = NULL;
        const oclora_api *api = native_open(&library);
        uint32_t count = 0;
        oclora_context_t *context = NULL;
        WANT_OK(api->device_count(&count, &msg));
        const oclora_context_args args = {.struct_size = sizeof args, .no_cache = 1};
        if (count > 0) WANT_OK(api->context_create(&args, &context, &msg));
        api->context_destroy(context);
        CHECK_INT(dlclose(library), 0);
    }
}

static void test_negotiation(void)
{
    void *library = NULL;
    native_open(&library);
    oclora_get_api_fn get = NULL;
    void *symbol = dlsym(library, "oclora_get_api");
    memcpy(&get, &symbol, sizeof get);
    CHECK(get(0) == NULL);
    CHECK(get(OCLORA_MAJOR + 1) == NULL);
    CHECK(get(UINT32_MAX) == NULL);
    CHECK(get(1) != NULL && get(1) == get(1));
    dlclose(library);
}

static void test_symbols(void)
{
    char line[256] = "";
    char only[256] = "";
    int count = 0;
    FILE *nm = popen("nm -D --defined-only " NATIVE_LIBRARY, "r");
    if (!CHECK(nm != NULL)) return;
    while (fgets(line, sizeof line, nm) != NULL) {
        memcpy(only, line, sizeof only);
        count++;
    }
    CHECK_INT(pclose(nm), 0);
    CHECK_INT(count, 1);
    CHECK_CONTAINS(only, " T oclora_get_api");
}

int main(void)
{
    static const oclora_test tests[] = {
        {"loaded and unloaded ten times", test_ten_times},
        {"versions", test_negotiation},
        {"one exported symbol", test_symbols},
    };
    return oclora_test_main("plugin_load", tests, sizeof tests / sizeof *tests);
}
