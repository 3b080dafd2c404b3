/* builder.h - makes graphs as llama.cpp builds them, in the engine's terms, for the tests of
 * graph/. */
#ifndef OCLORA_TESTS_GRAPH_BUILDER_H
#define OCLORA_TESTS_GRAPH_BUILDER_H

#include "host/graph/graph.h"

#include <stdlib.h>
#include <string.h>

enum { BUILDER_TENSORS = 512, BUILDER_NODES = 512 };

typedef struct builder {
    oclora_graph_tensor tensors[BUILDER_TENSORS];
    oclora_node nodes[BUILDER_NODES];
    oclora_graph graph;
    oclora_buffer *buffer; /* where everything lies; may be NULL */
    uint64_t next;         /* first free byte */
} builder;

static inline builder *builder_new(void)
{
    builder *b = calloc(1, sizeof *b);
    if (b == NULL) abort();
    b->graph.tensors = b->tensors;
    b->graph.nodes = b->nodes;
    return b;
}

static inline void builder_strides(oclora_tensor *t)
{
    uint64_t stride = oclora_type_block_bytes(t->type);
    for (unsigned d = 0; d < 4; d++) {
        t->nb[d] = stride;
        stride *= d == 0 ? t->ne[0] / oclora_type_block(t->type) : t->ne[d];
    }
}

static inline int32_t builder_leaf(builder *b, oclora_type type, uint64_t n0, uint64_t n1,
                                   uint64_t n2, uint64_t n3)
{
    int32_t number = (int32_t)b->graph.n_tensors++;
    oclora_graph_tensor *t = &b->tensors[number];
    oclora_tensor view = {b->buffer, b->next, type, 0, {n0, n1, n2, n3}, {0, 0, 0, 0}};
    builder_strides(&view);
    t->view = view;
    t->root = number;
    t->producer = -1;
    b->next += (view.nb[3] * n3 + 127u) & ~(uint64_t)127u;
    return number;
}

static inline int32_t builder_weight(builder *b, const oclora_weight *w)
{
    int32_t number = builder_leaf(b, w->type, w->d_in, w->d_out, 1, 1);
    b->tensors[number].view.buffer = w->buffer;
    b->tensors[number].view.offset = w->offset;
    b->tensors[number].weight = w;
    b->tensors[number].flags = OCLORA_TENSOR_WEIGHT;
    return number;
}

static inline oclora_node *builder_node(builder *b, uint32_t op, int32_t dst, int32_t s0,
                                        int32_t s1)
{
    oclora_node *node = &b->nodes[b->graph.n_nodes];
    node->op = op;
    node->dst = dst;
    for (unsigned s = 0; s < OCLORA_NODE_SOURCES; s++) node->src[s] = -1;
    node->src[0] = s0;
    node->src[1] = s1;
    b->tensors[dst].producer = (int32_t)b->graph.n_nodes++;
    return node;
}

static inline int32_t builder_op(builder *b, uint32_t op, int32_t s0, int32_t s1, uint64_t n0,
                                 uint64_t n1, uint64_t n2, uint64_t n3)
{
    int32_t dst = builder_leaf(b, OCLORA_TYPE_F32, n0, n1, n2, n3);
    builder_node(b, op, dst, s0, s1);
    return dst;
}

/* An operator whose output has the shape of its first input. */
static inline int32_t builder_same(builder *b, uint32_t op, int32_t s0, int32_t s1)
{
    const uint64_t *ne = b->tensors[s0].view.ne;
    return builder_op(b, op, s0, s1, ne[0], ne[1], ne[2], ne[3]);
}

static inline int32_t builder_view(builder *b, int32_t of, const uint64_t ne[4],
                                   const uint64_t nb[4], uint64_t offset)
{
    int32_t number = (int32_t)b->graph.n_tensors++;
    oclora_graph_tensor *t = &b->tensors[number];
    *t = b->tensors[of];
    t->weight = NULL;
    memcpy(t->view.ne, ne, sizeof t->view.ne);
    memcpy(t->view.nb, nb, sizeof t->view.nb);
    t->view.offset += offset;
    t->root = b->tensors[of].root;
    builder_node(b, OCLORA_OP_NONE, number, of, -1);
    return number;
}

