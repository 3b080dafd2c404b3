#include "tools/bench/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool bench_report_open(bench_report *out, const bench_options *options)
{
    memset(out, 0, sizeof *out);
    out->options = options;
    out->rows = json_array();
    return out->rows;
}

void bench_progress(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("-- ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
}

void bench_report_list(const bench_case *c)
{
    printf("%-8s %-34s against %-34s", c->suite, c->name, c->peer);
    if (c->must > 0) printf(" must %g, aim %g", c->must, c->aim);
    printf("\n");
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value ? value : "";
}

static void head(bench_report *r, const char *suite)
{
    if (strcmp(r->last_suite, suite) == 0) return;
    snprintf(r->last_suite, sizeof r->last_suite, "%s", suite);
    printf("\n%s\n%-34s %-14s %10s %10s %7s %7s %6s %6s %6s  %s\n", suite, "case", "metric", "ours",
           "peer", "ratio", "best", "noise", "must", "aim", "peer is");
}

static void print_row(bench_report *r, const json_t *row)
{
    double must = number(row, "target"), aim = number(row, "aim");
    head(r, text(row, "suite"));
    if (json_is_string(json_object_get(row, "missing"))) {
        printf("%-34s not measured: %s\n", text(row, "case"), text(row, "missing"));
        return;
    }
    printf("%-34s %-14s %10.4g %10.4g %7.3g %7.3g %5.1f%%", text(row, "case"), text(row, "metric"),
           number(row, "ours"), number(row, "peer"), number(row, "ratio"),
           number(row, "ratio_best"), number(row, "noise") * 100);
    if (must > 0)
        printf(" %6.3g %6.3g  %s", must, aim, text(row, "peer_name"));
    else
        printf(" %6s %6s  %s", "", "", text(row, "peer_name"));
    if (must > 0 && !json_is_true(json_object_get(row, "met"))) printf("  [below must]");
    printf("\n");
    fflush(stdout);
}

static void count_row(bench_report *r, const json_t *row)
{
    if (json_is_string(json_object_get(row, "missing"))) {
        r->missing++;
        return;
    }
    r->measured++;
    double must = number(row, "target"), ratio = number(row, "ratio");
    if (must <= 0) return;
    if (ratio < must)
        r->below_must++;
    else if (ratio < number(row, "aim"))
        r->below_aim++;
}

void bench_report_adopt(bench_report *report, const json_t *row)
{
    json_t *copy = json_deep_copy(row);
    if (!copy || json_array_append_new(report->rows, copy) != 0) {
        fprintf(stderr, "oclora-bench: out of memory; a row is lost\n");
        return;
    }
    count_row(report, copy);
    print_row(report, copy);
}

static void add_new(bench_report *report, json_t *row)
{
    if (row) bench_report_adopt(report, row);
    json_decref(row);
}

/* Every row has these keys; what is not known, or not asked for, is null. */
static json_t *begin_row(const bench_case *c)
{
    json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:n,s:n,s:n,s:n,s:n,s:n}", "suite", c->suite, "case",
                            c->name, "metric", c->metric, "peer_name", c->peer, "ours", "peer",
                            "ratio", "target", "aim", "met");
    if (row && c->must > 0) {
        json_object_set_new(row, "target", json_real(c->must));
        json_object_set_new(row, "aim", json_real(c->aim));
    }
    return row;
}

static void add_duel(bench_report *report, const bench_case *c, const bench_duel *d, double scale)
{
    json_t *row = begin_row(c);
    json_t *values = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:i}", "ours", d->ours * scale, "peer",
                               d->peer * scale, "ours_best", d->ours_min * scale, "peer_best",
                               d->peer_min * scale, "ratio", d->ratio, "ratio_best",
                               d->ratio_of_min, "noise", d->noise, "rounds", (int)d->rounds);
    if (row && values) {
        json_object_update(row, values);
        if (c->must > 0) {
            json_object_set_new(row, "met", json_boolean(d->ratio >= c->must));
            json_object_set_new(row, "aim_met", json_boolean(d->ratio >= c->aim));
        }
    }
    json_decref(values);
    add_new(report, row);
}

void bench_report_times(bench_report *report, const bench_case *c, const bench_duel *duel,
                        double scale)
{
    add_duel(report, c, duel, scale);
}

void bench_report_rates(bench_report *report, const bench_case *c, const bench_duel *duel)
{
    add_duel(report, c, duel, 1);
}

void bench_report_missing(bench_report *report, const bench_case *c, const char *fmt, ...)
{
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    json_t *row = begin_row(c);
    if (row) json_object_set_new(row, "missing", json_string(why));
    add_new(report, row);
}

int bench_report_close(bench_report *report)
{
    int status = BENCH_EXIT_OK;
    const bench_options *o = report->options;
    printf("\n%u rows measured: %u below their must, %u more below their aim; %u not measured\n",
           report->measured, report->below_must, report->below_aim, report->missing);
    if (report->measured == 0 && report->missing == 0) {
        fprintf(stderr, "oclora-bench: no case matches (see --list)\n");
        status = BENCH_EXIT_USAGE;
    }
    if (o->json && json_dump_file(report->rows, o->json, JSON_INDENT(1) | JSON_REAL_PRECISION(6))) {
        fprintf(stderr, "oclora-bench: %s could not be written\n", o->json);
        status = BENCH_EXIT_ENVIRONMENT;
    }
    if (status == BENCH_EXIT_OK && o->strict && report->below_must) status = BENCH_EXIT_MISSED;
    json_decref(report->rows);
    report->rows = NULL;
    return status;
}
