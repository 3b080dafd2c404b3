/* cases_probe.c - self-test of cl/probe.cl (fill, copy and y += a x in every width) and of
 * cl/chain.cl, by chains of them. */
#include "tools/clinfo-bench/selftest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static oclora_status run(selftest *t, const char *entry, uint32_t width, const case_tensor *x,
                         const case_tensor *y, oclora_error *err)
{
    char defines[32];
    snprintf(defines, sizeof defines, "-DPROBE_WIDTH=%u", width);
    oclora_kernel_ref kernel = {"probe", entry, defines};
    size_t global = (size_t)(y->count / width);
    oclora_arg fill[] = {oclora_arg_buffer(y->view.buffer), oclora_arg_u64(y->view.offset),
                         oclora_arg_f32(1.5f)};
    oclora_arg two[] = {oclora_arg_buffer(x->view.buffer), oclora_arg_u64(x->view.offset),
                        oclora_arg_buffer(y->view.buffer), oclora_arg_u64(y->view.offset),
                        oclora_arg_f32(-0.75f)};
    bool one = !strcmp(entry, "probe_fill");
    return oclora_stream_launch(t->stream, &kernel, one ? fill : two,
                                one                           ? 3
                                : strcmp(entry, "probe_copy") ? 5
                                                              : 4,
                                1, &global, NULL, err);
}

static void probe_case(selftest *t, const char *entry, uint32_t width, const char *subject)
{
    const uint64_t ne[4] = {48, 7, 1, 1};
    const case_source source = {OCLORA_TYPE_F32, {48, 7, 1, 1}, FILL_UNIFORM, 0};
    oclora_error err = {0};
    case_tensor x = {0}, y = {0};
    case_verdict verdict;
    double expected[48 * 7], began = bench_now();
    bool axpy = !strcmp(entry, "probe_axpy");
    oclora_status status = bench_make_source(t, &source, false, &x, &err);
    if (!status) status = bench_make_output(t, OCLORA_TYPE_F32, ne, &y, &err);
    if (!status && axpy) status = run(t, "probe_fill", width, &x, &y, &err);
    if (!status) status = run(t, entry, width, &x, &y, &err);
    for (uint64_t i = 0; !status && i < x.count; i++)
        expected[i] = axpy                           ? 1.5 - 0.75 * (double)x.values[i]
                      : !strcmp(entry, "probe_fill") ? 1.5
                                                     : (double)x.values[i];
    if (!status) status = bench_judge(t, &y, expected, &verdict, &err);
    if (status)
        bench_report_case_error(t, subject, status, &err);
    else
        bench_report_case(t, subject, &verdict, axpy ? 1e-13 : 0, bench_now() - began);
    bench_free_tensor(&x);
    bench_free_tensor(&y);
}

/* One graph: x and y by turns, each from the other. */
static oclora_status run_graph(selftest *t, const case_tensor *x, const case_tensor *y,
                               oclora_error *err)
{
    oclora_status status = OCLORA_OK;
    oclora_stream_chain_begin(t->stream, 1);
    for (int i = 0; i < 10 && !status; i++) {
        status = run(t, "probe_axpy", 1, x, y, err);
        if (!status) status = run(t, "probe_axpy", 16, y, x, err);
    }
    oclora_status ended = oclora_stream_chain_end(t->stream, status ? NULL : err);
    return status ? status : ended;
}

/* Three graphs: the second builds the chain, the third runs in it. */
static void chain_case(selftest *t)
{
    const case_source source = {OCLORA_TYPE_F32, {48, 7, 1, 1}, FILL_UNIFORM, 0};
    const uint64_t ne[4] = {48, 7, 1, 1};
    oclora_error err = {0};
    case_tensor x = {0}, y = {0};
    case_verdict verdict;
    double expected[48 * 7], began = bench_now();
    oclora_status status = bench_make_source(t, &source, false, &x, &err);
    if (!status) status = bench_make_output(t, OCLORA_TYPE_F32, ne, &y, &err);
    if (!status) status = run(t, "probe_fill", 1, &x, &y, &err);
    for (int i = 0; i < 3 && !status; i++) status = run_graph(t, &x, &y, &err);
    for (uint64_t i = 0; !status && i < x.count; i++) {
        double a = x.values[i], b = 1.5;
        for (int step = 0; step < 30; step++) {
            b -= 0.75 * a;
            a -= 0.75 * b;
        }
        expected[i] = b;
    }
    if (!status) status = bench_judge(t, &y, expected, &verdict, &err);
    if (status)
        bench_report_case_error(t, "chain", status, &err);
    else
        bench_report_case(t, "chain", &verdict, 1e-11, bench_now() - began);
    bench_free_tensor(&x);
    bench_free_tensor(&y);
}

void bench_probe_cases(selftest *t)
{
    static const char *const entries[] = {"probe_fill", "probe_copy", "probe_axpy"};
    static const uint32_t widths[] = {1, 4, 16};
    char name[40], subject[40];
    for (int e = 0; e < 3; e++) {
        for (int w = 0; w < 3; w++) {
            if (t->child->mode == BENCH_QUICK && widths[w] == 4) continue;
            snprintf(name, sizeof name, "%s_x%u", entries[e], widths[w]);
            snprintf(subject, sizeof subject, "probe:PROBE_WIDTH=%u", widths[w]);
            if (bench_begin_case(t->child, name, subject))
                probe_case(t, entries[e], widths[w], subject);
        }
    }
    if (oclora_stream_chains(t->stream) && bench_begin_case(t->child, "chain", "chain"))
        chain_case(t);
}
