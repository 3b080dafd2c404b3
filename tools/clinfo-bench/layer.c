#include "tools/clinfo-bench/layer.h"

#include "host/base/layout.h"

#include <stdlib.h>
#include <string.h>

static oclora_status make_base(bench_layer *l, oclora_error *err)
{
    selftest *t = l->t;
    const bench_layer_plan *p = &l->plan;
    const case_source w = {p->type, {p->d_in, p->d_out, 1, 1}, FILL_UNIFORM, 0};
    const case_source x = {OCLORA_TYPE_F32, {p->d_in, p->rows, 1, 1}, FILL_UNIFORM, 0};
    const uint64_t ne[4] = {p->d_out, p->rows, 1, 1};
    OCLORA_TRY(bench_make_source(t, &w, false, &l->w, err));
    OCLORA_TRY(bench_make_source(t, &x, false, &l->x, err));
    OCLORA_TRY(bench_make_output(t, OCLORA_TYPE_F32, ne, &l->y, err));
    OCLORA_TRY(oclora_base_create(&l->base, t->context, err));
    OCLORA_TRY(oclora_base_add(l->base, "bench.weight", p->type, p->d_in, p->d_out,
                               l->w.view.buffer, l->w.view.offset, &l->weight, err));
    /* The bytes are there in plain order; writing them through the weight packs them. */
    uint64_t bytes = l->weight->bytes;
    unsigned char *plain = malloc(bytes);
    if (!plain) return oclora_fail_memory(err, bytes, "a weight");
    oclora_status status =
        oclora_stream_read(t->stream, l->w.view.buffer, l->w.view.offset, plain, bytes, err);
    if (!status) status = oclora_weight_write(l->weight, t->stream, 0, plain, bytes, err);
    free(plain);
    return status;
}

static uint64_t row_bytes(oclora_type type, uint32_t n)
{
    return type == OCLORA_TYPE_F32    ? n * 4u
           : type == OCLORA_TYPE_Q8_0 ? (n + 31) / 32 * 34u
                                      : n * 2u;
}

/* One factor [rows][n] of random values near 1 / 8 as `type`; `values` gets what is stored. */
static void put_factor(selftest *t, oclora_type type, uint32_t rows, uint32_t n,
                       unsigned char *bytes, float *values)
{
    uint64_t stride = row_bytes(type, n);
    for (uint32_t r = 0; r < rows; r++) {
        unsigned char *row = bytes + r * stride;
        uint16_t d = oclora_float_to_half(0.002f);
        for (uint32_t i = 0; i < n; i++) {
            float value = bench_random(t) * 0.25f;
            uint32_t bits;
            memcpy(&bits, &value, 4);
            uint16_t half = oclora_float_to_half(value), top = (uint16_t)(bits >> 16);
            float *to = &values[(size_t)r * n + i];
            if (type == OCLORA_TYPE_Q8_0) {
                unsigned char *block = row + i / 32 * 34;
                int q = (int)(value * 500);
                memcpy(block, &d, 2);
                block[2 + i % 32] = (unsigned char)q;
                *to = (float)q * oclora_half_to_float(d);
                continue;
            }
            unsigned char *at = row + (size_t)i * (type ? 2 : 4);
            if (type == OCLORA_TYPE_F16)
                memcpy(at, &half, 2);
            else if (type == OCLORA_TYPE_BF16)
                memcpy(at, &top, 2);
            else
                memcpy(at, &value, 4);
            oclora_dequantize_row(type, at, to, 1, NULL);
        }
    }
}

uint32_t bench_layer_group(const bench_layer_plan *plan, uint32_t k)
{
    return plan->scaled && !k ? 2 : 1;
}

