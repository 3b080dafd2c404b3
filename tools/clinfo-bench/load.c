/* load.c - reading a report, which anybody may have written: its checksum, and what must be so
 * before the rest of the program looks at it. */
#include "tools/clinfo-bench/report.h"

#include "host/file/json.h"
#include "host/file/map.h"

#include <openssl/evp.h>

#include <string.h>

enum { HEX = 64, LARGEST = 16 << 20 };
static const char no_digest[] = "0000000000000000000000000000000000000000000000000000000000000000";

size_t bench_checksum_place(const char *text, size_t length)
{
    static const char key[] = "\"checksum\": \"";
    const size_t before = sizeof key - 1;
    for (size_t at = length > before + HEX ? length - before - HEX : 0; at > 0; at--) {
        if (memcmp(text + at, key, before)) continue;
        for (size_t i = 0; i < HEX; i++)
            if (!memchr("0123456789abcdef", text[at + before + i], 16)) return 0;
        return at + before;
    }
    return 0;
}

bool bench_checksum(const char *text, size_t length, size_t place, char hex[HEX + 1])
{
    unsigned char bytes[32];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    const bool ok = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) &&
                    EVP_DigestUpdate(digest, text, place) &&
                    EVP_DigestUpdate(digest, no_digest, HEX) &&
                    EVP_DigestUpdate(digest, text + place + HEX, length - place - HEX) &&
                    EVP_DigestFinal_ex(digest, bytes, NULL);
    EVP_MD_CTX_free(digest);
    for (int i = 0; ok && i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", (unsigned)bytes[i]);
    return ok;
}

static bool is_whole(const char *text, size_t length, const json_t *report)
{
    char hex[HEX + 1];
    const size_t place = bench_checksum_place(text, length);
    return place && bench_checksum(text, length, place, hex) && !memcmp(text + place, hex, HEX) &&
           !strcmp(bench_text(report, "checksum"), hex);
}

static oclora_status check(const char *text, size_t length, const json_t *report, oclora_error *err)
{
    if (strcmp(bench_text(report, "format"), "oclora-clinfo-bench"))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "it is not a report of clinfo-bench");
    if (bench_number(report, "format_version") != BENCH_FORMAT_VERSION)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "its format version is not one this program knows");
    if (!is_whole(text, length, report))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "its checksum is wrong: it was changed or cut after it was written");
    return OCLORA_OK;
}

oclora_status bench_report_parse(json_t **out, const char *text, size_t length, oclora_error *err)
{
    json_error_t problem;
    /* The text is mapped, and its strings are held once: less than for an adapter's header. */
    if (length > LARGEST || !oclora_json_is_modest(text, length, 5 * (uint64_t)length))
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "it is larger than any report, or denser than one");
    json_t *report = json_loadb(length ? text : "", length, JSON_REJECT_DUPLICATES, &problem);
    if (!report) return oclora_fail_json(err, &problem, "it");
    const oclora_status status = check(text, length, report, err);
    if (status)
        json_decref(report);
    else
        *out = report;
    return status;
}

json_t *bench_report_load(const char *path)
{
    oclora_map map = {0};
    oclora_error err = {0};
    json_t *report = NULL;
    if (oclora_map_open(&map, path, &err))
        fprintf(stderr, "clinfo-bench: the report cannot be read: %s\n", err.text);
    else if (bench_report_parse(&report, (const char *)map.data, (size_t)map.size, &err))
        fprintf(stderr, "clinfo-bench: '%s' is refused: %s\n", path, err.text);
    oclora_map_close(&map);
    return report;
}
