#include "tools/bench/svg.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

enum { WIDTH = 720, HEIGHT = 420, LEFT = 70, TOP = 50, PLOT_W = 600, PLOT_H = 300 };

typedef struct range {
    double low, high; /* base-2 logarithms */
} range;

void bench_picture_add(bench_picture *picture, double x, double time, double bound)
{
    if (picture->count == BENCH_PICTURE_POINTS) return;
    picture->x[picture->count] = x;
    picture->time[picture->count] = time;
    picture->bound[picture->count++] = bound;
}

static void widen(range *r, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        r->low = fmin(r->low, floor(log2(values[i])));
        r->high = fmax(r->high, ceil(log2(values[i])));
    }
    if (r->high <= r->low) r->high = r->low + 1;
}

static double place(const range *r, double value, double begin, double length)
{
    return begin + length * (log2(value) - r->low) / (r->high - r->low);
}

static void draw_grid(FILE *out, const range *x, const range *y)
{
    for (double d = x->low; d <= x->high; d++) {
        double at = place(x, exp2(d), LEFT, PLOT_W);
        fprintf(out,
                "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' class='g'/>"
                "<text x='%.1f' y='%d' text-anchor='middle'>%g</text>\n",
                at, TOP, at, TOP + PLOT_H, at, TOP + PLOT_H + 18, exp2(d));
    }
    for (double d = y->low; d <= y->high; d++) {
        double at = place(y, exp2(d), TOP + PLOT_H, -PLOT_H);
        fprintf(out,
                "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' class='g'/>"
                "<text x='%d' y='%.1f' text-anchor='end'>%g</text>\n",
                LEFT, at, LEFT + PLOT_W, at, LEFT - 6, at + 4, exp2(d));
    }
}

static void draw_curve(FILE *out, const bench_picture *p, const double *values, const range *x,
                       const range *y, const char *name)
{
    fprintf(out, "<polyline class='%s' points='", name);
    for (size_t i = 0; i < p->count; i++)
        fprintf(out, "%.1f,%.1f ", place(x, p->x[i], LEFT, PLOT_W),
                place(y, values[i], TOP + PLOT_H, -PLOT_H));
    fprintf(out, "'/>\n");
}

bool bench_picture_write(const bench_picture *picture, const char *dir)
{
    char path[4096];
    range x = {0, 1}, y = {1e9, -1e9};
    if (!picture->count) return true;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) return false;
    snprintf(path, sizeof path, "%s/%s.svg", dir, picture->title);
    FILE *out = fopen(path, "w");
    if (!out) return false;
    widen(&x, picture->x, picture->count);
    widen(&y, picture->time, picture->count);
    widen(&y, picture->bound, picture->count);
    fprintf(out,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d'>\n"
            "<style>text{font:12px sans-serif}.g{stroke:#ddd}polyline{fill:none;stroke-width:2}"
            ".time{stroke:#c30}.bound{stroke:#06c;stroke-dasharray:5 4}</style>\n"
            "<rect width='100%%' height='100%%' fill='#fff'/>\n",
            WIDTH, HEIGHT);
    draw_grid(out, &x, &y);
    draw_curve(out, picture, picture->bound, &x, &y, "bound");
    draw_curve(out, picture, picture->time, &x, &y, "time");
    fprintf(out,
            "<text x='%d' y='24' font-weight='bold'>%s</text>\n"
            "<text x='%d' y='%d'>microseconds: measured (line), bound by bytes or flops (dashes)"
            "</text>\n<text x='%d' y='%d' text-anchor='middle'>%s</text>\n</svg>\n",
            LEFT, picture->title, LEFT, TOP - 8, LEFT + PLOT_W / 2, TOP + PLOT_H + 40,
            picture->axis);
    return fclose(out) == 0;
}
