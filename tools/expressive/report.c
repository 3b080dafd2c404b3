/* report.c - errors against rank, as a table, as JSON, and as a picture. */
#include "tools/expressive/expressive.h"
#include "tools/shared/tensors.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const networks[] = {"linear", "relu", "transformer"};

/* At the threshold below 1e-4, one rank below over 100 times more; a linear network's error is the
 * paper's singular value at every rank. */
static bool as_promised(const oclora_experiment *e)
{
    const oclora_point *at = NULL, *below = NULL;
    bool ok = true;
    for (size_t i = 0; i < e->n_points; i++) {
        const oclora_point *p = &e->points[i];
        if (p->rank == e->threshold) at = p;
        if (p->rank + 1 == e->threshold) below = p;
        if (p->theory >= 0.0 && !(fabs(p->error - p->theory) < 1e-4)) ok = false;
        if (p->rank >= e->threshold && !(p->error < 1e-4)) ok = false;
    }
    if (at != NULL && below != NULL && !(below->error > 100.0 * at->error)) ok = false;
    return ok;
}

static void print_text(const oclora_experiment *e, bool ok)
{
    const oclora_expressive_options *o = e->options;
    printf("%s network, width %u, depth %u", networks[o->network], o->width, o->depth);
    if (o->network == OCLORA_NET_RELU) printf(", target depth %u", o->target_depth);
    printf(", threshold rank %u, on %s\n  rank  error      %s\n", e->threshold, e->device.device,
           o->network == OCLORA_NET_LINEAR ? "sigma_{RL+1} / sigma_1" : "");
    for (size_t i = 0; i < e->n_points; i++) {
        const oclora_point *p = &e->points[i];
        printf("  %4u  %.3e", p->rank, p->error);
        if (p->theory >= 0.0) printf("  %.3e", p->theory);
        puts(p->rank == e->threshold ? "  threshold" : "");
    }
    puts(ok ? "as the theory says" : "NOT as the theory says");
}

static void print_json(const oclora_experiment *e, bool ok)
{
    const oclora_expressive_options *o = e->options;
    json_t *points = json_array();
    for (size_t i = 0; i < e->n_points; i++) {
        const oclora_point *p = &e->points[i];
        json_t *one = json_pack("{s:i,s:f}", "rank", (int)p->rank, "error", p->error);
        if (p->theory >= 0.0) json_object_set_new(one, "theory", json_real(p->theory));
        json_array_append_new(points, one);
    }
    json_t *root =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:s,s:o,s:b}", "network", networks[o->network], "width",
                  (int)o->width, "depth", (int)o->depth, "target_depth", (int)o->target_depth,
                  "seed", (int)o->seed, "threshold", (int)e->threshold, "device", e->device.device,
                  "points", points, "as_promised", ok);
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
    putchar('\n');
    json_decref(root);
}

bool oclora_expressive_report(const oclora_experiment *e)
{
    const bool ok = as_promised(e);
    if (e->options->json)
        print_json(e, ok);
    else
        print_text(e, ok);
    return ok;
}

/* --- the picture --- */

enum { WIDTH = 720, HEIGHT = 440, LEFT = 76, RIGHT = 24, TOP = 48, BOTTOM = 56, DECADES = 8 };

typedef struct page {
    char *text;
    size_t used;
    size_t room;
    uint32_t last; /* largest rank */
} page;

static void put(page *p, const char *format, ...) OCLORA_PRINTF(2, 3);
static void put(page *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(p->text + p->used, p->room - p->used, format, args);
    va_end(args);
    if (length > 0 && (size_t)length < p->room - p->used) p->used += (size_t)length;
}

static double x_of(const page *p, double rank)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * rank / (p->last + 0.5);
}

/* Decades from 1e1 down to 1e-7; what is less lies on the axis. */
static double y_of(double error)
{
    double decade = 1.0 - log10(error > 1e-7 ? error : 1e-7);
    if (decade < 0.0) decade = 0.0;
    return TOP + (HEIGHT - TOP - BOTTOM) * decade / DECADES;
}

