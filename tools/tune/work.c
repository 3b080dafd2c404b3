#include "tools/tune/work.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 64, HEADS = 9, KV_HEADS = 3, SAMPLES = 400, GRAPH_STEPS = 128 };

static bool say(const tune_work *w)
{
    fprintf(stderr, "oclora-tune: %s: %s\n", w->job->name, w->device->err.text);
    return false;
}

static float draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

static uint64_t tensor_bytes(const oclora_tensor *t)
{
    return t->nb[3] * t->ne[3];
}

/* Contiguous, behind what was laid out before. */
static oclora_tensor tensor_at(uint64_t *at, oclora_type type, uint64_t ne0, uint64_t ne1,
                               uint64_t ne2)
{
    oclora_tensor t = {.offset = *at, .type = type, .ne = {ne0, ne1, ne2, 1}};
    t.nb[0] = oclora_type_block_bytes(type);
    for (int i = 1; i < 4; i++) t.nb[i] = t.nb[i - 1] * t.ne[i - 1];
    *at += (tensor_bytes(&t) + 63) / 64 * 64;
    return t;
}

/* f32 rows a + b. */
static uint64_t lay_out_rows(tune_work *w)
{
    const bench_shape *s = &w->job->shape;
    uint64_t at = 0;
    w->call.op = OCLORA_OP_ADD;
    w->call.n_src = 2;
    w->call.src[0] = tensor_at(&at, OCLORA_TYPE_F32, s->d_in, s->rows, 1);
    w->call.src[1] = tensor_at(&at, OCLORA_TYPE_F32, s->d_in, s->rows, 1);
    w->call.dst = tensor_at(&at, OCLORA_TYPE_F32, s->d_in, s->rows, 1);
    return at;
}

/* As ggml lays attention out: q [head, rows, heads], k and v [head, keys, kv heads]. */
static uint64_t lay_out_attention(tune_work *w)
{
    const bench_shape *s = &w->job->shape;
    uint64_t at = 0;
    w->call.op = OCLORA_OP_FLASH_ATTN;
    w->call.n_src = 3;
    w->call.params.f[0] = 0.125f;
    w->call.src[0] = tensor_at(&at, OCLORA_TYPE_F32, HEAD, s->rows, HEADS);
    w->call.src[1] = tensor_at(&at, OCLORA_TYPE_F16, HEAD, s->d_in, KV_HEADS);
    w->call.src[2] = tensor_at(&at, OCLORA_TYPE_F16, HEAD, s->d_in, KV_HEADS);
    w->call.dst = tensor_at(&at, OCLORA_TYPE_F32, HEAD, HEADS, s->rows);
    return at;
}

static uint64_t count_of(const oclora_tensor *t)
{
    return t->ne[0] * t->ne[1] * t->ne[2];
}

/* Random sources; `host` gets them as f32, one after the other. */
static bool fill_sources(tune_work *w, uint64_t bytes)
{
    unsigned char *image = calloc(bytes, 1);
    uint64_t total = 0, n = 0;
    uint32_t seed = 9;
    for (uint32_t i = 0; i < w->call.n_src; i++) total += count_of(&w->call.src[i]);
    w->host = malloc(total * sizeof *w->host);
    for (uint32_t i = 0; image && w->host && i < w->call.n_src; i++) {
        const oclora_tensor *t = &w->call.src[i];
        for (uint64_t k = 0; k < count_of(t); k++, n++) {
            const uint16_t half = oclora_float_to_half(draw(&seed));
            w->host[n] = oclora_half_to_float(half);
            if (t->type == OCLORA_TYPE_F16)
                memcpy(image + t->offset + 2 * k, &half, 2);
            else
                memcpy(image + t->offset + 4 * k, &w->host[n], 4);
        }
    }
    const bool ok = image && w->host &&
                    oclora_stream_write(w->device->stream, w->buffer, 0, image, bytes,
                                        &w->device->err) == OCLORA_OK &&
                    oclora_stream_finish(w->device->stream, &w->device->err) == OCLORA_OK;
    free(image);
    return ok;
}

static bool open_op(tune_work *w)
{
    const uint64_t bytes = w->job->kind == TUNE_ATTENTION ? lay_out_attention(w) : lay_out_rows(w);
    if (oclora_buffer_create(&w->buffer, w->device->context, bytes, &w->device->err) != OCLORA_OK)
        return false;
    w->call.dst.buffer = w->buffer;
    for (uint32_t i = 0; i < w->call.n_src; i++) w->call.src[i].buffer = w->buffer;
    return fill_sources(w, bytes);
}

static bool is_layer(const tune_work *w)
{
    return w->job->kind == TUNE_BASE || w->job->kind == TUNE_DELTA;
}

static bool set_value(tune_work *w)
{
    return oclora_context_tune(w->device->context, w->job->param, w->value, &w->device->err) ==
           OCLORA_OK;
}

bool tune_work_open(tune_work *out, bench_device *device, const tune_job *job, uint32_t value)
{
    *out = (tune_work){.job = job, .device = device, .value = value};
    snprintf(device->err.text, sizeof device->err.text, "out of memory");
    bool ok = set_value(out);
    if (ok) ok = is_layer(out) ? bench_layer_open(&out->layer, device, &job->shape) : open_op(out);
    if (ok) return true;
    say(out);
    tune_work_close(out);
    return false;
}