uint32_t bench_layer_experts(const bench_layer_plan *plan)
{
    return plan->paired ? plan->ranks[2] : (uint32_t)BENCH_LAYER_EXPERTS;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static oclora_status make_adapter(bench_layer *l, uint32_t k, unsigned char *bytes, uint64_t *used,
                                  oclora_lane *lane, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    uint32_t rank = p->ranks[k], group = bench_layer_group(p, k);
    l->a[k] = calloc((size_t)rank * p->d_in, sizeof(float));
    l->b[k] = calloc((size_t)rank * p->d_out, sizeof(float));
    l->scale[k] = calloc(rank, sizeof(float));
    if (!l->a[k] || !l->b[k] || !l->scale[k])
        return oclora_fail_memory(err, (size_t)rank * p->d_in * 4, "an adapter");
    lane->a = *used;
    put_factor(l->t, p->factor, rank, p->d_in / group, bytes + lane->a, l->a[k]);
    lane->b = aligned(lane->a + rank * row_bytes(p->factor, p->d_in / group));
    put_factor(l->t, p->factor, rank, p->d_out, bytes + lane->b, l->b[k]);
    lane->scale = aligned(lane->b + rank * row_bytes(p->factor, p->d_out));
    for (uint32_t j = 0; j < rank; j++) l->scale[k][j] = 1.0f + 0.25f * bench_random(l->t);
    memcpy(bytes + lane->scale, l->scale[k], rank * sizeof(float));
    *used = aligned(lane->scale + rank * 4u);
    lane->rank = rank;
    lane->group = group;
    lane->type_a = lane->type_b = p->factor;
    return OCLORA_OK;
}

/* `n` random floats near `center`; also into the pool's bytes. */
static oclora_status put_vector(bench_layer *l, uint32_t n, float center, unsigned char *bytes,
                                uint64_t *used, uint64_t *at, float **values, oclora_error *err)
{
    *values = calloc(n, sizeof(float));
    if (!*values) return oclora_fail_memory(err, n * sizeof(float), "an adapter");
    for (uint32_t i = 0; i < n; i++) (*values)[i] = center + 0.25f * bench_random(l->t);
    *at = *used;
    memcpy(bytes + *at, *values, n * sizeof(float));
    *used = aligned(*at + n * sizeof(float));
    return OCLORA_OK;
}

/* What adapters 0, 1 and 2 have beyond factors. */
static oclora_status make_scaled(bench_layer *l, oclora_lane *lane, unsigned char *bytes,
                                 uint64_t *used, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    const uint32_t rank = p->ranks[0];
    OCLORA_TRY(put_vector(l, rank * rank, 0.5f, bytes, used, &lane->core, &l->core, err));
    OCLORA_TRY(put_vector(l, p->d_out, 1.0f, bytes, used, &lane->u, &l->u, err));
    OCLORA_TRY(put_vector(l, p->d_out, 1.0f, bytes, used, &lane->beta, &l->beta, err));
    return put_vector(l, p->d_out, 0, bytes, used, &lane->c, &l->c, err);
}

static oclora_status make_router(bench_layer *l, oclora_lane *lane, unsigned char *bytes,
                                 uint64_t *used, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    const uint32_t n = bench_layer_experts(p), kind = p->paired ? 2 : 1;
    lane->router = kind | BENCH_LAYER_TOP_K << 8 | n << 16;
    lane->temperature = 0.5f;
    lane->type_gate = OCLORA_TYPE_F32;
    OCLORA_TRY(put_vector(l, n * p->d_in, 0, bytes, used, &lane->gate, &l->gate, err));
    if (!p->paired) return OCLORA_OK;
    OCLORA_TRY(put_vector(l, n * p->d_in, 0, bytes, used, &lane->gate_b, &l->gate_b, err));
    return put_vector(l, BENCH_LAYER_TOP_K * n * n, 0, bytes, used, &lane->pairs, &l->pair_table,
                      err);
}

static oclora_status make_extras(bench_layer *l, oclora_lane *lanes, unsigned char *bytes,
                                 uint64_t *used, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    if (p->scaled) OCLORA_TRY(make_scaled(l, &lanes[0], bytes, used, err));
    if (p->multiply) {
        lanes[1] = (oclora_lane){.n_mul = BENCH_LAYER_PAIRS, .group = 1}; /* no factors then */
        OCLORA_TRY(put_vector(l, BENCH_LAYER_PAIRS * p->d_out, 0.5f, bytes, used, &lanes[1].mul_u,
                              &l->mul_u, err));
        OCLORA_TRY(put_vector(l, BENCH_LAYER_PAIRS * p->d_in, 1.0f, bytes, used, &lanes[1].mul_v,
                              &l->mul_v, err));
    }
    if (!p->routed && !p->paired) return OCLORA_OK;
    return make_router(l, &lanes[2], bytes, used, err);
}

/* What make_extras needs, at most. */
static uint64_t extra_bytes(const bench_layer_plan *p)
{
    const uint64_t n = bench_layer_experts(p), rank = p->ranks[0];
    uint64_t floats = 0;
    if (p->scaled) floats += rank * rank + 3 * (uint64_t)p->d_out;
    if (p->multiply) floats += BENCH_LAYER_PAIRS * ((uint64_t)p->d_in + p->d_out);
    if (p->routed || p->paired) floats += 2 * n * p->d_in + BENCH_LAYER_TOP_K * n * n;
    return floats * 4 + 16 * 64;
}

static oclora_status make_pool(bench_layer *l, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    oclora_lane lanes[BENCH_LAYER_MOST_ADAPTERS];
    uint64_t bytes = 64, used = 64; /* offset 0 means absent */
    memset(lanes, 0, sizeof lanes);
    for (uint32_t k = 0; k < p->n_adapters; k++)
        bytes +=
            p->ranks[k] * (row_bytes(p->factor, p->d_in) + row_bytes(p->factor, p->d_out) + 4) +
            256;
    bytes += extra_bytes(p);
    unsigned char *data = calloc(bytes, 1);
    if (!data) return oclora_fail_memory(err, bytes, "adapters");
    oclora_status status = OCLORA_OK;
    for (uint32_t k = 0; k < p->n_adapters && !status; k++)
        status = make_adapter(l, k, data, &used, &lanes[k], err);
    if (!status) status = make_extras(l, lanes, data, &used, err);
    l->factor_bytes = used;
    if (!status) status = oclora_buffer_create(&l->pool, l->t->context, bytes, err);
    if (!status) status = oclora_stream_write(l->t->stream, l->pool, 0, data, bytes, err);
    if (!status)
        status = oclora_lane_table_create_from(&l->lanes, l->t->stream, l->pool, lanes, 1,
                                               p->n_adapters, err);
    free(data);
    return status;
}

static oclora_status make_batch(bench_layer *l, oclora_error *err)
{
    const bench_layer_plan *p = &l->plan;
    l->row_start = calloc(p->rows + 1, sizeof *l->row_start);
    l->adapter = calloc((size_t)p->rows * 2, sizeof *l->adapter);
    l->weights = calloc((size_t)p->rows * 2, sizeof *l->weights);
    l->instance = calloc(p->rows, sizeof *l->instance);
    if (!l->row_start || !l->adapter || !l->weights || !l->instance)
        return oclora_fail_memory(err, 0, "a batch");
    uint32_t n = 0;
    for (uint32_t r = 0; r < p->rows; r++) {
        l->instance[r] = r % 2;
        uint32_t entries = p->mixed ? r % 5 == 4 ? 0 : r % 5 == 3 ? 2 : 1 : 1;
        for (uint32_t e = 0; e < entries; e++, n++) {
            l->adapter[n] = (r + e) % p->n_adapters;
            l->weights[n] = p->mixed ? 0.5f + 0.25f * (float)e : 1.0f;
        }
        l->row_start[r + 1] = n;
    }
    const oclora_batch batch = {p->rows,    p->n_adapters, l->row_start,
                                l->adapter, l->weights,    p->paired ? l->instance : NULL};
    oclora_worklist list = {0};
    OCLORA_TRY(oclora_worklist_build(&list, &l->t->child->env, &batch, 8, err));
    oclora_status status = oclora_row_work_create(&l->work, l->t->stream, err);
    if (!status) status = oclora_row_work_update(l->work, &list, err);
    oclora_worklist_free(&list);
    return status;
}

oclora_status bench_layer_create(bench_layer *l, selftest *t, const bench_layer_plan *plan,
                                 oclora_error *err)
{
    l->t = t;
    l->plan = *plan;
    const case_source bias = {OCLORA_TYPE_F32, {plan->d_out, 1, 1, 1}, FILL_UNIFORM, 0};
    OCLORA_TRY(make_base(l, err));
    if (plan->bias) OCLORA_TRY(bench_make_source(t, &bias, false, &l->bias, err));
    if (!plan->n_adapters) return OCLORA_OK;
    OCLORA_TRY(make_pool(l, err));
    return make_batch(l, err);
}

oclora_status bench_layer_run(bench_layer *l, uint32_t flags, oclora_error *err)
{
    return oclora_linear(l->t->stream, l->weight, &l->x.view, l->bias.count ? &l->bias.view : NULL,
                         &l->y.view, l->lanes, l->work, flags, err);
}

void bench_layer_destroy(bench_layer *l)
{
    oclora_row_work_destroy(l->work);
    oclora_lane_table_destroy(l->lanes);
    oclora_base_destroy(l->base);
    oclora_buffer_destroy(l->pool);
    bench_free_tensor(&l->w);
    bench_free_tensor(&l->x);
    bench_free_tensor(&l->y);
    bench_free_tensor(&l->bias);
    for (uint32_t k = 0; k < BENCH_LAYER_MOST_ADAPTERS; k++) {
        free(l->a[k]);
        free(l->b[k]);
        free(l->scale[k]);
    }
    free(l->mul_u);
    free(l->mul_v);
    float *const vectors[] = {l->gate, l->gate_b, l->pair_table, l->core, l->u, l->beta, l->c};
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) free(vectors[i]);
    free(l->instance);
    free(l->row_start);
    free(l->adapter);
    free(l->weights);
    memset(l, 0, sizeof *l);
}
