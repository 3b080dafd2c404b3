#include "golden_network.h"

#include <math.h>

static double rms_error(const float *y, const float *target, size_t count)
{
    double distance = 0.0, size = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)y[i] - (double)target[i];
        distance += d * d;
        size += (double)target[i] * (double)target[i];
    }
    return sqrt(distance / size);
}

/* @return the distance from the network that was to be approximated. */
static double network(const golden_served *s, const char *member, bool relu)
{
    golden_rows rows;
    size_t dims[2] = {0};
    char what[64];
    const golden_layer *first = &s->layers[0];
    const size_t count = (size_t)first->rows * first->d_out;
    const oclora_adapter_t adapter =
        golden_load(s, member, golden_member_path(s, member), OCLORA_STORE_F32);
    float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
    if (x == NULL || y == NULL) exit(1);
    memcpy(x, first->x, count * sizeof *x); /* the layers are square */
    golden_all_rows(&rows, first->rows, adapter);
    for (size_t m = 0; m < s->n_layers; m++) {
        golden_run(s, &s->layers[m], &rows, x, y);
        for (size_t i = 0; i < count; i++) x[i] = relu && !(y[i] > 0.0f) ? 0.0f : y[i];
    }
    snprintf(what, sizeof what, "%s.Y", member);
    if (!CHECK_LE(golden_error(s, "", what, x), s->golden.tolerance))
        fprintf(stderr, "  %s %s\n", s->golden.folder, what);
    float *target = oclora_golden_floats(&s->golden, "", "Y.target", dims);
    const double error = CHECK(target != NULL) ? rms_error(x, target, count) : INFINITY;
    free(target);
    free(x);
    free(y);
    return error;
}

static void networks(const golden_served *s, bool relu)
{
    const json_t *ranks = json_object_get(s->golden.meta, "ranks");
    const size_t n = json_array_size(ranks);
    double before = INFINITY, last = INFINITY;
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(ranks, i);
        before = last;
        last = network(s, json_string_value(json_object_get(entry, "folder")), relu);
    }
    /* At the threshold rank the target is met, one rank below it is not. */
    CHECK(n >= 2);
    CHECK_LE(last, 1e-4);
    CHECK_LE(100.0 * last, before);
}

void golden_linear_network(const golden_served *s)
{
    networks(s, false);
}
void golden_relu_network(const golden_served *s)
{
    networks(s, true);
}
