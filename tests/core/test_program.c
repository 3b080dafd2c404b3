#include "host/core/program.h"
#include "host/core/quirks.h"
#include "support/harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char defines[] = "-DPROBE_WIDTH=4";

/* What one fresh context does for one program. */
static oclora_program_stats build_once(const oclora_device *device, const char *cache_dir)
{
    oclora_error err = {0};
    oclora_context *context = NULL;
    oclora_program_stats stats = {0};
    const oclora_context_options options = {.cache_dir = cache_dir};
    if (!CHECK_OK(oclora_context_create(&context, oclora_test_env(), device, &options, &err), &err))
        return stats;
    CHECK_OK(oclora_context_build(context, "probe", defines, &err), &err);
    CHECK_OK(oclora_context_build(context, "probe", defines, &err), &err);
    stats = oclora_context_program_stats(context);
    oclora_context_destroy(context);
    return stats;
}

static void check_stats(oclora_program_stats stats, uint32_t compiled, uint32_t loaded,
                        uint32_t rejected)
{
    CHECK_INT(stats.compiled, compiled);
    CHECK_INT(stats.loaded, loaded);
    CHECK_INT(stats.rejected, rejected);
}

static void path_of(const oclora_test_device *test, const char *dir, char *path, size_t capacity)
{
    oclora_error err = {0};
    oclora_cache_key key;
    CHECK_OK(oclora_context_program_key(test->context, "probe", defines, &key, &err), &err);
    CHECK(oclora_cache_path(dir, &key, path, capacity));
}

static void damage(const char *path, long at, int truncate_there)
{
    FILE *file = fopen(path, "r+b");
    if (!CHECK_INT(file != NULL, 1)) return;
    if (truncate_there)
        CHECK(!ftruncate(fileno(file), at));
    else
        CHECK(!fseek(file, at, SEEK_SET) && fputc('#', file) == '#');
    fclose(file);
}

static void remove_folder(const char *dir)
{
    DIR *list = opendir(dir);
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (entry->d_name[0] != '.') unlink(path);
        CHECK(strncmp(entry->d_name, ".new-", 5) != 0); /* no temporary file is left */
    }
    if (list) closedir(list);
    CHECK(!rmdir(dir));
}

/* A file that is well formed but holds no program: the driver refuses it, we compile. */
static void store_garbage(const oclora_test_device *test, const char *dir)
{
    oclora_error err = {0};
    oclora_cache_key key;
    CHECK_OK(oclora_context_program_key(test->context, "probe", defines, &key, &err), &err);
    CHECK(oclora_cache_store(oclora_test_env(), dir, &key, "not a program", 13));
}

static bool has_quirk(const oclora_device *device, uint32_t effect)
{
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id; quirk++)
        if (quirk->effect == effect && oclora_quirk_matches(quirk, device)) return true;
    return false;
}

static void disk_cache(const oclora_test_device *test)
{
    char dir[] = "/tmp/oclora-programs-XXXXXX", path[300];
    if (!CHECK_INT(mkdtemp(dir) != NULL, 1)) return;
    path_of(test, dir, path, sizeof path);
    check_stats(build_once(test->device, dir), 1, 0, 0);
    if (access(path, R_OK)) {
        printf("  no disk cache on this platform: a quirk\n");
        CHECK(has_quirk(test->device, OCLORA_QUIRK_BINARIES));
        remove_folder(dir);
        return;
    }
    check_stats(build_once(test->device, dir), 0, 1, 0);
    damage(path, 200, 0);
    check_stats(build_once(test->device, dir), 1, 0, 1);
    check_stats(build_once(test->device, dir), 0, 1, 0);
    damage(path, 150, 1);
    check_stats(build_once(test->device, dir), 1, 0, 1);
    damage(path, 0, 1);
    check_stats(build_once(test->device, dir), 1, 0, 1);
    store_garbage(test, dir);
    check_stats(build_once(test->device, dir), 1, 0, 1);

    oclora_device newer = *test->device; /* another driver: its own file, beside the first */
    snprintf(newer.driver, sizeof newer.driver, "newer");
    check_stats(build_once(&newer, dir), 1, 0, 0);
    check_stats(build_once(&newer, dir), 0, 1, 0);
    check_stats(build_once(test->device, dir), 0, 1, 0);
    remove_folder(dir);
}

static void test_disk_cache(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, disk_cache);
}

static void no_cache(const oclora_test_device *test)
{
    check_stats(build_once(test->device, ""), 1, 0, 0);
    check_stats(build_once(test->device, "/proc/no/such/folder"), 1, 0, 0);
}

static void test_no_cache(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, no_cache);
}

static void memory_cache(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_context *context = test->context;
    CHECK_OK(oclora_context_build(context, "probe", "", &err), &err);
    CHECK_OK(oclora_context_build(context, "probe", defines, &err), &err);
    CHECK_OK(oclora_context_build(context, "probe", "", &err), &err);
    oclora_program_stats stats = oclora_context_program_stats(context);
    CHECK_INT(stats.compiled + stats.loaded, 2);
}

static void test_memory_cache(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, memory_cache);
}

static void build_failure(const oclora_test_device *test)
{
    oclora_error err = {0};
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(oclora_context_build(test->context, "probe", "-DPROBE_WIDTH=5", &err),
                     OCLORA_BUILD_FAILED, &err);
        CHECK_CONTAINS(err.text, "probe.cl [-DPROBE_WIDTH=5]");
        CHECK_CONTAINS(err.text, "PROBE_WIDTH must be"); /* the log's head */
    }
    CHECK_STATUS(oclora_context_build(test->context, "absent", "", &err), OCLORA_NOT_FOUND, &err);
    CHECK_OK(oclora_context_health(test->context, &err), &err);
    CHECK_OK(oclora_context_build(test->context, "probe", "", &err), &err);
}

static void test_build_failure(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, build_failure);
}

int main(void)
{
    const oclora_test tests[] = {
        {"programs are built once per defines", test_memory_cache},
        {"binaries are kept, damaged ones rebuilt", test_disk_cache},
        {"no cache folder is no error", test_no_cache},
        {"a rejected kernel is named", test_build_failure},
    };
    return oclora_test_main("program", tests, sizeof tests / sizeof tests[0]);
}
