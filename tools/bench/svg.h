/* svg.h - one curve and its bound as a picture, both axes logarithmic. */
#ifndef OCLORA_BENCH_SVG_H
#define OCLORA_BENCH_SVG_H

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_PICTURE_POINTS = 32 };

typedef struct bench_picture {
    const char *title; /* also the file's name */
    const char *axis;
    size_t count;
    double x[BENCH_PICTURE_POINTS], time[BENCH_PICTURE_POINTS], bound[BENCH_PICTURE_POINTS];
} bench_picture;

void bench_picture_add(bench_picture *picture, double x, double time, double bound);
/* DIR/TITLE.svg; the folder is made. */
bool bench_picture_write(const bench_picture *picture, const char *dir);

#endif
