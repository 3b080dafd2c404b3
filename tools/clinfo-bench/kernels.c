/* kernels.c - the project's kernels at model sizes: time, bytes, operations. The parent sets them
 * beside the measured limits. */
#include "tools/clinfo-bench/kernels.h"

#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one call, best of groups. */
static oclora_status time_work(selftest *t, const bench_work *work, double *best, double *spread,
                               oclora_error *err)
{
    double times[32], began = 0, once = 0;
    int rounds = t->child->mode == BENCH_QUICK ? 7 : 15;
    for (int i = 0; i < 2; i++) { /* the first compiles */
        began = bench_now();
        OCLORA_TRY(work->run(work->user, err));
        OCLORA_TRY(oclora_stream_finish(t->stream, err));
        once = bench_now() - began;
    }
    int count = once < 2e-3 ? (int)(2e-3 / once) + 1 : 1;
    for (int i = 0; i < rounds; i++) {
        began = bench_now();
        for (int k = 0; k < count; k++) OCLORA_TRY(work->run(work->user, err));
        OCLORA_TRY(oclora_stream_finish(t->stream, err));
        times[i] = (bench_now() - began) / count;
        if (i >= 2 && times[i] * count > 2.0) rounds = i + 1;
    }
    qsort(times, (size_t)rounds, sizeof *times, compare_doubles);
    *best = times[0];
    *spread = times[rounds / 2] / times[0] - 1;
    return OCLORA_OK;
}

/* "file, file": what the case launched. */
typedef struct file_list {
    char text[120];
} file_list;

static void add_file(void *user, const oclora_kernel_ref *kernel)
{
    file_list *list = user;
    const size_t used = strlen(list->text), length = strlen(kernel->file);
    for (const char *at = list->text; *at; at += strcspn(at, ",") + 2) {
        if (strcspn(at, ",") == length && !strncmp(at, kernel->file, length)) return;
        if (!at[strcspn(at, ",")]) break;
    }
    snprintf(list->text + used, sizeof list->text - used, "%s%s", used ? ", " : "", kernel->file);
}

void bench_time_work(selftest *t, const bench_work *work)
{
    oclora_error err = {0};
    double best = 0, spread = 0;
    file_list files = {""};
    oclora_status status = time_work(t, work, &best, &spread, &err);
    if (status) {
        bench_report_case_error(t, "", status, &err);
        return;
    }
    oclora_stream_each_kernel(t->stream, add_file, &files);
    json_t *item = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f}", "kernel", files.text, "class",
                             t->child->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu", "value",
                             best * 1e6, "spread_percent", spread * 100, "bytes", work->bytes,
                             "operations", work->operations);
    json_object_set_new(item, "unit", json_string("us"));
    bench_result(t->child, "info", item, "%s", "");
}

oclora_status bench_step_kernels(bench_child *child, oclora_error *err)
{
    selftest t = {.child = child, .random = 20262};
    child->device_class = child->device.device_class;
    const oclora_context_options options = {.ignore_quirks = 1};
    OCLORA_TRY(oclora_context_create(&t.context, &child->env, &child->device, &options, err));
    OCLORA_TRY(bench_model_layers(&t, err));
    return bench_model_ops(&t, err);
}
