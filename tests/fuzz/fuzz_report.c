/* Any bytes as a report of clinfo-bench: as they are, and with a checksum that is right, without
 * which nothing would come further. What is read is compared with itself and with a report that is
 * good. */
#include "tools/clinfo-bench/report.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good[] =
    "{\"created\": \"\", \"devices\": [{\"platform\": \"P\", \"device\": \"D\", \"sections\": {"
    "\"probes\": [{\"name\": \"copy\", \"status\": \"pass\"}], \"speed\": [{\"name\": \"copy\", "
    "\"status\": \"info\", \"value\": 1.0}]}}]}";

static void compare(const json_t *report)
{
    json_t *now = json_loads(good, 0, NULL);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (out != NULL) {
        bench_compare(out, report, report);
        bench_compare(out, report, now);
        fclose(out);
    }
    free(text);
    json_decref(now);
}

static void read_report(const char *text, size_t size)
{
    oclora_error err = {0};
    json_t *report = NULL;
    if (bench_report_parse(&report, text, size, &err) == OCLORA_OK) compare(report);
    json_decref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char hex[65], *text = malloc(size + (size == 0)); /* exact, so that reading past it is seen */
    if (text == NULL) return 0;
    if (size != 0) memcpy(text, data, size);
    read_report(text, size);
    const size_t place = bench_checksum_place(text, size);
    if (place != 0 && bench_checksum(text, size, place, hex)) {
        memcpy(text + place, hex, 64);
        read_report(text, size);
    }
    free(text);
    return 0;
}
