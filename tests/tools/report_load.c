/* Reports of clinfo-bench from strangers: each kind that is refused, and thousands of changed ones.
 * They are refused with a text or compared, take no more memory than their size and 16 MiB, and
 * leave nothing behind; a comparison prints nothing that could steer a terminal. */
#include "support/files.h"
#include "support/harness.h"
#include "support/meter.h"
#include "support/mutate.h"

#include "tools/clinfo-bench/report.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 6000 };

#define ITEM(status, more)                                                                         \
    "{\"name\": \"copy\", \"status\": \"" status "\", \"value\": 2.5, \"unit\": \"GB/s\", "        \
    "\"spread_percent\": 1.5, \"detail\": \"x\"" more "}"
static const char good[] =
    "{\"format\": \"oclora-clinfo-bench\", \"format_version\": 1, \"project_version\": \"1.0.0\",\n"
    " \"created\": \"2026-01-01T00:00:00Z\", \"mode\": \"quick\", \"sufficient\": false,\n"
    " \"os\": {\"system\": \"a\", \"release\": \"b\", \"machine\": \"c\", \"distribution\": \"d\", "
    "\"processor\": \"e\"},\n"
    " \"devices\": [{\"index\": 0, \"platform\": \"P\", \"device\": \"D\", \"vendor\": \"V\", "
    "\"driver\": \"1\", \"version\": \"3\", \"steps\": [], \"failed_kernels\": [],\n"
    "  \"sections\": {\"speed\": [" ITEM("info", "") "], \"probes\": [" ITEM(
        "pass", ", \"found\": true") "]}, \"verdict\": \"pass\"}],\n"
                                     " \"verdict\": \"pass\",\n"
                                     " \"checksum\": "
                                     "\"00000000000000000000000000000000000000000000000000000000000"
                                     "00000\"\n}\n";

/* The digits that belong there. */
static void seal(oclora_bytes *bytes)
{
    char hex[65];
    char *text = (char *)bytes->data;
    const size_t place = bench_checksum_place(text, bytes->size);
    if (place != 0 && CHECK(bench_checksum(text, bytes->size, place, hex)))
        memcpy(text + place, hex, 64);
}

/* The good report with one text in it replaced; the caller frees it. */
static oclora_bytes changed(const char *from, const char *to)
{
    const char *at = strstr(good, from);
    oclora_bytes out = {NULL, 0};
    if (!CHECK(at != NULL)) exit(1);
    oclora_bytes_add(&out, good, (size_t)(at - good));
    oclora_bytes_add(&out, to, strlen(to));
    oclora_bytes_add(&out, at + strlen(from), strlen(at + strlen(from)));
    return out;
}

static oclora_status parse(const oclora_bytes *bytes, json_t **out, oclora_error *err)
{
    oclora_keep_seed("report", NULL, 0, bytes->data, bytes->size);
    return bench_report_parse(out, (const char *)bytes->data, bytes->size, err);
}

static void test_refusals(void)
{
    static const struct {
        const char *from, *to;
        bool sealed;
        const char *text;
    } cases[] = {
        {good, "", false, "not JSON"},
        {good, "[1]", false, "not a report"},
        {"}\n", "", true, "not JSON"},
        {"\"mode\"", "\"verdict\"", true, "not JSON: duplicate"},
        {"2.5", "1e999", true, "not JSON: real number overflow"},
        {"2.5", "NaN", true, "not JSON"},
        {"\"index\": 0", "\"index\": 99999999999999999999", true, "not JSON: too big integer"},
        {"\"V\"", "\"\\ud800\"", true, "not JSON"},
        {"\"V\"", "\"\\u0000\"", true, "not JSON"},
        {"\"V\"", "\"\xff\"", true, "not JSON"},
        {"oclora-clinfo-bench", "another", true, "not a report"},
        {"\"oclora-clinfo-bench\"", "[]", true, "not a report"},
        {"\"format_version\": 1", "\"format_version\": 2", true, "format version"},
        {"\"format_version\": 1", "\"format_version\": true", true, "format version"},
        {"\"V\"", "\"W\"", false, "checksum"},
        {"\"checksum\": ", "\"checksum\":  ", true, "checksum"},
        {"\"checksum\"", "\"sum\"", true, "checksum"},
        {"\"checksum\": \"0000", "\"checksum\": \"000G", true, "checksum"},
        {" \"verdict\": \"pass\",\n \"checksum\"",
         " \"checksum\": \"\", \"verdict\": {\"checksum\"", true, "not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        oclora_bytes bytes = changed(cases[i].from, cases[i].to);
        oclora_error err = {0};
        json_t *report = NULL;
        if (cases[i].sealed) seal(&bytes);
        bool right = CHECK_STATUS(parse(&bytes, &report, &err), OCLORA_FILE_FORMAT, &err);
        right &= CHECK_CONTAINS(err.text, cases[i].text);
        if (!right) fprintf(stderr, "  case %zu: %s\n", i, cases[i].to);
        CHECK(report == NULL);
        oclora_bytes_free(&bytes);
    }
}

/* A zero byte ends no text here: what lies behind it counts. */
static void test_zero_byte(void)
{
    oclora_bytes bytes = changed("1.0.0", "1.0.1");
    oclora_error err = {0};
    json_t *report = NULL;
    seal(&bytes);
    oclora_bytes_add(&bytes, "\0more", 5);
    CHECK_STATUS(parse(&bytes, &report, &err), OCLORA_FILE_FORMAT, &err);
    CHECK(report == NULL);
    oclora_bytes_free(&bytes);
}

static oclora_bytes repeat(const char *part, size_t size)
{
    oclora_bytes out = {malloc(size + 64), 0};
    const size_t step = strlen(part);
    if (out.data == NULL) exit(1);
    out.data[out.size++] = '[';
    for (; out.size + step <= size; out.size += step) memcpy(out.data + out.size, part, step);
    memcpy(out.data + out.size, "0]", 2);
    out.size += 2;
    return out;
}

static void test_dense(void)
{
    static const char *const parts[] = {"0,", "[],", "{},", "\"x\",", "\"\\u0061\",", "[["};
    static const size_t sizes[] = {17 << 20, 4 << 20, 300 << 10};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            static oclora_meter meter;
            oclora_bytes bytes = repeat(parts[i], sizes[k]);
            oclora_error err = {0};
            json_t *report = NULL;
            (void)oclora_meter_start(&meter);
            CHECK_STATUS(bench_report_parse(&report, (char *)bytes.data, bytes.size, &err),
                         OCLORA_FILE_FORMAT, &err);
            CHECK_LE(meter.peak, bytes.size + (16 << 20));
            CHECK_INT(meter.live, 0);
            oclora_bytes_free(&bytes);
        }
}

