/* expressive.h - how well LoRA of a rank turns a frozen network into another (arXiv 2310.17513):
 * the paper's constructions in double, the adapted networks on the device in f32. */
#ifndef OCLORA_EXPRESSIVE_EXPRESSIVE_H
#define OCLORA_EXPRESSIVE_EXPRESSIVE_H

#include "tools/shared/layers.h"

enum { OCLORA_NET_LINEAR = 0, OCLORA_NET_RELU = 1, OCLORA_NET_TRANSFORMER = 2 };

typedef struct oclora_expressive_options {
    uint32_t network; /* OCLORA_NET_* */
    uint32_t width;
    uint32_t depth;
    uint32_t target_depth; /* ReLU only */
    uint32_t rank;         /* 0 = all up to one over the threshold */
    uint32_t seed;
    const char *device;
    const char *svg; /* or NULL */
    bool json;
} oclora_expressive_options;

bool oclora_expressive_options_parse(oclora_expressive_options *out, int argc, char **argv,
                                     int *status);

/* --- dense matrices, row-major, width x width unless said otherwise --- */

typedef struct oclora_dice {
    uint64_t state;
} oclora_dice;
double oclora_dice_normal(oclora_dice *dice);

/* New memory with `count` zeros; NULL when there is none. */
double *oclora_new(size_t count);
void oclora_multiply(double *out, const double *a, const double *b, uint32_t n); /* out = a b */
void oclora_transpose(double *out, const double *a, uint32_t n);
void oclora_apply_matrix(double *y, const double *w, const double *x, uint32_t n); /* y = w x */

/* --- a network of square layers --- */

/* One frozen layer and its adapter: y = (w + b a) x + bias. */
typedef struct oclora_layer {
    char name[64];
    double *w;    /* [n, n] */
    double *a;    /* [rank, n] */
    double *b;    /* [n, rank] */
    double *bias; /* [n] */
} oclora_layer;

typedef struct oclora_network {
    uint32_t n;    /* width */
    uint32_t rank; /* of the adapters made last */
    oclora_layer *layers;
    size_t n_layers;
} oclora_network;

/* Layers with random orthogonal weights; names are set by the caller. */
oclora_status oclora_network_create(oclora_network *out, uint32_t width, size_t n_layers,
                                    oclora_dice *dice, oclora_error *err);
void oclora_network_free(oclora_network *network); /* zeroed is allowed */
/* Sets all adapters to zeros of a rank. */
oclora_status oclora_network_reset(oclora_network *network, uint32_t rank, oclora_error *err);

/* Chooses rank-R updates of `count` layers, applied in order 0 .. count - 1, so that their product
 * comes as near to `target` as any can (Lemma 1 of the paper). `transposed`: the last layer of the
 * two stands transposed in the product, as keys do in K^T Q. `tail` gets sigma_{R count + 1} of
 * target - product, `top` sigma_1; both may be NULL. */
oclora_status oclora_fit_chain(const oclora_network *network, oclora_layer *const *chain,
                               size_t count, bool transposed, const double *target, double *tail,
                               double *top, oclora_error *err);

/* The base weights onto the device, the adapters into its pool as one plain LoRA in f32. */
oclora_status oclora_network_upload(const oclora_network *network, oclora_layers *device,
                                    oclora_error *err);
oclora_status oclora_network_adapter(const oclora_network *network, oclora_layers *device,
                                     oclora_adapter_t *out, oclora_error *err);
/* y [rows, n] of one layer with the adapter on every row. */
oclora_status oclora_network_run(oclora_layers *device, size_t layer, oclora_adapter_t adapter,
                                 uint32_t rows, const float *x, float *y, oclora_error *err);

/* --- experiments --- */

typedef struct oclora_point {
    uint32_t rank;
    double error;  /* relative */
    double theory; /* what the paper says, negative where it says nothing but the threshold */
} oclora_point;

typedef struct oclora_experiment {
    const oclora_expressive_options *options;
    oclora_layers device;
    uint32_t threshold; /* the least rank at which the error is zero in exact arithmetic */
    oclora_point *points;
    size_t n_points;
} oclora_experiment;

/* Sets the threshold, then fills one point for each rank. Same errors as the calls above. */
oclora_status oclora_run_linear(oclora_experiment *e, oclora_error *err);
oclora_status oclora_run_relu(oclora_experiment *e, oclora_error *err);
oclora_status oclora_run_transformer(oclora_experiment *e, oclora_error *err);

/* Makes room for the points: their ranks are set, errors are not. */
oclora_status oclora_plan_ranks(oclora_experiment *e, oclora_error *err);

/* relative root mean square of y - target over `count` values */
double oclora_relative_error(const float *y, const double *target, size_t count);

/* Prints the points. @return whether they are as the paper says. */
bool oclora_expressive_report(const oclora_experiment *e);
oclora_status oclora_expressive_plot(const oclora_experiment *e, oclora_error *err);

#endif
