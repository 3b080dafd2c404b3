#include "support/files.h"
#include "support/harness.h"

#include "host/file/map.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_map(void)
{
    char folder[256], path[300];
    oclora_map map = {0};
    oclora_error err = {0};
    oclora_make_folder(folder, sizeof folder, "map");
    snprintf(path, sizeof path, "%s/file", folder);
    CHECK_STATUS(oclora_map_open(&map, path, &err), OCLORA_FILE_NOT_FOUND, &err);
    CHECK_CONTAINS(err.text, path);
    CHECK_STATUS(oclora_map_open(&map, folder, &err), OCLORA_FILE_READ, &err);
    CHECK(oclora_write_file(path, "hello", 5));
    CHECK_OK(oclora_map_open(&map, path, &err), &err);
    CHECK(map.size == 5 && memcmp(map.data, "hello", 5) == 0);
    oclora_map_close(&map);
    CHECK(map.data == NULL);
    oclora_map_close(&map);
    CHECK(oclora_write_file(path, "", 0));
    CHECK_OK(oclora_map_open(&map, path, &err), &err);
    CHECK(map.size == 0 && map.data == NULL);
    oclora_map_close(&map);
    unlink(path);
    CHECK_INT(mkfifo(path, 0600), 0); /* must not hang */
    CHECK_STATUS(oclora_map_open(&map, path, &err), OCLORA_FILE_READ, &err);
    unlink(path);
    rmdir(folder);
}

static void test_sha256(void)
{
    static const uint8_t abc[4] = {0xba, 0x78, 0x16, 0xbf}, empty[4] = {0xe3, 0xb0, 0xc4, 0x42};
    uint8_t digest[32];
    CHECK(oclora_sha256("abc", 3, digest));
    CHECK(memcmp(digest, abc, 4) == 0);
    CHECK(oclora_sha256(NULL, 0, digest));
    CHECK(memcmp(digest, empty, 4) == 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"map", test_map}, {"sha256", test_sha256}};
    return oclora_test_main("map", tests, sizeof tests / sizeof tests[0]);
}