/* What is printed about a report that was read. */
static char *compare(const json_t *before, const json_t *now)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!CHECK(out != NULL)) exit(1);
    bench_compare(out, before, now);
    fclose(out);
    return text;
}

static json_t *read_good(void)
{
    oclora_bytes bytes = changed("1.0.0", "1.0.0");
    oclora_error err = {0};
    json_t *report = NULL;
    seal(&bytes);
    CHECK_OK(parse(&bytes, &report, &err), &err);
    oclora_bytes_free(&bytes);
    return report;
}

static void test_terminal(void)
{
    static const char *const fields[][2] = {
        {"\"driver\": \"1\"", "\"driver\": \"\\u001b]0;x\\u0007\""},
        {"\"created\": \"2", "\"created\": \"\\u009b2J\\u007f"},
        {"\"status\": \"pass\"", "\"status\": \"\\r\\u001b[2J\""},
    };
    json_t *now = read_good();
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        oclora_bytes bytes = changed(fields[i][0], fields[i][1]);
        oclora_error err = {0};
        json_t *before = NULL;
        seal(&bytes);
        CHECK_OK(parse(&bytes, &before, &err), &err);
        char *text = compare(before, now);
        CHECK_CONTAINS(text, "?");
        for (const char *at = text; *at; at++)
            if (!CHECK(*at == '\n' || (unsigned char)*at >= ' ') || !CHECK(*at != 0x7f)) break;
        free(text);
        json_decref(before);
        oclora_bytes_free(&bytes);
    }
    json_decref(now);
}

static void test_mutations(void)
{
    static oclora_meter meter;
    size_t refused = 0, read = 0;
    oclora_bytes source = {NULL, 0};
    oclora_bytes_add(&source, good, strlen(good));
    (void)oclora_meter_start(&meter);
    json_t *now = read_good();
    const size_t kept = meter.live;
    for (int round = 0; round < ROUNDS; round++) {
        oclora_bytes bytes = oclora_mutate(&source, &source, source.size, 0);
        oclora_error err = {0};
        json_t *before = NULL;
        const bool sealed = round % 4 != 0;
        if (sealed) seal(&bytes);
        (void)oclora_meter_start(&meter);
        const oclora_status status =
            bench_report_parse(&before, (const char *)bytes.data, bytes.size, &err);
        const size_t peak = meter.peak;
        if (status == OCLORA_OK) {
            char *text = compare(before, now);
            CHECK_CONTAINS(text, "Against the report of");
            free(text);
            json_decref(before);
        }
        status ? refused++ : read++;
        bool right = CHECK(status == OCLORA_OK || status == OCLORA_FILE_FORMAT);
        right &= CHECK(status == OCLORA_OK || strlen(err.text) > 10) & CHECK(sealed || status != 0);
        right &= CHECK_LE(peak - kept, bytes.size + (16 << 20)) & CHECK_INT(meter.live, kept);
        if (!right) fprintf(stderr, "  mutation %d\n", round);
        oclora_bytes_free(&bytes);
    }
    printf("reports: %d mutations, %zu refused, %zu read and compared\n", ROUNDS, refused, read);
    CHECK(refused > ROUNDS / 4 && read > 100);
    oclora_bytes_free(&source);
    json_decref(now);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"refusals", test_refusals},
        {"a zero byte", test_zero_byte},
        {"what is read steers no terminal", test_terminal},
        {"mutations", test_mutations},
        {"dense text", test_dense},
    };
    return oclora_test_main("report_load", tests, sizeof tests / sizeof *tests);
}