static inline int32_t builder_reshape(builder *b, int32_t of, uint64_t n0, uint64_t n1, uint64_t n2,
                                      uint64_t n3)
{
    oclora_tensor shape = {0};
    shape.type = b->tensors[of].view.type;
    shape.ne[0] = n0;
    shape.ne[1] = n1;
    shape.ne[2] = n2;
    shape.ne[3] = n3;
    builder_strides(&shape);
    return builder_view(b, of, shape.ne, shape.nb, 0);
}

/* Dimension d of the source becomes dimension to[d]. */
static inline int32_t builder_permute(builder *b, int32_t of, unsigned t0, unsigned t1, unsigned t2,
                                      unsigned t3)
{
    const unsigned to[4] = {t0, t1, t2, t3};
    uint64_t ne[4];
    uint64_t nb[4];
    for (unsigned d = 0; d < 4; d++) {
        ne[to[d]] = b->tensors[of].view.ne[d];
        nb[to[d]] = b->tensors[of].view.nb[d];
    }
    return builder_view(b, of, ne, nb, 0);
}

static inline int32_t builder_mul_mat(builder *b, int32_t a, int32_t x)
{
    const uint64_t *ne = b->tensors[x].view.ne;
    return builder_op(b, OCLORA_OP_MUL_MAT, a, x, b->tensors[a].view.ne[1], ne[1], ne[2], ne[3]);
}

/* Writes rows into a cache at the indices, as the host does: the node is a view of the cache. */
static inline int32_t builder_set_rows(builder *b, int32_t cache, int32_t rows, int32_t index)
{
    int32_t number = (int32_t)b->graph.n_tensors++;
    b->tensors[number] = b->tensors[cache];
    b->tensors[number].root = b->tensors[cache].root;
    builder_node(b, OCLORA_OP_SET_ROWS, number, rows, index);
    return number;
}

/* A model of the llama family, small. */
typedef struct builder_model {
    uint64_t width, heads, kv_heads, head, ffn, vocab;
    uint64_t tokens, outputs, cells, streams, batch_streams, n_kv;
    uint64_t first_stream; /* of the batch's streams, which follow each other */
    bool flash;
    bool rotated; /* K through a rotation of half heads, as with a quantised cache */
    /* weights of one layer and the head; NULL = plain leaves */
    const oclora_weight *q, *k, *v, *o, *gate, *up, *down, *output;
    uint32_t layers;
} builder_model;

typedef struct builder_llama {
    int32_t embd, positions, k_index, v_index, mask, ids;
    int32_t k_cache[4], v_cache[4];
    int32_t attn_in[4], q[4], o_in[4], ffn_in[4], down_in[4];
    int32_t head_in, logits;
    int32_t norm[4], ffn_norm[4], out_norm;
} builder_llama;

static inline int32_t builder_matrix(builder *b, const oclora_weight *w, uint64_t in, uint64_t out)
{
    return w != NULL ? builder_weight(b, w) : builder_leaf(b, OCLORA_TYPE_F32, in, out, 1, 1);
}

static inline int32_t builder_norm(builder *b, int32_t x, int32_t weight)
{
    int32_t n = builder_same(b, OCLORA_OP_RMS_NORM, x, -1);
    b->nodes[b->graph.n_nodes - 1].params.f[0] = 1e-5f;
    return builder_same(b, OCLORA_OP_MUL, n, weight);
}

static inline int32_t builder_rope(builder *b, int32_t x, int32_t positions, uint64_t head)
{
    int32_t y = builder_same(b, OCLORA_OP_ROPE, x, positions);
    oclora_node_params *p = &b->nodes[b->graph.n_nodes - 1].params;
    p->i[0] = (int32_t)head;
    p->i[1] = 2048;
    p->f[0] = 10000.0f;
    p->f[1] = 1.0f;
    p->f[3] = 1.0f;
    p->f[4] = 32.0f;
    p->f[5] = 1.0f;
    return y;
}

static inline int32_t builder_heads(builder *b, int32_t x, uint64_t head, uint64_t heads,
                                    uint64_t tokens)
{
    return builder_reshape(b, x, head, heads, tokens, 1);
}

/* The cache rows of the batch's streams as [head, kv_heads, n_kv, streams]. */
static inline int32_t builder_cache_view(builder *b, const builder_model *m, int32_t cache)
{
    uint64_t row = m->head * m->kv_heads;
    const uint64_t ne[4] = {m->head, m->kv_heads, m->n_kv, m->batch_streams};
    uint64_t e = b->tensors[cache].view.nb[0];
    const uint64_t nb[4] = {e, m->head * e, row * e, row * m->cells * e};
    return builder_view(b, cache, ne, nb, nb[3] * m->first_stream);
}

