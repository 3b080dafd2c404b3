/* What the plugin takes for a host it knows. */
#include "ggml/doctored.h"
#include "support/harness.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static char log_text[4096];

static void keep_log(enum ggml_log_level level, const char *text, void *user)
{
    (void)level, (void)user;
    size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof log_text - used, "%s", text);
}

typedef ggml_backend_reg_t (*load_function)(const char *, enum doctored_mode);

static load_function doctored(void)
{
    void *library = dlopen(OCLORA_TESTS_DIR "/oclora_doctored.so", RTLD_NOW | RTLD_LOCAL);
    void *address = library != NULL ? dlsym(library, "doctored_load") : NULL;
    load_function load;
    memcpy(&load, &address, sizeof load);
    return load;
}

static void test_declined(void)
{
    static const struct {
        enum doctored_mode mode;
        const char *reason;
    } cases[] = {
        {DOCTORED_VERSION, "version 1.0.0"},
        {DOCTORED_TENSOR_SIZE, "a tensor takes"},
        {DOCTORED_FIELDS, "w->name"},
        {DOCTORED_BLOCK, "is not q4_1"},
        {DOCTORED_NO_OPERATOR, "no operator SET_ROWS"},
        {DOCTORED_MOVED_OPERATOR, "OCLORA_OP_SCALE"},
        {DOCTORED_PARAMETERS, "f32_param(t, 5)"},
        {DOCTORED_TABLE, "buffer table"},
        {DOCTORED_NO_CALL, "backend table"},
    };
    load_function load = doctored();
    CHECK(load != NULL);
    for (size_t i = 0; load != NULL && i < sizeof cases / sizeof cases[0]; i++) {
        log_text[0] = '\0';
        CHECK(load(OCLORA_PLUGIN, cases[i].mode) == NULL);
        CHECK_CONTAINS(log_text, "HOST_MISMATCH");
        CHECK_CONTAINS(log_text, cases[i].reason);
    }
}

/* The same library with nothing changed is accepted: the refusals above were for their reasons. */
static void test_accepted(void)
{
    load_function load = doctored();
    log_text[0] = '\0';
    ggml_backend_reg_t reg = load != NULL ? load(OCLORA_PLUGIN, DOCTORED_NOTHING) : NULL;
    if (reg == NULL && strstr(log_text, "NO_DEVICE") != NULL) {
        oclora_test_skip("no OpenCL device");
        return;
    }
    CHECK(reg != NULL);
    CHECK(reg == NULL || strcmp(ggml_backend_reg_name(reg), "OCLORA") == 0);
}

static void test_many_loads(void)
{
    for (int i = 0; i < 10; i++) {
        ggml_backend_reg_t reg = ggml_backend_load(OCLORA_PLUGIN);
        if (reg == NULL && strstr(log_text, "NO_DEVICE") != NULL) {
            oclora_test_skip("no OpenCL device");
            return;
        }
        CHECK(reg != NULL);
        if (reg == NULL) return;
        CHECK_INT(ggml_backend_reg_dev_count(reg), 1);
        ggml_backend_dev_t device = ggml_backend_reg_dev_get(reg, 0);
        ggml_backend_t backend = ggml_backend_dev_init(device, NULL);
        CHECK(backend != NULL);
        ggml_backend_free(backend);
        CHECK(ggml_backend_reg_get_proc_address(reg, "oclora_ggml_get_api") != NULL);
        CHECK(ggml_backend_reg_get_proc_address(reg, "anything") == NULL);
        ggml_backend_unload(reg);
        CHECK(ggml_backend_reg_by_name("OCLORA") == NULL);
    }
}

int main(void)
{
    static const oclora_test tests[] = {
        {"declined", test_declined},
        {"accepted", test_accepted},
        {"loaded ten times", test_many_loads},
    };
    ggml_log_set(keep_log, NULL);
    return oclora_test_main("ggml host", tests, sizeof tests / sizeof tests[0]);
}
