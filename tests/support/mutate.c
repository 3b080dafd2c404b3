#include "support/mutate.h"
#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = 9 };

static size_t below(size_t limit)
{
    return limit != 0 ? oclora_test_random() % limit : 0;
}

/* `size` bytes at `at` become `count` bytes of `with`. */
static void replace(oclora_bytes *bytes, size_t at, size_t size, const void *with, size_t count)
{
    oclora_bytes out = {NULL, 0};
    oclora_bytes_add(&out, bytes->data, at);
    oclora_bytes_add(&out, with, count);
    oclora_bytes_add(&out, bytes->data + at + size, bytes->size - at - size);
    oclora_bytes_free(bytes);
    *bytes = out;
}

static void edge_number(oclora_bytes *bytes, size_t at)
{
    static const uint64_t edges[] = {0,          1,          0x7f,        0xff,        0x7fff,
                                     0xffff,     0x7fffffff, 0x80000000u, 0xffffffffu, 1ull << 32,
                                     1ull << 40, INT64_MAX,  1ull << 63,  UINT64_MAX};
    const uint64_t value = edges[below(sizeof edges / sizeof *edges)];
    const size_t size = (size_t)1 << below(4);
    for (size_t i = 0; i < size && at + i < bytes->size; i++)
        bytes->data[at + i] = (uint8_t)(value >> (8 * i));
}

/* The digits at or behind `at` become another number. */
static void edge_text(oclora_bytes *bytes, size_t at)
{
    static const char *const edges[] = {
        "0",          "1",          "-1",           "2",    "65536",
        "4294967295", "4294967296", "1048577",      "9",    "9223372036854775807",
        "1e308",      "-0",         "1.5",          "true", "null",
        "[",          "2147483648", "1099511627776"};
    const char *text = edges[below(sizeof edges / sizeof *edges)];
    size_t count = 0;
    while (at < bytes->size && (bytes->data[at] < '0' || bytes->data[at] > '9')) at++;
    while (at + count < bytes->size && bytes->data[at + count] >= '0' &&
           bytes->data[at + count] <= '9')
        count++;
    if (at < bytes->size) replace(bytes, at, count, text, strlen(text));
}

static void take_from(oclora_bytes *bytes, size_t at, const oclora_bytes *other)
{
    const size_t from = below(other->size), most = other->size - from;
    const size_t count = below(most < 64 ? most + 1 : 64), gone = below(bytes->size - at + 1);
    replace(bytes, at, gone < 64 ? gone : 0, other->data + from, count);
}

static void change(oclora_bytes *bytes, const oclora_bytes *other, size_t head)
{
    uint8_t noise[16];
    const size_t at =
        below(oclora_test_random() % 5 != 0 && head < bytes->size ? head : bytes->size);
    const size_t rest = bytes->size - at, part = below(rest < 200 ? rest + 1 : 200);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)oclora_test_random();
    if (bytes->size == 0) return;
    switch (oclora_test_random() % KINDS) {
    case 0:
        bytes->data[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        bytes->data[at] = noise[0];
        break;
    case 2:
        edge_number(bytes, at);
        break;
    case 3:
        replace(bytes, at, rest, NULL, 0);
        break;
    case 4:
        replace(bytes, at, 0, noise, 1 + below(sizeof noise));
        break;
    case 5:
        replace(bytes, at, part, NULL, 0);
        break;
    case 6: {
        oclora_bytes copy = {NULL, 0};
        oclora_bytes_add(&copy, bytes->data + at, part);
        replace(bytes, at, 0, copy.data, copy.size);
        oclora_bytes_free(&copy);
        break;
    }
    case 7:
        take_from(bytes, at, other);
        break;
    default:
        edge_text(bytes, at);
    }
}

oclora_bytes oclora_mutate(const oclora_bytes *good, const oclora_bytes *other, size_t head,
                           int has_length)
{
    oclora_bytes out = {NULL, 0};
    oclora_bytes_add(&out, good->data, good->size);
    /* Half of them in the header alone, whose length is then put right. */
    if (has_length && head <= out.size && oclora_test_random() % 2) {
        oclora_bytes text = {NULL, 0};
        oclora_bytes_add(&text, out.data + 8, head - 8);
        for (uint32_t n = 1 + oclora_test_random() % 3; n > 0; n--) change(&text, other, text.size);
        replace(&out, 8, head - 8, text.data, text.size);
        for (size_t i = 0; i < 8; i++) out.data[i] = (uint8_t)((uint64_t)text.size >> (8 * i));
        oclora_bytes_free(&text);
        return out;
    }
    for (uint32_t n = 1 + oclora_test_random() % 4; n > 0; n--) change(&out, other, head);
    return out;
}
