#include "tools/clinfo-bench/report.h"

#include "host/core/quirks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

static const char no_digest[] = "0000000000000000000000000000000000000000000000000000000000000000";

const char *bench_mode_name(int mode)
{
    return mode == BENCH_QUICK ? "quick" : mode == BENCH_FULL ? "full" : "standard";
}

static void read_line(const char *path, const char *key, char *text, size_t size)
{
    char line[512];
    FILE *file = fopen(path, "r");
    snprintf(text, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key))) continue;
        char *at = line + strlen(key);
        at += strspn(at, " \t:=\"");
        at[strcspn(at, "\"\n")] = '\0';
        snprintf(text, size, "%.200s", at);
        break;
    }
    if (file) fclose(file);
}

static json_t *describe_os(void)
{
    struct utsname name;
    char system[256], processor[256];
    if (uname(&name)) memset(&name, 0, sizeof name);
    read_line("/etc/os-release", "PRETTY_NAME", system, sizeof system);
    read_line("/proc/cpuinfo", "model name", processor, sizeof processor);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "system", name.sysname, "release", name.release,
                     "machine", name.machine, "distribution", system, "processor", processor);
}

json_t *bench_report_new(const bench_options *options)
{
    char now[40] = "";
    time_t seconds = time(NULL);
    struct tm utc;
    if (gmtime_r(&seconds, &utc)) strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:b, s:o, s:[], s:s, s:s}", "format",
                     "oclora-clinfo-bench", "format_version", BENCH_FORMAT_VERSION,
                     "project_version", OCLORA_VERSION, "created", now, "mode",
                     bench_mode_name(options->mode), "sufficient", options->mode != BENCH_QUICK,
                     "os", describe_os(), "devices", "verdict", "unusable", "checksum", no_digest);
}

json_t *bench_report_add_device(json_t *report, const json_t *listed)
{
    json_t *device = json_deep_copy(listed);
    json_object_set_new(device, "steps", json_array());
    json_object_set_new(device, "sections", json_object());
    json_object_set_new(device, "failed_kernels", json_array());
    json_object_set_new(device, "verdict", json_string("unusable"));
    json_array_append_new(json_object_get(report, "devices"), device);
    return device;
}

json_t *bench_device_section(json_t *device, const char *name)
{
    json_t *sections = json_object_get(device, "sections");
    if (!json_object_get(sections, name)) json_object_set_new(sections, name, json_array());
    return json_object_get(sections, name);
}

const char *bench_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

double bench_number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const json_t *bench_find_item(const json_t *device, const char *section, const char *name)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(device, "sections"), section), i,
                       item) if (!strcmp(bench_text(item, "name"), name)) return item;
    return NULL;
}

bool bench_status_is_bad(const char *status)
{
    return !strcmp(status, "fail") || !strcmp(status, "error") || !strcmp(status, "crash") ||
           !strcmp(status, "timeout");
}

/* Share of the time the measured limits would allow; nothing where a limit was not measured. */
static void set_shares(json_t *device)
{
    size_t i;
    json_t *item;
    double bandwidth = bench_number(bench_find_item(device, "speed", "read_bandwidth"), "value");
    double cached = bench_number(bench_find_item(device, "speed", "read_bandwidth_2MiB"), "value");
    double rate = bench_number(bench_find_item(device, "speed", "fp32_rate"), "value");
    json_array_foreach(bench_device_section(device, "kernels"), i, item)
    {
        double us = bench_number(item, "value");
        if (!(us > 0) || !(bandwidth > 0) || !(rate > 0)) continue;
        bool small = bench_number(item, "bytes") <= 1.5 * BENCH_CACHED_BYTES && cached > 0;
        double by_bytes = bench_number(item, "bytes") / (small ? cached : bandwidth) * 1e-3;
        double by_rate = bench_number(item, "operations") / rate * 1e-3;
        double bound = by_bytes > by_rate ? by_bytes : by_rate;
        json_object_set_new(item, "bound_us", json_real(bound));
        json_object_set_new(item, "share_percent", json_real(100 * bound / us));
        json_object_set_new(item, "bound_by", json_string(by_bytes > by_rate ? "bytes" : "rate"));
    }
}

/* Whether a claimed dot product of bytes is an instruction of its own, or made of others. */
static void describe_int_dot(json_t *device)
{
    size_t i;
    json_t *item;
    json_array_foreach(bench_device_section(device, "speed"), i, item)
    {
        const double gain = bench_number(item, "value");
        if (strcmp(bench_text(item, "name"), "int_dot_gain") || !(gain > 0)) continue;
        json_object_set_new(item, "detail",
                            json_string(gain > 1.2
                                            ? "worth it: the same sums written out are slower"
                                            : "emulated: the same sums written out are as "
                                              "fast or faster"));
    }
}