static void put_axes(page *p)
{
    put(p,
        "<line x1='%d' y1='%d' x2='%d' y2='%d' stroke='#333'/>\n"
        "<line x1='%d' y1='%d' x2='%d' y2='%d' stroke='#333'/>\n",
        LEFT, TOP, LEFT, HEIGHT - BOTTOM, LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM);
    for (int i = 0; i <= DECADES; i++) {
        const double y = y_of(pow(10.0, 1 - i));
        put(p,
            "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='#ddd'/>\n"
            "<text x='%d' y='%.1f' text-anchor='end'>1e%d</text>\n",
            LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, 1 - i);
    }
    const uint32_t step = p->last > 16 ? (p->last + 15) / 16 : 1;
    for (uint32_t rank = step; rank <= p->last; rank += step)
        put(p, "<text x='%.1f' y='%d' text-anchor='middle'>%u</text>\n", x_of(p, rank),
            HEIGHT - BOTTOM + 18, rank);
    put(p, "<text x='%d' y='%d' text-anchor='middle'>rank of the adapters</text>\n",
        (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 14);
    put(p,
        "<text transform='translate(18 %d) rotate(-90)' text-anchor='middle'>relative error on the "
        "device, f32</text>\n",
        (HEIGHT + TOP - BOTTOM) / 2);
}

static void put_theory(page *p, const oclora_experiment *e)
{
    const double x = x_of(p, e->threshold);
    put(p,
        "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' stroke='#c0392b' stroke-dasharray='6 4'/>\n"
        "<text x='%.1f' y='%d' text-anchor='end' fill='#c0392b'>threshold rank %u</text>\n",
        x, TOP, x, HEIGHT - BOTTOM, x - 6, TOP + 14, e->threshold);
    if (e->options->network != OCLORA_NET_LINEAR) return;
    put(p, "<polyline fill='none' stroke='#c0392b' points='");
    for (size_t i = 0; i < e->n_points; i++)
        put(p, "%.1f,%.1f ", x_of(p, e->points[i].rank), y_of(e->points[i].theory));
    put(p, "'/>\n<text x='%d' y='%d' fill='#c0392b'>theory: sigma_{RL+1} / sigma_1</text>\n",
        LEFT + 12, HEIGHT - BOTTOM - 12);
}

static void put_points(page *p, const oclora_experiment *e)
{
    for (size_t i = 0; i < e->n_points; i++)
        put(p,
            "<circle cx='%.1f' cy='%.1f' r='4' fill='#2471a3'><title>rank %u: "
            "%.3e</title></circle>\n",
            x_of(p, e->points[i].rank), y_of(e->points[i].error), e->points[i].rank,
            e->points[i].error);
}

oclora_status oclora_expressive_plot(const oclora_experiment *e, oclora_error *err)
{
    const oclora_expressive_options *o = e->options;
    page p = {.room = 8192 + 256 * e->n_points, .last = e->threshold + 1};
    for (size_t i = 0; i < e->n_points; i++)
        if (e->points[i].rank > p.last) p.last = e->points[i].rank;
    p.room += 128 * (size_t)p.last;
    p.text = calloc(p.room, 1);
    if (p.text == NULL) return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory to draw");
    put(&p,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
        "font-size='12'>\n<rect width='%d' height='%d' fill='white'/>\n",
        WIDTH, HEIGHT, WIDTH, HEIGHT);
    put(&p,
        "<text x='%d' y='26' font-size='15'>LoRA of rank R on a frozen %s network (width %u, "
        "depth %u",
        LEFT, networks[o->network], o->width, o->depth);
    if (o->network == OCLORA_NET_RELU) put(&p, ", target depth %u", o->target_depth);
    put(&p, ")</text>\n");
    put_axes(&p);
    put_theory(&p, e);
    put_points(&p, e);
    put(&p, "</svg>\n");
    const oclora_status status = oclora_write_file(o->svg, p.text, p.used, err);
    free(p.text);
    return status;
}
