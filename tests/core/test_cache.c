#include "host/core/cache.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/oclora-cache-XXXXXX";

static oclora_cache_key key_of(const char *a, const char *b)
{
    const char *parts[] = {a, b};
    oclora_cache_key key = {{0}};
    CHECK(oclora_cache_key_make(&key, parts, 2));
    return key;
}

static void test_keys(void)
{
    oclora_cache_key one = key_of("ab", "c"), same = key_of("ab", "c");
    oclora_cache_key other = key_of("a", "bc");
    CHECK(!memcmp(&one, &same, sizeof one));
    CHECK(memcmp(&one, &other, sizeof one) != 0);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    CHECK(file && fwrite(data, 1, size, file) == size);
    if (file) fclose(file);
}

static size_t read_file(const char *path, unsigned char *data, size_t capacity)
{
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(data, 1, capacity, file) : 0;
    if (file) fclose(file);
    return size;
}

static int load(const oclora_cache_key *key)
{
    void *data = NULL;
    size_t size = 0;
    oclora_cache_result result = oclora_cache_load(oclora_test_env(), folder, key, &data, &size);
    CHECK((result == OCLORA_CACHE_HIT) == (data != NULL));
    if (data) CHECK(size == 11 && !memcmp(data, "hello bytes", 11));
    oclora_release(oclora_test_env(), data);
    return result;
}

/* Every truncation and every flipped byte of a file must be noticed. */
static void test_damage(void)
{
    const oclora_env *env = oclora_test_env();
    oclora_cache_key key = key_of("source", "options"), other = key_of("source", "driver 2");
    char path[300], other_path[300];
    unsigned char bytes[400];
    long before = oclora_test_live_allocations();
    CHECK_INT(load(&key), OCLORA_CACHE_MISS);
    CHECK(oclora_cache_store(env, folder, &key, "hello bytes", 11));
    CHECK_INT(load(&key), OCLORA_CACHE_HIT);
    CHECK(oclora_cache_path(folder, &key, path, sizeof path));
    CHECK(oclora_cache_path(folder, &other, other_path, sizeof other_path));
    size_t size = read_file(path, bytes, sizeof bytes);
    CHECK(size > 11 && size < sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        write_file(path, bytes, i);
        CHECK_INT(load(&key), OCLORA_CACHE_REJECTED);
    }
    for (size_t i = 0; i < size; i++) {
        if (i >= 12 && i < 16) continue; /* the reserved word means nothing */
        bytes[i] ^= 0x20;
        write_file(path, bytes, size);
        CHECK_INT(load(&key), OCLORA_CACHE_REJECTED);
        bytes[i] ^= 0x20;
    }
    write_file(other_path, bytes, size);
    CHECK_INT(load(&other), OCLORA_CACHE_REJECTED);
    bytes[size] = 0;
    write_file(path, bytes, size + 1);
    CHECK_INT(load(&key), OCLORA_CACHE_REJECTED);
    CHECK(oclora_cache_store(env, folder, &key, "hello bytes", 11));
    CHECK_INT(load(&key), OCLORA_CACHE_HIT);
    CHECK_INT(oclora_test_live_allocations() - before, 0);
    unlink(path);
    unlink(other_path);
}

static void test_bad_folders(void)
{
    const oclora_env *env = oclora_test_env();
    oclora_cache_key key = key_of("x", "y");
    char path[300], inner[300], longest[6000];
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(inner, sizeof inner, "%s/file/folder", folder);
    write_file(path, "x", 1);
    CHECK(!oclora_cache_store(env, inner, &key, "z", 1));
    unlink(path);
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK(!oclora_cache_store(env, longest, &key, "z", 1));
    void *data = NULL;
    size_t size = 0;
    CHECK_INT(oclora_cache_load(env, longest, &key, &data, &size), OCLORA_CACHE_MISS);
    CHECK(oclora_cache_path(folder, &key, path, sizeof path));
    CHECK(!mkdir(path, 0700)); /* a folder in the file's place */
    CHECK_INT(load(&key), OCLORA_CACHE_REJECTED);
    CHECK(!oclora_cache_store(env, folder, &key, "z", 1));
    rmdir(path);
}

static void check_dir(const char *option, const char *expected)
{
    char *dir = oclora_cache_dir(oclora_test_env(), option);
    if (expected)
        CHECK(dir && !strcmp(dir, expected));
    else
        CHECK(dir == NULL);
    oclora_release(oclora_test_env(), dir);
}

static void test_dir_rules(void)
{
    setenv("HOME", "/home/someone", 1);
    setenv("XDG_CACHE_HOME", "/var/x", 1);
    setenv("OCLORA_CACHE_DIR", "/var/own", 1);
    check_dir("/given", "/given");
    check_dir("", NULL);
    check_dir(NULL, "/var/own");
    setenv("OCLORA_CACHE_DIR", "", 1);
    check_dir(NULL, NULL);
    unsetenv("OCLORA_CACHE_DIR");
    check_dir(NULL, "/var/x/oclora/programs");
    setenv("XDG_CACHE_HOME", "relative", 1); /* the XDG rule: ignored */
    check_dir(NULL, "/home/someone/.cache/oclora/programs");
    unsetenv("HOME");
    check_dir(NULL, NULL);
}

int main(void)
{
    if (!mkdtemp(folder)) return 2;
    const oclora_test tests[] = {
        {"keys delimit their parts", test_keys},
        {"damaged files are rejected", test_damage},
        {"unusable folders are no error", test_bad_folders},
        {"where the folder is", test_dir_rules},
    };
    int result = oclora_test_main("cache", tests, sizeof tests / sizeof tests[0]);
    rmdir(folder);
    return result;
}
