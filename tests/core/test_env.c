#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

/* An environment that hands out dirty memory and fails from the n-th request on. */
typedef struct limited {
    int left;
    int live;
    char logged[64];
} limited;

static void *limited_alloc(void *user, size_t size, size_t align)
{
    limited *self = user;
    if (self->left-- <= 0) return NULL;
    void *ptr = aligned_alloc(align, size);
    if (ptr) {
        memset(ptr, 0xcd, size);
        self->live++;
    }
    return ptr;
}

static void limited_release(void *user, void *ptr)
{
    limited *self = user;
    self->live--;
    free(ptr);
}

static void limited_log(void *user, int32_t level, const char *text, size_t length)
{
    limited *self = user;
    CHECK_INT(strlen(text), length);
    CHECK_LE(level, OCLORA_LOG_WARN);
    strncpy(self->logged, text, sizeof self->logged - 1);
}

static oclora_env limited_env(limited *self)
{
    oclora_env env = {.alloc = limited_alloc, .release = limited_release, .alloc_user = self};
    env.log = limited_log;
    env.log_user = self;
    env.log_level = OCLORA_LOG_WARN;
    return env;
}

static void check_alloc(const oclora_env *env)
{
    unsigned char *ptr = oclora_alloc(env, 3, 67);
    CHECK(ptr && (uintptr_t)ptr % 64 == 0);
    for (int i = 0; ptr && i < 201; i++) CHECK_INT(ptr[i], 0);
    oclora_release(env, ptr);
    void *empty = oclora_alloc(env, 0, 8);
    CHECK(empty != NULL);
    oclora_release(env, empty);
    oclora_release(env, NULL);
    CHECK(oclora_alloc(env, SIZE_MAX / 2, 3) == NULL);
    CHECK(oclora_alloc(env, SIZE_MAX, 1) == NULL);
    char *copy = oclora_string_copy(env, "adapter", 5);
    CHECK(copy && !strcmp(copy, "adapt"));
    oclora_release(env, copy);
}

static void test_alloc(void)
{
    const oclora_env plain = {0};
    limited state = {.left = 100};
    oclora_env env = limited_env(&state);
    check_alloc(&plain);
    check_alloc(&env);
    CHECK_INT(state.live, 0);
}

static void test_reserve(void)
{
    limited state = {.left = 100};
    oclora_env env = limited_env(&state);
    oclora_error err = {0};
    int *values = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(oclora_reserve(&env, &values, &capacity, (size_t)i + 1, sizeof *values, &err),
                 &err);
        CHECK_INT(values[i], 0);
        values[i] = i;
    }
    CHECK(100 - state.left < 12); /* geometric */
    for (int i = 0; i < 1000; i++) CHECK_INT(values[i], i);
    const int *before = values;
    size_t capacity_before = capacity;
    state.left = 0;
    CHECK_STATUS(oclora_reserve(&env, &values, &capacity, 5000, sizeof *values, &err),
                 OCLORA_OUT_OF_HOST_MEMORY, &err);
    CHECK_CONTAINS(err.text, "20000 bytes");
    CHECK_STATUS(oclora_reserve(&env, &values, &capacity, SIZE_MAX, sizeof *values, &err),
                 OCLORA_OUT_OF_HOST_MEMORY, &err);
    CHECK(values == before && capacity == capacity_before);
    oclora_release(&env, values);
    CHECK_INT(state.live, 0);
}

static void test_log(void)
{
    const oclora_env plain = {0};
    limited state = {0};
    oclora_env env = limited_env(&state);
    oclora_log(&plain, OCLORA_LOG_ERROR, "nobody listens");
    oclora_log(&env, OCLORA_LOG_INFO, "too fine");
    CHECK(!state.logged[0]);
    oclora_log(&env, OCLORA_LOG_WARN, "slot %d", 3);
    CHECK(!strcmp(state.logged, "slot 3"));
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    oclora_log(&env, OCLORA_LOG_WARN, "%s", text);
}

int main(void)
{
    const oclora_test tests[] = {
        {"memory is zeroed, aligned and checked", test_alloc},
        {"reserve grows or changes nothing", test_reserve},
        {"log levels and long messages", test_log},
    };
    return oclora_test_main("env", tests, sizeof tests / sizeof tests[0]);
}
