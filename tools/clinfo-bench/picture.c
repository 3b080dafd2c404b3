/* picture.c - the roofline of each device as one SVG: operations per byte against GFLOP/s, both in
 * decades. Lines are the measured limits, dots the project's kernels. */
#include "tools/clinfo-bench/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 760, HEIGHT = 420, LEFT = 70, TOP = 50, PLOT_W = 640, PLOT_H = 300 };

typedef struct axes {
    double x0, x1, y0, y1; /* decades */
    int top;
} axes;

static double place_x(const axes *a, double value)
{
    double at = (log10(value) - a->x0) / (a->x1 - a->x0);
    return LEFT + PLOT_W * fmin(fmax(at, 0), 1);
}

static double place_y(const axes *a, double value)
{
    double at = (log10(value) - a->y0) / (a->y1 - a->y0);
    return a->top + TOP + PLOT_H * (1 - fmin(fmax(at, 0), 1));
}

static void put_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

static void draw_grid(FILE *out, const axes *a)
{
    for (double d = a->x0; d <= a->x1; d++)
        fprintf(out,
                "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' class='g'/>"
                "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n",
                place_x(a, pow(10, d)), a->top + TOP, place_x(a, pow(10, d)), a->top + TOP + PLOT_H,
                place_x(a, pow(10, d)), a->top + TOP + PLOT_H + 18, pow(10, d));
    for (double d = a->y0; d <= a->y1; d++)
        fprintf(out,
                "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' class='g'/>"
                "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
                LEFT, place_y(a, pow(10, d)), LEFT + PLOT_W, place_y(a, pow(10, d)), LEFT - 6,
                place_y(a, pow(10, d)) + 4, pow(10, d));
    fprintf(out, "<text x='%d' y='%d' text-anchor='middle'>operations per byte</text>\n",
            LEFT + PLOT_W / 2, a->top + TOP + PLOT_H + 38);
    fprintf(out, "<text x='%d' y='%d'>GFLOP/s</text>\n", LEFT, a->top + TOP - 8);
}

static void draw_roof(FILE *out, const axes *a, double bandwidth, double rate)
{
    double knee = rate / bandwidth, low = pow(10, a->x0), high = pow(10, a->x1);
    fprintf(out, "<polyline class='r' points='%.1f,%.1f %.1f,%.1f %.1f,%.1f'/>\n", place_x(a, low),
            place_y(a, low * bandwidth), place_x(a, knee), place_y(a, rate), place_x(a, high),
            place_y(a, rate));
}

static void draw_device(FILE *out, const json_t *device, int top)
{
    axes a = {-1, 3, 0, 5, top};
    double bandwidth = bench_number(bench_find_item(device, "speed", "read_bandwidth"), "value");
    double rate = bench_number(bench_find_item(device, "speed", "fp32_rate"), "value");
    fprintf(out, "<text x='%d' y='%d' class='t'>", LEFT, top + 24);
    put_text(out, bench_text(device, "platform"));
    fprintf(out, " / ");
    put_text(out, bench_text(device, "device"));
    fprintf(out, "</text>\n");
    if (!(bandwidth > 0) || !(rate > 0)) {
        fprintf(out, "<text x='%d' y='%d'>bandwidth or rate was not measured</text>\n", LEFT,
                top + TOP);
        return;
    }
    a.y1 = fmax(3, ceil(log10(rate)));
    a.y0 = a.y1 - 5;
    draw_grid(out, &a);
    draw_roof(out, &a, bandwidth, rate);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(json_object_get(device, "sections"), "kernels"), i, item)
    {
        double us = bench_number(item, "value"), operations = bench_number(item, "operations");
        double bytes = bench_number(item, "bytes");
        if (!(us > 0) || !(bytes > 0)) continue;
        double x = place_x(&a, operations / bytes), y = place_y(&a, operations / us * 1e-3);
        fprintf(out, "<circle cx='%.1f' cy='%.1f' r='4'/><text x='%.1f' y='%.1f' class='s'>", x, y,
                x + 6, y + 4);
        put_text(out, bench_text(item, "name"));
        fprintf(out, "</text>\n");
    }
}

char *bench_svg(const json_t *report)
{
    char *text = NULL;
    size_t size = 0, i;
    const json_t *devices = json_object_get(report, "devices");
    FILE *out = open_memstream(&text, &size);
    json_t *device;
    if (!out) return NULL;
    fprintf(
        out,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d'>\n<style>text{font:12px "
        "sans-serif}.t{font-weight:bold}.s{font-size:10px}.g{stroke:#ddd}.r{fill:none;stroke:#06c;"
        "stroke-width:2}circle{fill:#c30}</style>\n<rect width='100%%' height='100%%' "
        "fill='#fff'/>\n",
        WIDTH, HEIGHT * (int)json_array_size(devices));
    json_array_foreach(devices, i, device) draw_device(out, device, (int)i * HEIGHT);
    fprintf(out, "</svg>\n");
    return fclose(out) == 0 ? text : NULL;
}