static inline int32_t builder_attention(builder *b, const builder_model *m, builder_llama *out,
                                        int32_t q, uint32_t layer)
{
    uint64_t per = m->tokens / m->batch_streams;
    const uint64_t *nb = b->tensors[q].view.nb;
    const uint64_t ne4[4] = {m->head, m->heads, per, m->batch_streams};
    const uint64_t nb4[4] = {nb[0], nb[1], nb[2], nb[2] * per};
    int32_t split = builder_view(b, q, ne4, nb4, 0);
    int32_t qp = builder_permute(b, split, 0, 2, 1, 3);
    int32_t k = builder_permute(b, builder_cache_view(b, m, out->k_cache[layer]), 0, 2, 1, 3);
    float scale = 0.25f;
    if (m->flash) {
        int32_t v = builder_permute(b, builder_cache_view(b, m, out->v_cache[layer]), 0, 2, 1, 3);
        int32_t y =
            builder_op(b, OCLORA_OP_FLASH_ATTN, qp, k, m->head, m->heads, per, m->batch_streams);
        oclora_node *node = &b->nodes[b->graph.n_nodes - 1];
        node->src[2] = v;
        node->src[3] = out->mask;
        node->params.f[0] = scale;
        return builder_reshape(b, y, m->head * m->heads, m->tokens, 1, 1);
    }
    uint64_t e = b->tensors[out->v_cache[layer]].view.nb[0];
    const uint64_t nev[4] = {m->n_kv, m->kv_heads, m->head, m->batch_streams};
    const uint64_t nbv[4] = {e, m->cells * m->head * e, m->cells * e,
                             m->cells * m->head * m->kv_heads * e};
    int32_t v = builder_view(b, out->v_cache[layer], nev, nbv, nbv[3] * m->first_stream);
    v = builder_permute(b, v, 0, 2, 1, 3);
    int32_t kq = builder_mul_mat(b, k, qp);
    int32_t soft = builder_same(b, OCLORA_OP_SOFT_MAX, kq, out->mask);
    b->nodes[b->graph.n_nodes - 1].params.f[0] = scale;
    int32_t kqv = builder_mul_mat(b, v, soft);
    int32_t back = builder_permute(b, kqv, 0, 2, 1, 3);
    return builder_op(b, OCLORA_OP_COPY, back, -1, m->head * m->heads, m->tokens, 1, 1);
}

static inline void builder_store(builder *b, const builder_model *m, builder_llama *out, int32_t k,
                                 int32_t v, uint32_t layer)
{
    uint64_t row = m->head * m->kv_heads;
    const uint64_t ne[4] = {row, m->tokens, 1, 1};
    const uint64_t *nb = b->tensors[k].view.nb;
    const uint64_t nbk[4] = {nb[0], nb[2], nb[2] * m->tokens, nb[2] * m->tokens};
    int32_t rows = builder_view(b, k, ne, nbk, 0);
    int32_t cache = out->k_cache[layer];
    if (m->streams > 1) cache = builder_reshape(b, cache, row, m->cells * m->streams, 1, 1);
    builder_set_rows(b, cache, rows, out->k_index);
    if (m->flash) {
        int32_t vrows = builder_view(b, v, ne, nbk, 0);
        int32_t vcache = out->v_cache[layer];
        if (m->streams > 1) vcache = builder_reshape(b, vcache, row, m->cells * m->streams, 1, 1);
        builder_set_rows(b, vcache, vrows, out->v_index);
    } else {
        int32_t flat =
            builder_reshape(b, out->v_cache[layer], 1, row * m->cells * m->streams, 1, 1);
        int32_t values = builder_reshape(b, v, 1, row * m->tokens, 1, 1);
        builder_set_rows(b, flat, values, out->v_index);
    }
}

