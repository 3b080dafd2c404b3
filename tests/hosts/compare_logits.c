/* compare_logits.c - NMSE of two files of float32 logits, row by row.
 * Usage: compare_logits ACTUAL REFERENCE ROWS; prints the worst row's. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads a file of `rows` rows into new memory; NULL with a message if it has another size. */
static float *read_rows(const char *path, long rows, size_t *row_length)
{
    FILE *file = fopen(path, "rb");
    long bytes = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    long unit = rows * (long)sizeof(float);
    bool fits = bytes > 0 && bytes % unit == 0 && fseek(file, 0, SEEK_SET) == 0;
    float *values = fits ? malloc((size_t)bytes) : NULL;
    if (!values || fread(values, 1, (size_t)bytes, file) != (size_t)bytes) {
        fprintf(stderr, "%s: not %ld rows of float32\n", path, rows);
        free(values);
        values = NULL;
    }
    if (file) fclose(file);
    *row_length = fits ? (size_t)(bytes / unit) : 0;
    return values;
}

/* sum (a-b)^2 / sum b^2; infinity if any value is not finite. */
static double nmse(const float *actual, const float *reference, size_t count)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < count; ++i) {
        double d = (double)actual[i] - (double)reference[i];
        if (!isfinite(d)) return INFINITY;
        error += d * d;
        norm += (double)reference[i] * (double)reference[i];
    }
    return norm > 0 ? error / norm : INFINITY;
}

int main(int argc, char **argv)
{
    long rows = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    double worst = 0;
    if (rows <= 0) {
        fprintf(stderr, "usage: %s ACTUAL REFERENCE ROWS\n", argv[0]);
        return 2;
    }
    size_t length = 0, other_length = 0;
    float *actual = read_rows(argv[1], rows, &length);
    float *reference = read_rows(argv[2], rows, &other_length);
    bool ok = actual && reference && length == other_length;
    for (long row = 0; ok && row < rows; ++row) {
        double e = nmse(actual + (size_t)row * length, reference + (size_t)row * length, length);
        worst = e > worst ? e : worst;
    }
    if (ok) printf("%.3g\n", worst);
    free(actual);
    free(reference);
    return ok ? 0 : 1;
}
