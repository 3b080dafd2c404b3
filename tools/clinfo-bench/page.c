/* page.c - the report as a page for a terminal, and as Markdown for a bug report. */
#include "tools/clinfo-bench/report.h"

#include <stdlib.h>
#include <string.h>

static void print_size(FILE *out, double bytes)
{
    if (bytes >= 1e9)
        fprintf(out, "%.1f GiB", bytes / 1073741824.0);
    else if (bytes >= 1e6)
        fprintf(out, "%.1f MiB", bytes / 1048576.0);
    else
        fprintf(out, "%.0f KiB", bytes / 1024.0);
}

static void print_identity(FILE *out, const json_t *device)
{
    const json_t *limits = json_object_get(device, "limits");
    fprintf(out, "  vendor   %s\n  driver   %s\n  version  %s, %s\n", bench_text(device, "vendor"),
            bench_text(device, "driver"), bench_text(device, "version"),
            bench_text(device, "c_version"));
    if (!limits) return;
    fprintf(out, "  limits   %.0f compute units, memory ", bench_number(limits, "compute_units"));
    print_size(out, bench_number(limits, "global_bytes"));
    fprintf(out, ", one allocation ");
    print_size(out, bench_number(limits, "max_alloc_bytes"));
    fprintf(out, ", local ");
    print_size(out, bench_number(limits, "local_bytes"));
    fprintf(out, ", groups of %.0f\n", bench_number(limits, "max_work_group"));
}

static const json_t *section_of(const json_t *device, const char *name)
{
    return json_object_get(json_object_get(device, "sections"), name);
}

static void print_row(FILE *out, bool markdown, const char *name, const char *status,
                      const char *found, const char *note)
{
    if (markdown)
        fprintf(out, "| %s | %s | %s | %.200s |\n", name, status, found, note);
    else
        fprintf(out, "  %-28s %-8s %-22s %s\n", name, status, found, note);
}

static void print_probes(FILE *out, const json_t *device, bool markdown)
{
    size_t i;
    json_t *item;
    json_array_foreach(section_of(device, "probes"), i, item)
    {
        bool claimed = json_is_true(json_object_get(item, "claimed"));
        bool found = json_is_true(json_object_get(item, "found"));
        print_row(out, markdown, bench_text(item, "name"), bench_text(item, "status"),
                  !json_object_get(item, "found") ? ""
                  : claimed && found              ? "claimed and found"
                  : claimed                       ? "CLAIMED, NOT FOUND"
                  : found                         ? "found, not claimed"
                                                  : "absent",
                  bench_text(item, "detail"));
    }
    json_array_foreach(section_of(device, "memory"), i, item)
    {
        char text[80];
        const bool whole = !strcmp(bench_text(item, "name"), "memory_claims");
        snprintf(text, sizeof text, "claimed %.0f MiB, %s %.0f MiB",
                 bench_number(item, "claimed_bytes") / 1048576, whole ? "machine has" : "used",
                 bench_number(item, "found_bytes") / 1048576);
        print_row(out, markdown, bench_text(item, "name"), bench_text(item, "status"), text,
                  bench_text(item, "detail"));
    }
}

static void count_items(const json_t *items, const char *status, size_t *count)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) *count += !strcmp(bench_text(item, "status"), status);
}

static void print_selftest(FILE *out, const json_t *device, const char *section, bool markdown)
{
    const json_t *items = section_of(device, section);
    size_t i, passed = 0, skipped = 0, bad = 0;
    json_t *item;
    if (!items) return;
    count_items(items, "pass", &passed);
    count_items(items, "skip", &skipped);
    json_array_foreach(items, i, item) bad += bench_status_is_bad(bench_text(item, "status"));
    fprintf(out, "%s%s-class kernels: %zu cases passed, %zu failed, %zu skipped\n",
            markdown ? "- " : "  ", !strcmp(section, "selftest_gpu") ? "GPU" : "CPU", passed, bad,
            skipped);
    json_array_foreach(items, i, item)
    {
        const char *status = bench_text(item, "status");
        if (!bench_status_is_bad(status) && strcmp(status, "skip")) continue;
        fprintf(out, "%s%-7s %s (%s.cl): %.300s\n", markdown ? "  - " : "    ", status,
                bench_text(item, "name"), bench_text(item, "kernel"), bench_text(item, "detail"));
    }
}

