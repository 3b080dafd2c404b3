/* chain.c - the paper's update of a chain of linear layers. */
#include "tools/expressive/expressive.h"
#include "tools/shared/svd.h"

#include <stdlib.h>
#include <string.h>

typedef struct workspace {
    double *error; /* E = target - product, then destroyed by its decomposition */
    double *kept;  /* E */
    double *u;
    double *s;
    double *vt;
    double *before; /* product of the adapted layers before */
    double *after;  /* product of the frozen layers behind */
    double *layer;  /* the frozen layer as it stands in the product */
    double *spare;
} workspace;

enum { PARTS = 9 };

static double **part(workspace *w, size_t i)
{
    double **all[PARTS] = {&w->error,  &w->kept,  &w->u,     &w->s,    &w->vt,
                           &w->before, &w->after, &w->layer, &w->spare};
    return all[i];
}

static bool allocate(workspace *w, uint32_t n)
{
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < PARTS; i++) {
        *part(w, i) = oclora_new((size_t)n * n);
        if (*part(w, i) == NULL) return false;
    }
    return true;
}

static void release(workspace *w)
{
    for (size_t i = 0; i < PARTS; i++) free(*part(w, i));
}

static void identity(double *out, uint32_t n)
{
    for (size_t i = 0; i < (size_t)n * n; i++) out[i] = i % (n + 1) == 0 ? 1.0 : 0.0;
}

static void stand(double *out, const oclora_layer *layer, bool transposed, uint32_t n)
{
    if (transposed)
        oclora_transpose(out, layer->w, n);
    else
        memcpy(out, layer->w, (size_t)n * n * sizeof *out);
}

/* out = product of layers first .. count - 1 */
static void product(double *out, oclora_layer *const *chain, size_t first, size_t count,
                    bool transposed, workspace *w, uint32_t n)
{
    identity(out, n);
    for (size_t l = first; l < count; l++) {
        stand(w->layer, chain[l], transposed && l + 1 == count, n);
        oclora_multiply(w->spare, w->layer, out, n);
        memcpy(out, w->spare, (size_t)n * n * sizeof *out);
    }
}

/* Directions [first, first + rank) of E go to this layer: b = after^-1 E v, a = v^T before^-1.
 * Directions there are not leave zeros. */
static void choose(double *a, double *b, const workspace *w, uint32_t first, uint32_t rank,
                   uint32_t n)
{
    for (uint32_t r = 0; r < rank && first + r < n; r++) {
        const double *v = w->vt + (size_t)(first + r) * n;
        for (size_t i = 0; i < n; i++) {
            double sum = 0.0; /* after is inverted here, and spare is after^-1 E */
            for (size_t j = 0; j < n; j++) sum += w->spare[i * n + j] * v[j];
            b[i * rank + r] = sum;
            sum = 0.0;
            for (size_t j = 0; j < n; j++) sum += v[j] * w->layer[j * n + i];
            a[(size_t)r * n + i] = sum;
        }
    }
}

/* before := (layer + b a) before */
static void advance(workspace *w, const double *frozen, const double *a, const double *b,
                    uint32_t rank, uint32_t n)
{
    double *adapted = w->layer;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = frozen[i * n + j];
            for (size_t r = 0; r < rank; r++) sum += b[i * rank + r] * a[r * n + j];
            adapted[i * n + j] = sum;
        }
    oclora_multiply(w->spare, adapted, w->before, n);
    memcpy(w->before, w->spare, (size_t)n * n * sizeof *w->before);
}

/* (b a)^T = a^T b^T */
static void flip(oclora_layer *layer, uint32_t rank, uint32_t n)
{
    for (size_t r = 0; r < rank; r++)
        for (size_t i = 0; i < n; i++) {
            const double kept = layer->a[r * n + i];
            layer->a[r * n + i] = layer->b[i * rank + r];
            layer->b[i * rank + r] = kept;
        }
}

static oclora_status fit_layer(workspace *w, oclora_layer *const *chain, size_t l, size_t count,
                               bool transposed, uint32_t rank, uint32_t n, oclora_error *err)
{
    const bool flipped = transposed && l + 1 == count;
    const size_t bytes = (size_t)n * n * sizeof(double);
    double *frozen = oclora_new((size_t)n * n);
    if (frozen == NULL) return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory to fit");
    product(w->after, chain, l + 1, count, transposed, w, n);
    oclora_status status = oclora_invert(w->after, n, err);
    memcpy(w->layer, w->before, bytes);
    if (status == OCLORA_OK) status = oclora_invert(w->layer, n, err);
    if (status == OCLORA_OK) {
        oclora_multiply(w->spare, w->after, w->kept, n);
        choose(chain[l]->a, chain[l]->b, w, (uint32_t)l * rank, rank, n);
        stand(frozen, chain[l], flipped, n);
        advance(w, frozen, chain[l]->a, chain[l]->b, rank, n);
        if (flipped) flip(chain[l], rank, n);
    }
    free(frozen);
    return status;
}

oclora_status oclora_fit_chain(const oclora_network *network, oclora_layer *const *chain,
                               size_t count, bool transposed, const double *target, double *tail,
                               double *top, oclora_error *err)
{
    const uint32_t n = network->n;
    const size_t square = (size_t)n * n, used = (size_t)network->rank * count;
    workspace w;
    oclora_status status = OCLORA_OK;
    if (!allocate(&w, n))
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory to fit a chain");
    if (status == OCLORA_OK) {
        product(w.kept, chain, 0, count, transposed, &w, n);
        for (size_t i = 0; i < square; i++) w.kept[i] = target[i] - w.kept[i];
        memcpy(w.error, w.kept, square * sizeof *w.error);
        status = oclora_svd(w.error, n, n, w.u, w.s, w.vt, err);
        identity(w.before, n);
    }
    for (size_t l = 0; l < count && status == OCLORA_OK; l++)
        status = fit_layer(&w, chain, l, count, transposed, network->rank, n, err);
    if (status == OCLORA_OK && tail != NULL) *tail = used < n ? w.s[used] : 0.0;
    if (status == OCLORA_OK && top != NULL) *top = w.s[0];
    release(&w);
    return status;
}
