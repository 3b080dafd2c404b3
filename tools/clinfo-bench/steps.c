#include "tools/clinfo-bench/bench.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const bench_step bench_steps[] = {
    {"list", "devices", 0, 60, bench_step_list},
    {"identity", "identity and limits", 0, 60, bench_step_identity},
    {"probes", "features, claimed and found", 0, 60, bench_step_probes},
    {"memory", "allocations", 0, 60, bench_step_memory},
    {"selftest_cpu", "self-test, CPU-class kernels", OCLORA_CLASS_CPU, 60, bench_step_selftest},
    {"selftest_gpu", "self-test, GPU-class kernels", OCLORA_CLASS_GPU, 60, bench_step_selftest},
    {"speed", "measured limits", 0, 60, bench_step_speed},
    {"kernels", "kernels at model sizes", 0, 60, bench_step_kernels},
};
const size_t bench_n_steps = sizeof bench_steps / sizeof bench_steps[0];

const bench_step *bench_find_step(const char *name)
{
    for (size_t i = 0; i < bench_n_steps; i++)
        if (!strcmp(bench_steps[i].name, name)) return &bench_steps[i];
    return NULL;
}

static void send_line(bench_child *child, json_t *line)
{
    if (line) json_dumpf(line, child->out, JSON_COMPACT | JSON_ENSURE_ASCII);
    fputc('\n', child->out);
    fflush(child->out);
    json_decref(line);
}

bool bench_begin(bench_child *child, const char *name)
{
    return bench_begin_case(child, name, "");
}

/* Whether the name holds one of the texts of a list with commas. */
static bool is_asked_for(const char *list, const char *name)
{
    char part[80];
    for (size_t length; *list; list += length + (list[length] == ',')) {
        length = strcspn(list, ",");
        snprintf(part, sizeof part, "%.*s", (int)length, list);
        if (strstr(name, part)) return true;
    }
    return false;
}

bool bench_begin_case(bench_child *child, const char *name, const char *kernel)
{
    uint32_t number = child->next_item++;
    if (number < child->from) return false;
    if (child->only && !is_asked_for(child->only, name)) return false;
    snprintf(child->item, sizeof child->item, "%s", name);
    send_line(child,
              json_pack("{s:s, s:i, s:s}", "begin", name, "number", (int)number, "kernel", kernel));
    return true;
}

void bench_result(bench_child *child, const char *status, json_t *item, const char *detail_fmt, ...)
{
    char detail[700];
    va_list args;
    va_start(args, detail_fmt);
    vsnprintf(detail, sizeof detail, detail_fmt, args);
    va_end(args);
    /* A driver's text may hold anything; the report is ASCII. */
    for (char *at = detail; *at; at++)
        if ((unsigned char)*at >= 127 || (unsigned char)*at < ' ') *at = *at == '\n' ? ' ' : '?';
    if (!item) item = json_object();
    json_object_set_new(item, "name", json_string(child->item));
    json_object_set_new(item, "status", json_string(status));
    if (detail[0]) json_object_set_new(item, "detail", json_string(detail));
    send_line(child, json_pack("{s:o}", "item", item));
}

static oclora_status find_device(bench_child *child, uint32_t index, oclora_error *err)
{
    char selector[16];
    snprintf(selector, sizeof selector, "%u", index);
    return oclora_device_find(&child->env, selector, &child->device, err);
}

static void log_to_stderr(void *user, int32_t level, const char *text, size_t length)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%.*s\n", (int)length, text);
}

int bench_child_main(const bench_options *options)
{
    oclora_error err = {0};
    const bench_step *step = bench_find_step(options->step);
    FILE *out = fdopen(BENCH_RESULT_FD, "w");
    if (!step || !out) {
        fprintf(stderr, "clinfo-bench: --step is for the program's own use\n");
        return BENCH_EXIT_TOOL;
    }
    bench_child child = {.out = out,
                         .mode = options->mode,
                         .from = options->step_from,
                         .only = options->only,
                         .device_class = step->device_class};
    child.env.log = log_to_stderr;
    child.env.log_level = OCLORA_LOG_WARN;
    oclora_status status = OCLORA_OK;
    if (step->run != bench_step_list) status = find_device(&child, options->step_device, &err);
    if (!status) status = step->run(&child, &err);
    if (status) {
        snprintf(child.item, sizeof child.item, "%s", step->name);
        bench_result(&child, "error", NULL, "%s: %s", oclora_status_name(status), err.text);
    }
    send_line(&child, json_pack("{s:b}", "end", 1));
    /* A driver's exit handlers may hang or crash; nothing is left to lose. */
    fflush(NULL);
    _Exit(status ? 1 : 0);
}