static void print_speed(FILE *out, const json_t *device, bool markdown)
{
    size_t i;
    json_t *item;
    char value[60], more[120];
    json_array_foreach(section_of(device, "speed"), i, item)
    {
        snprintf(value, sizeof value, "%.4g %s", bench_number(item, "value"),
                 bench_text(item, "unit"));
        if (!json_object_get(item, "value")) snprintf(value, sizeof value, "-");
        const char *detail = bench_text(item, "detail");
        snprintf(more, sizeof more, "noise %.0f %%%s%.90s", bench_number(item, "spread_percent"),
                 *detail ? "; " : "", detail);
        print_row(out, markdown, bench_text(item, "name"), bench_text(item, "status"), value,
                  json_object_get(item, "value") ? more : bench_text(item, "detail"));
    }
    json_array_foreach(section_of(device, "kernels"), i, item)
    {
        snprintf(value, sizeof value, "%.4g %s", bench_number(item, "value"),
                 bench_text(item, "unit"));
        snprintf(more, sizeof more, "%.0f %% of what the measured limits allow (%s)",
                 bench_number(item, "share_percent"), bench_text(item, "bound_by"));
        print_row(out, markdown, bench_text(item, "name"), bench_text(item, "status"),
                  json_object_get(item, "value") ? value : "-",
                  json_object_get(item, "share_percent") ? more : bench_text(item, "detail"));
    }
}

static void print_quirks(FILE *out, const json_t *device, bool markdown)
{
    size_t i;
    json_t *quirk;
    json_array_foreach(json_object_get(device, "quirks"), i, quirk) fprintf(
        out, "%squirk %s: %s %s (%s; retest: %s)%s\n", markdown ? "- " : "  ",
        bench_text(quirk, "id"), bench_text(quirk, "effect"), bench_text(quirk, "subject"),
        bench_text(quirk, "citation"), bench_text(quirk, "retest"),
        json_is_true(json_object_get(quirk, "lifted")) ? ", lifted by a passed self-test" : "");
}

static void print_verdict(FILE *out, const json_t *device, const char *lead)
{
    size_t i;
    json_t *name;
    fprintf(out, "%sverdict: %s\n", lead, bench_text(device, "verdict"));
    json_array_foreach(json_object_get(device, "failed_kernels"), i, name)
        fprintf(out, "%snot to be used: %s\n", lead, json_string_value(name));
    json_t *step;
    json_array_foreach(json_object_get(device, "steps"), i,
                       step) if (strcmp(bench_text(step, "status"), "done"))
        fprintf(out, "%sstep %s: %s\n", lead, bench_text(step, "name"), bench_text(step, "status"));
}

void bench_print_device(FILE *out, const json_t *device)
{
    fprintf(out, "\n%s / %s\n", bench_text(device, "platform"), bench_text(device, "device"));
    print_identity(out, device);
    print_quirks(out, device, false);
    print_probes(out, device, false);
    print_selftest(out, device, "selftest_cpu", false);
    print_selftest(out, device, "selftest_gpu", false);
    print_speed(out, device, false);
    print_verdict(out, device, "  ");
}

char *bench_markdown(const json_t *report)
{
    char *text = NULL;
    size_t size = 0, i;
    FILE *out = open_memstream(&text, &size);
    json_t *device;
    if (!out) return NULL;
    fprintf(out, "## clinfo-bench %s, %s run, %s\n\n%s, %s\n",
            bench_text(report, "project_version"), bench_text(report, "mode"),
            bench_text(report, "created"),
            bench_text(json_object_get(report, "os"), "distribution"),
            bench_text(json_object_get(report, "os"), "processor"));
    if (!json_is_true(json_object_get(report, "sufficient")))
        fprintf(out, "\n*A quick run; not sufficient to verify correctness.*\n");
    json_array_foreach(json_object_get(report, "devices"), i, device)
    {
        fprintf(out, "\n### %s / %s\n\n```\n", bench_text(device, "platform"),
                bench_text(device, "device"));
        print_identity(out, device);
        fprintf(out, "```\n\n");
        print_quirks(out, device, true);
        print_selftest(out, device, "selftest_cpu", true);
        print_selftest(out, device, "selftest_gpu", true);
        print_verdict(out, device, "- ");
        fprintf(out, "\n| what | status | found | note |\n|---|---|---|---|\n");
        print_probes(out, device, true);
        print_speed(out, device, true);
    }
    return fclose(out) == 0 ? text : NULL;
}
