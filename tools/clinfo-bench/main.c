/* main.c - the parent: chooses devices, runs the steps, writes what was asked for. */
#include "tools/clinfo-bench/child.h"
#include "tools/clinfo-bench/options.h"
#include "tools/clinfo-bench/report.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef struct collector {
    json_t *device; /* the report's; NULL while listing */
    const char *step;
    json_t *devices; /* of the list step */
    char trouble[600];
    size_t done;
    bool terminal;
    bool again; /* a step that ran before: what it measures joins what there is */
} collector;

/* Measurements are made in so many processes, apart in time: between them a machine changes more
 * than within one. */
enum { MEASURE_ROUNDS = 3 };

static void show_progress(collector *c, const char *name)
{
    if (c->terminal) fprintf(stderr, "\r\033[K  %s: %s (%zu)", c->step, name, c->done);
    fflush(stderr);
}

static void on_begin(void *user, const char *name)
{
    collector *c = user;
    c->done++;
    show_progress(c, name);
}

static void on_listed(void *user, json_t *item)
{
    collector *c = user;
    json_t *devices = json_object_get(item, "devices");
    if (devices) {
        json_decref(c->devices);
        c->devices = json_incref(devices);
    } else {
        snprintf(c->trouble, sizeof c->trouble, "%s: %s", bench_text(item, "status"),
                 bench_text(item, "detail"));
    }
}

static bool more_is_better(const json_t *item)
{
    return strstr(bench_text(item, "unit"), "/s") != NULL;
}

/* The better value stays; how far apart the two are is noise. */
static void join_measurement(json_t *item, const json_t *other)
{
    const double a = bench_number(item, "value"), b = bench_number(other, "value");
    if (!(a > 0) || !(b > 0)) return;
    const double low = a < b ? a : b, high = a < b ? b : a;
    double spread = 100 * (high / low - 1);
    if (spread < bench_number(item, "spread_percent"))
        spread = bench_number(item, "spread_percent");
    if (spread < bench_number(other, "spread_percent"))
        spread = bench_number(other, "spread_percent");
    json_object_set_new(item, "value", json_real(more_is_better(item) ? high : low));
    json_object_set_new(item, "spread_percent", json_real(spread));
}

static void on_item(void *user, json_t *item)
{
    collector *c = user;
    bool identity = !strcmp(c->step, "identity");
    if (c->again) {
        size_t i;
        json_t *known;
        json_array_foreach(bench_device_section(c->device, c->step), i, known)
        {
            if (strcmp(bench_text(known, "name"), bench_text(item, "name"))) continue;
            join_measurement(known, item);
            return;
        }
    }
    if (identity && json_object_get(item, "limits")) {
        json_t *fields = json_copy(item);
        json_object_del(fields, "status");
        json_object_del(fields, "name");
        json_object_update(c->device, fields);
        json_decref(fields);
    } else {
        json_array_append(bench_device_section(c->device, c->step), item);
    }
}

static json_t *list_devices(const bench_options *options)
{
    collector c = {.step = "list", .terminal = false};
    const bench_sink sink = {&c, NULL, on_listed};
    bench_options all = *options;
    all.only = NULL;
    bench_run_step(&all, bench_find_step("list"), 0, &sink);
    if (!c.devices || !json_array_size(c.devices)) {
        fprintf(stderr,
                "clinfo-bench: no OpenCL device found%s%s\n"
                "Install a driver, or check OCL_ICD_VENDORS and /etc/OpenCL/vendors: an .icd "
                "file there may name a library that does not exist.\n",
                c.trouble[0] ? "; the driver's own trouble: " : "", c.trouble);
    }
    return c.devices ? c.devices : json_array();
}

static bool is_wanted(const json_t *device, const char *selector)
{
    char full[400], *end = NULL;
    if (!selector) return true;
    unsigned long number = strtoul(selector, &end, 10);
    if (*selector && !*end) return number == (unsigned long)bench_number(device, "index");
    snprintf(full, sizeof full, "%s / %s", bench_text(device, "platform"),
             bench_text(device, "device"));
    for (const char *at = full; *at; at++)
        if (!strncasecmp(at, selector, strlen(selector))) return true;
    return false;
}

static void print_list(FILE *out, const json_t *devices)
{
    size_t i;
    json_t *device;
    json_array_foreach(devices, i, device) fprintf(
        out, "%zu: %s / %s (%s, driver %s)\n", i, bench_text(device, "platform"),
        bench_text(device, "device"), bench_text(device, "version"), bench_text(device, "driver"));
}

static bool is_measurement(const bench_step *step)
{
    return !strcmp(step->name, "speed") || !strcmp(step->name, "kernels");
}

