#include "host/base/weight.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

enum { GUARD = 64 };

static void registry(const oclora_test_device *device)
{
    oclora_error err = {0, ""};
    oclora_base *base = NULL;
    oclora_buffer *one = NULL, *two = NULL;
    const oclora_weight *a = NULL, *b = NULL, *c = NULL;
    CHECK_OK(oclora_base_create(&base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&one, device->context, 8192, &err), &err);
    CHECK_OK(oclora_buffer_create(&two, device->context, 8192, &err), &err);
    CHECK_OK(oclora_base_add(base, "a", OCLORA_TYPE_F32, 32, 16, one, 0, &a, &err), &err);
    CHECK_OK(oclora_base_add(base, "b", OCLORA_TYPE_F32, 31, 16, one, 2048, &b, &err), &err);
    CHECK_INT(a->layout, OCLORA_LAYOUT_PANEL);
    CHECK_INT(b->layout, OCLORA_LAYOUT_PLAIN);
    CHECK(oclora_base_find(base, "a") == a && !a->ambiguous);
    CHECK_OK(oclora_base_add(base, "a", OCLORA_TYPE_F32, 32, 16, two, 0, &c, &err), &err);
    CHECK(a->ambiguous && c->ambiguous && !b->ambiguous);
    CHECK(oclora_base_find(base, "a") == a);
    CHECK_INT(oclora_base_id_limit(base), 3);
    oclora_base_remove_buffer(base, one);
    CHECK(oclora_base_find(base, "a") == c && !c->ambiguous);
    CHECK(oclora_base_find_id(base, 0) == NULL && oclora_base_find_id(base, 2) == c);
    CHECK(oclora_base_find(base, "b") == NULL && oclora_base_find_id(base, 3) == NULL);
    CHECK_OK(oclora_base_add(base, "b", OCLORA_TYPE_F32, 32, 16, two, 2048, &b, &err), &err);
    CHECK_INT(b->id, 3);
    const oclora_weight *untouched = NULL;
    CHECK_STATUS(oclora_base_add(base, "x", OCLORA_TYPE_F32, 64, 64, two, 0, &untouched, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_base_add(base, "x", OCLORA_TYPE_Q4_1, 33, 16, two, 0, &untouched, &err),
                 OCLORA_SHAPE_MISMATCH, &err);
    char name[200];
    memset(name, 'n', sizeof name);
    name[199] = 0;
    CHECK_STATUS(oclora_base_add(base, name, OCLORA_TYPE_F32, 32, 16, two, 0, &untouched, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK(untouched == NULL);
    oclora_base_destroy(base);
    oclora_buffer_destroy(one);
    oclora_buffer_destroy(two);
}

/* Random writes and reads of odd ranges against a copy in host memory. */
static void bytes_of(const oclora_test_device *device, oclora_type type, uint32_t d_in,
                     uint32_t d_out)
{
    oclora_error err = {0, ""};
    oclora_base *base = NULL;
    oclora_buffer *buffer = NULL;
    const oclora_weight *w = NULL;
    size_t bytes = (size_t)oclora_type_row_bytes(type, d_in) * d_out;
    unsigned char *copy = calloc(bytes, 1), *got = malloc(bytes), guard[GUARD];
    float *values = malloc(sizeof *values * d_in * d_out), *row = malloc(sizeof *row * d_in);
    CHECK_OK(oclora_base_create(&base, device->context, &err), &err);
    CHECK_OK(oclora_buffer_create(&buffer, device->context, bytes + 2 * GUARD, &err), &err);
    CHECK_OK(oclora_stream_fill(device->stream, buffer, 0, bytes + 2 * GUARD, 0x5a, &err), &err);
    CHECK_OK(oclora_base_add(base, "w", type, d_in, d_out, buffer, GUARD, &w, &err), &err);
    CHECK_OK(oclora_weight_write(w, device->stream, 0, copy, bytes, &err), &err);
    for (int i = 0; i < 12; i++) {
        size_t from = oclora_test_random() % bytes, n = 1 + oclora_test_random() % (bytes - from);
        if (i == 0) from = 0, n = bytes;
        for (size_t j = 0; j < n; j++)
            copy[from + j] = (unsigned char)(oclora_test_random() & 0x3f);
        CHECK_OK(oclora_weight_write(w, device->stream, from, copy + from, n, &err), &err);
        from = oclora_test_random() % bytes, n = 1 + oclora_test_random() % (bytes - from);
        CHECK_OK(oclora_weight_read(w, device->stream, from, got, n, &err), &err);
        CHECK(!memcmp(got, copy + from, n));
    }
    CHECK_OK(oclora_weight_dequantize(w, device->stream, values, &err), &err);
    size_t row_bytes = bytes / d_out, wrong = 0;
    for (uint32_t o = 0; o < d_out; o++) {
        CHECK_OK(oclora_dequantize_row(type, copy + o * row_bytes, row, d_in, &err), &err);
        wrong += memcmp(row, values + (size_t)o * d_in, sizeof *row * d_in) != 0;
    }
    CHECK_INT(wrong, 0);
    for (int end = 0; end < 2; end++) {
        CHECK_OK(
            oclora_stream_read(device->stream, buffer, end ? GUARD + bytes : 0, guard, GUARD, &err),
            &err);
        for (int i = 0; i < GUARD; i++) wrong += guard[i] != 0x5a;
    }
    CHECK_INT(wrong, 0);
    CHECK_STATUS(oclora_weight_write(w, device->stream, bytes - 1, copy, 2, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_STATUS(oclora_weight_read(w, device->stream, UINT64_MAX, got, 2, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    oclora_base_destroy(base);
    oclora_buffer_destroy(buffer);
    free(copy);
    free(got);
    free(values);
    free(row);
}

static void bytes_on(const oclora_test_device *device)
{
    bytes_of(device, OCLORA_TYPE_Q4_1, 64, 80);
    bytes_of(device, OCLORA_TYPE_Q8_0, 96, 32);
    bytes_of(device, OCLORA_TYPE_Q4_0, 32, 16);
    bytes_of(device, OCLORA_TYPE_F16, 32, 48);
    bytes_of(device, OCLORA_TYPE_F32, 33, 7);
    bytes_of(device, OCLORA_TYPE_Q6_K, 256, 5);
    bytes_of(device, OCLORA_TYPE_Q5_0, 96, 48);
    bytes_of(device, OCLORA_TYPE_Q5_1, 32, 16);
    bytes_of(device, OCLORA_TYPE_Q4_K, 256, 48);
    bytes_of(device, OCLORA_TYPE_Q5_K, 512, 32);
    bytes_of(device, OCLORA_TYPE_Q6_K, 256, 80);
}

static void test_registry(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, registry);
}

static void test_bytes(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, bytes_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"registry", test_registry}, {"bytes", test_bytes}};
    return oclora_test_main("base_weight", tests, sizeof tests / sizeof tests[0]);
}