static inline int32_t builder_layer(builder *b, const builder_model *m, builder_llama *out,
                                    int32_t x, uint32_t layer)
{
    uint64_t kv = m->head * m->kv_heads;
    out->norm[layer] = builder_leaf(b, OCLORA_TYPE_F32, m->width, 1, 1, 1);
    int32_t n = builder_norm(b, x, out->norm[layer]);
    out->attn_in[layer] = n;
    int32_t q = builder_mul_mat(b, builder_matrix(b, m->q, m->width, m->head * m->heads), n);
    int32_t k = builder_mul_mat(b, builder_matrix(b, m->k, m->width, kv), n);
    int32_t v = builder_mul_mat(b, builder_matrix(b, m->v, m->width, kv), n);
    q = builder_heads(b, q, m->head, m->heads, m->tokens);
    k = builder_heads(b, k, m->head, m->kv_heads, m->tokens);
    v = builder_heads(b, v, m->head, m->kv_heads, m->tokens);
    q = builder_rope(b, q, out->positions, m->head);
    k = builder_rope(b, k, out->positions, m->head);
    if (m->rotated) {
        uint64_t half = m->head / 2;
        int32_t rotation = builder_leaf(b, OCLORA_TYPE_F32, half, half, 1, 1);
        int32_t flat = builder_reshape(b, k, half, 2 * m->kv_heads * m->tokens, 1, 1);
        k = builder_reshape(b, builder_mul_mat(b, rotation, flat), m->head, m->kv_heads, m->tokens,
                            1);
    }
    out->q[layer] = q;
    builder_store(b, m, out, k, v, layer);
    int32_t attended = builder_attention(b, m, out, q, layer);
    out->o_in[layer] = attended;
    int32_t y = builder_mul_mat(b, builder_matrix(b, m->o, m->head * m->heads, m->width), attended);
    uint64_t rows = m->tokens;
    if (layer + 1 == m->layers) {
        rows = m->outputs;
        y = builder_op(b, OCLORA_OP_GET_ROWS, y, out->ids, m->width, rows, 1, 1);
        x = builder_op(b, OCLORA_OP_GET_ROWS, x, out->ids, m->width, rows, 1, 1);
    }
    int32_t sum = builder_same(b, OCLORA_OP_ADD, y, x);
    out->ffn_norm[layer] = builder_leaf(b, OCLORA_TYPE_F32, m->width, 1, 1, 1);
    n = builder_norm(b, sum, out->ffn_norm[layer]);
    out->ffn_in[layer] = n;
    int32_t up = builder_mul_mat(b, builder_matrix(b, m->up, m->width, m->ffn), n);
    int32_t gate = builder_mul_mat(b, builder_matrix(b, m->gate, m->width, m->ffn), n);
    int32_t act = builder_op(b, OCLORA_OP_GLU, gate, up, m->ffn, rows, 1, 1);
    b->nodes[b->graph.n_nodes - 1].params.variant = OCLORA_GLU_SWIGLU;
    out->down_in[layer] = act;
    int32_t down = builder_mul_mat(b, builder_matrix(b, m->down, m->ffn, m->width), act);
    return builder_same(b, OCLORA_OP_ADD, down, sum);
}

static inline builder_llama builder_llama_graph(builder *b, const builder_model *m)
{
    builder_llama out = {0};
    uint64_t kv = m->head * m->kv_heads;
    uint64_t per = m->tokens / m->batch_streams;
    for (uint32_t l = 0; l < m->layers; l++) {
        out.k_cache[l] = builder_leaf(b, OCLORA_TYPE_F16, kv, m->cells, m->streams, 1);
        out.v_cache[l] = builder_leaf(b, OCLORA_TYPE_F16, kv, m->cells, m->streams, 1);
    }
    out.embd = builder_leaf(b, OCLORA_TYPE_F32, m->width, m->tokens, 1, 1);
    out.positions = builder_leaf(b, OCLORA_TYPE_I32, m->tokens, 1, 1, 1);
    out.k_index = builder_leaf(b, OCLORA_TYPE_I64, m->tokens, 1, 1, 1);
    out.v_index = builder_leaf(b, OCLORA_TYPE_I64, m->flash ? m->tokens : m->tokens * kv, 1, 1, 1);
    out.mask = builder_leaf(b, m->flash ? OCLORA_TYPE_F16 : OCLORA_TYPE_F32, m->n_kv, per, 1,
                            m->batch_streams);
    out.ids = builder_leaf(b, OCLORA_TYPE_I32, m->outputs, 1, 1, 1);
    int32_t x = out.embd;
    for (uint32_t l = 0; l < m->layers; l++) x = builder_layer(b, m, &out, x, l);
    out.out_norm = builder_leaf(b, OCLORA_TYPE_F32, m->width, 1, 1, 1);
    out.head_in = builder_norm(b, x, out.out_norm);
    out.logits = builder_mul_mat(b, builder_matrix(b, m->output, m->width, m->vocab), out.head_in);
    return out;
}

#endif
