/* keep.c - what the self-test found, as the record that the engine reads when it makes a context.
 */
#include "tools/clinfo-bench/report.h"

#include "host/core/record.h"

#include <stdlib.h>
#include <string.h>

static void device_of(const json_t *device, oclora_device *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->platform, sizeof out->platform, "%s", bench_text(device, "platform"));
    snprintf(out->name, sizeof out->name, "%s", bench_text(device, "device"));
    snprintf(out->vendor, sizeof out->vendor, "%s", bench_text(device, "vendor"));
    snprintf(out->driver, sizeof out->driver, "%s", bench_text(device, "driver"));
}

static bool file_failed(const json_t *items, const char *file, size_t length)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        const char *kernel = bench_text(item, "kernel");
        if (bench_status_is_bad(bench_text(item, "status")) && !strncmp(kernel, file, length) &&
            (kernel[length] == ':' || !kernel[length]))
            return true;
    }
    return false;
}

static void keep_section(oclora_record *record, const json_t *items, const char *class_name,
                         bool passes)
{
    size_t i;
    json_t *item;
    char file[56];
    json_array_foreach(items, i, item)
    {
        const char *kernel = bench_text(item, "kernel");
        bool bad = bench_status_is_bad(bench_text(item, "status"));
        if (!*kernel) continue;
        if (bad) oclora_record_set(record, class_name, kernel, false, NULL);
        snprintf(file, sizeof file, "%.*s", (int)strcspn(kernel, ":"), kernel);
        if (passes && !file_failed(items, file, strlen(file)))
            oclora_record_set(record, class_name, file, true, NULL);
    }
}

static void keep_probes(oclora_record *record, const json_t *items, bool passes)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        const char *name = bench_text(item, "name");
        bool bad = bench_status_is_bad(bench_text(item, "status"));
        if (bad || (passes && json_is_true(json_object_get(item, "found"))))
            oclora_record_set(record, "probe", name, !bad, NULL);
    }
}

static bool is_whole(const bench_options *options, const json_t *device)
{
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(device, "steps"), i,
                       step) if (strcmp(bench_text(step, "status"), "done")) return false;
    return options->mode != BENCH_QUICK && !options->only;
}

void bench_keep_findings(const bench_options *options, json_t *device)
{
    const oclora_env env = {0};
    oclora_device identity;
    oclora_record record;
    json_t *sections = json_object_get(device, "sections");
    char *dir = oclora_cache_dir(&env, NULL);
    bool passes = is_whole(options, device);
    device_of(device, &identity);
    oclora_record_load(&record, &env, dir, &identity);
    if (passes) oclora_record_free(&record); /* a whole run replaces what was known */
    keep_section(&record, json_object_get(sections, "selftest_cpu"), "cpu", passes);
    keep_section(&record, json_object_get(sections, "selftest_gpu"), "gpu", passes);
    keep_probes(&record, json_object_get(sections, "probes"), passes);
    if (passes && !strcmp(bench_text(device, "verdict"), "pass"))
        oclora_record_set(&record, "device", "all", true, NULL);
    if (dir && record.count && !oclora_record_store(&record, dir, &identity))
        fprintf(stderr, "clinfo-bench: the findings could not be kept in %s\n", dir);
    oclora_record_free(&record);
    oclora_release(&env, dir);
}