static void measure_again(const bench_options *options, collector *c, uint32_t index)
{
    const bench_sink sink = {c, on_begin, on_item};
    const double began = bench_now();
    c->again = true;
    for (int round = 1; round < MEASURE_ROUNDS; round++) {
        for (size_t i = 0; i < bench_n_steps; i++) {
            if (!is_measurement(&bench_steps[i])) continue;
            c->step = bench_steps[i].name;
            bench_run_step(options, &bench_steps[i], index, &sink);
        }
    }
    if (c->terminal) fprintf(stderr, "\r\033[K");
    fprintf(stderr, "  %-32s %3d rounds, %4.1f s\n", "limits and kernels once more",
            MEASURE_ROUNDS - 1, bench_now() - began);
}

static void run_device(const bench_options *options, json_t *device)
{
    collector c = {.device = device, .terminal = isatty(STDERR_FILENO)};
    const bench_sink sink = {&c, on_begin, on_item};
    uint32_t index = (uint32_t)bench_number(device, "index");
    bool measured = true;
    fprintf(stderr, "%s / %s\n", bench_text(device, "platform"), bench_text(device, "device"));
    for (size_t i = 1; i < bench_n_steps; i++) {
        const bench_step *step = &bench_steps[i];
        c.step = step->name;
        c.done = 0;
        bench_options filtered = *options;
        if (i == 1) filtered.only = NULL; /* everything needs the identity */
        bench_step_end end = bench_run_step(&filtered, step, index, &sink);
        if (c.terminal) fprintf(stderr, "\r\033[K");
        fprintf(stderr, "  %-32s %3zu items, %5.1f s%s\n", step->title, c.done, end.seconds,
                end.broken ? ", given up" : "");
        measured &= !is_measurement(step) || (!end.broken && !end.ended_early);
        json_array_append_new(json_object_get(device, "steps"),
                              json_pack("{s:s, s:s, s:f, s:i}", "name", step->name, "status",
                                        end.broken ? "given up" : "done", "seconds", end.seconds,
                                        "ended_early", (int)end.ended_early));
    }
    if (measured) measure_again(options, &c, index);
    bench_judge_device(device);
    bench_keep_findings(options, device);
}

static bool write_outputs(const bench_options *options, json_t *report)
{
    bool ok = true;
    char *text = NULL;
    if (options->json) {
        text = bench_report_text(report);
        ok = bench_write_file(options->json, text) && ok;
        free(text);
    }
    if (options->markdown) {
        text = bench_markdown(report);
        ok = bench_write_file(options->markdown, text) && ok;
        free(text);
    }
    if (options->svg) {
        text = bench_svg(report);
        ok = bench_write_file(options->svg, text) && ok;
        free(text);
    }
    return ok;
}

static int run_devices(const bench_options *options, const json_t *devices, json_t *report,
                       const json_t *old_report)
{
    size_t i, used = 0;
    json_t *listed;
    FILE *page = options->markdown && !strcmp(options->markdown, "-") ? stderr : stdout;
    json_array_foreach(devices, i, listed)
    {
        if (!is_wanted(listed, options->device)) continue;
        json_t *device = bench_report_add_device(report, listed);
        run_device(options, device);
        bench_print_device(page, device);
        used++;
    }
    if (!used && json_array_size(devices)) {
        fprintf(stderr, "clinfo-bench: no device matches '%s'; there are:\n", options->device);
        print_list(stderr, devices);
        return BENCH_EXIT_TOOL;
    }
    int status = bench_judge_report(report);
    if (old_report) bench_compare(page, old_report, report);
    if (used && options->mode == BENCH_QUICK)
        fprintf(page, "\nA quick run: not sufficient to verify correctness; see --full.\n");
    return write_outputs(options, report) ? status : BENCH_EXIT_TOOL;
}

int main(int argc, char **argv)
{
    bench_options options;
    int status = bench_parse_options(&options, argc, argv);
    if (status >= 0) return status;
    if (options.step) return bench_child_main(&options);

    signal(SIGPIPE, SIG_IGN);
    bench_end_with_child();
    json_t *old_report = NULL;
    if (options.compare && !(old_report = bench_report_load(options.compare)))
        return BENCH_EXIT_TOOL;
    json_t *devices = list_devices(&options);
    if (options.list) {
        print_list(stdout, devices);
        status = json_array_size(devices) ? BENCH_EXIT_PASS : BENCH_EXIT_UNUSABLE;
    } else {
        json_t *report = bench_report_new(&options);
        status = report ? run_devices(&options, devices, report, old_report) : BENCH_EXIT_TOOL;
        json_decref(report);
    }
    json_decref(devices);
    json_decref(old_report);
    return status;
}