void tune_work_close(tune_work *work)
{
    if (work->device && is_layer(work)) bench_layer_close(&work->layer);
    oclora_buffer_destroy(work->buffer);
    free(work->host);
    memset(work, 0, sizeof *work);
}

/* One graph of many launches. Chains are built at the second. */
static bool run_graph(tune_work *w)
{
    oclora_stream *stream = w->device->stream;
    oclora_error *err = &w->device->err;
    oclora_status status = OCLORA_OK;
    oclora_stream_chain_begin(stream, w->job->shape.rows);
    for (uint32_t i = 0; i < GRAPH_STEPS && status == OCLORA_OK; i++)
        status = oclora_op_run(stream, &w->call, err);
    oclora_status ended = oclora_stream_chain_end(stream, status == OCLORA_OK ? err : NULL);
    return (status == OCLORA_OK && ended == OCLORA_OK) || say(w);
}

static bool run_once(tune_work *w)
{
    if (w->job->kind == TUNE_CHAIN) return run_graph(w);
    return oclora_op_run(w->device->stream, &w->call, &w->device->err) == OCLORA_OK || say(w);
}

bool tune_work_run(void *user, uint32_t repeats)
{
    tune_work *w = user;
    if (!set_value(w)) return say(w);
    if (w->job->kind == TUNE_BASE) return bench_layer_base(&w->layer, repeats);
    if (w->job->kind == TUNE_DELTA) return bench_layer_delta(&w->layer, repeats);
    for (uint32_t i = 0; i < repeats; i++)
        if (!run_once(w)) return false;
    return oclora_stream_finish(w->device->stream, &w->device->err) == OCLORA_OK || say(w);
}

float *tune_work_result(tune_work *w, size_t *count)
{
    const bench_shape *s = &w->job->shape;
    *count = is_layer(w) ? (size_t)s->d_out[0] * s->rows : (size_t)count_of(&w->call.dst);
    float *out = malloc(*count * sizeof *out);
    bool ok = out && (!is_layer(w) || bench_layer_clear(&w->layer)) &&
              tune_work_run(w, w->job->kind == TUNE_CHAIN ? 3 : 1);
    if (ok && is_layer(w))
        ok = bench_layer_read(&w->layer, 0, out);
    else if (ok)
        ok = oclora_stream_read(w->device->stream, w->buffer, w->call.dst.offset, out, *count * 4,
                                &w->device->err) == OCLORA_OK;
    if (ok) return out;
    free(out);
    return NULL;
}

/* ---- double precision ---- */
static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

static double reference_delta(const tune_work *w, size_t row, size_t out)
{
    const bench_shape *s = &w->job->shape;
    uint32_t k = 0;
    while (row >= bench_layer_row(&w->layer, k + 1)) k++;
    const float *a = w->layer.host_a[0] + (size_t)k * s->rank * s->d_in;
    const float *b = w->layer.host_b[0] + (size_t)k * s->rank * s->d_out[0];
    double sum = 0;
    for (uint32_t j = 0; j < s->rank; j++)
        sum += dot(a + (size_t)j * s->d_in, w->layer.host_x + row * s->d_in, s->d_in) *
               b[(size_t)j * s->d_out[0] + out];
    return sum;
}

static double reference_attention(const tune_work *w, size_t at)
{
    const size_t keys = w->job->shape.d_in, rows = w->job->shape.rows;
    const size_t d = at % HEAD, head = at / HEAD % HEADS, row = at / HEAD / HEADS;
    const float *q = w->host + (head * rows + row) * HEAD;
    const float *k =
        w->host + (size_t)HEAD * rows * HEADS + head / (HEADS / KV_HEADS) * keys * HEAD;
    const float *v = k + (size_t)HEAD * keys * KV_HEADS;
    double sum = 0, out = 0;
    for (size_t j = 0; j < keys; j++) {
        const double p = exp(0.125 * dot(q, k + j * HEAD, HEAD)); /* scores are small */
        sum += p;
        out += p * v[j * HEAD + d];
    }
    return out / sum;
}

/* `base`: the dequantised weight. */
static double reference(const tune_work *w, const float *base, size_t at)
{
    const bench_shape *s = &w->job->shape;
    const size_t width = s->d_out[0];
    switch (w->job->kind) {
    case TUNE_BASE:
        return dot(base + at % width * s->d_in, w->layer.host_x + at / width * s->d_in, s->d_in);
    case TUNE_DELTA:
        return reference_delta(w, at / width, at % width);
    case TUNE_ATTENTION:
        return reference_attention(w, at);
    default:
        return (double)w->host[at] + w->host[(size_t)s->d_in * s->rows + at];
    }
}

double tune_work_error(tune_work *w, const float *result, size_t count)
{
    const bench_shape *s = &w->job->shape;
    float *base = NULL;
    double worst = 0, largest = 0;
    if (w->job->kind == TUNE_BASE) {
        base = malloc((size_t)s->d_in * s->d_out[0] * sizeof *base);
        if (!base || oclora_weight_dequantize(w->layer.weight[0], w->device->stream, base,
                                              &w->device->err) != OCLORA_OK) {
            free(base);
            return -1;
        }
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        const size_t at = (i * 7919 + i * i * 104729) % count;
        const double want = reference(w, base, at), off = fabs(want - (double)result[at]);
        if (fabs(want) > largest) largest = fabs(want);
        if (!(off <= worst)) worst = off;
    }
    free(base);
    return largest > 0 && worst == worst ? worst / largest : -1;
}