static void add_failed(json_t *list, const char *kernel, const char *class_name)
{
    size_t i;
    json_t *known;
    char text[120];
    snprintf(text, sizeof text, "%s (%s class)", kernel, class_name);
    json_array_foreach(list, i, known) if (!strcmp(json_string_value(known), text)) return;
    json_array_append_new(list, json_string(text));
}

static bool is_basic(const char *kernel)
{
    return !strncmp(kernel, "probe", 5) || !strncmp(kernel, "matmul_p", 8);
}

/* Whether the engine refuses the driver for a known fault that this run does not disprove. */
static bool is_refused(const json_t *device, bool degraded)
{
    size_t i;
    json_t *quirk;
    json_array_foreach(json_object_get(device, "quirks"), i, quirk)
    {
        const char *retest = bench_text(quirk, "retest");
        if (strcmp(bench_text(quirk, "effect"), oclora_quirk_effect_name(OCLORA_QUIRK_REFUSE)) ||
            json_is_true(json_object_get(quirk, "lifted")))
            continue;
        const json_t *probe =
            strncmp(retest, "probe ", 6) ? NULL : bench_find_item(device, "probes", retest + 6);
        if (probe ? !json_is_true(json_object_get(probe, "found")) : degraded) return true;
    }
    return false;
}

void bench_judge_device(json_t *device)
{
    const char *section_name;
    json_t *section, *item, *failed = json_array();
    size_t i, passed = 0, lost = 0;
    bool degraded = false;
    /* A basic kernel is gone only if none of its cases passes in the device's own class. */
    char own[32];
    snprintf(own, sizeof own, "selftest_%s", bench_text(device, "class"));
    set_shares(device);
    describe_int_dot(device);
    json_object_foreach(json_object_get(device, "sections"), section_name, section)
    {
        json_array_foreach(section, i, item)
        {
            bool bad = bench_status_is_bad(bench_text(item, "status"));
            const char *kernel = bench_text(item, "kernel");
            degraded |= bad;
            bool basic = !strcmp(section_name, own) && is_basic(kernel);
            passed += basic && !bad;
            lost += basic && bad;
            if (bad && !strncmp(section_name, "selftest", 8))
                add_failed(failed, *kernel ? kernel : bench_text(item, "name"), section_name + 9);
        }
    }
    json_object_set_new(device, "failed_kernels", failed);
    bool known = bench_text(device, "class")[0] != '\0';
    bool basics = (passed || !lost) && !is_refused(device, degraded);
    json_object_set_new(device, "verdict",
                        json_string(!known || !basics ? "unusable"
                                    : degraded        ? "degraded"
                                                      : "pass"));
}

int bench_judge_report(json_t *report)
{
    static const char *const names[] = {"pass", "degraded", "unusable"};
    int worst = json_array_size(json_object_get(report, "devices")) ? 0 : 2;
    size_t i;
    json_t *device;
    json_array_foreach(json_object_get(report, "devices"), i,
                       device) for (int k = 0; k < 3;
                                    k++) if (!strcmp(bench_text(device, "verdict"), names[k]) &&
                                             k > worst) worst = k;
    json_object_set_new(report, "verdict", json_string(names[worst]));
    return worst;
}

char *bench_report_text(json_t *report)
{
    char hex[65];
    json_object_set_new(report, "checksum", json_string(no_digest));
    char *plain = json_dumps(report, JSON_INDENT(1) | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
    size_t length = plain ? strlen(plain) : 0;
    char *text = plain ? malloc(length + 2) : NULL;
    if (text) {
        memcpy(text, plain, length);
        memcpy(text + length, "\n", 2);
        const size_t place = bench_checksum_place(text, length + 1);
        if (place && bench_checksum(text, length + 1, place, hex)) memcpy(text + place, hex, 64);
    }
    free(plain);
    return text;
}

bool bench_write_file(const char *path, const char *text)
{
    bool out = !strcmp(path, "-");
    FILE *file = out ? stdout : fopen(path, "w");
    bool ok = text && file && fputs(text, file) >= 0;
    if (file && !out) ok = fclose(file) == 0 && ok;
    if (!ok) fprintf(stderr, "clinfo-bench: '%s' cannot be written: %s\n", path, strerror(errno));
    return ok;
}
