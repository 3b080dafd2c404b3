#include "host/base/layout.h"

#include <string.h>

enum { BLOCK = 32, ROWS = OCLORA_PANEL_ROWS };

#define TYPE_ENTRY(name, code, text, elems, bytes) {text, elems, bytes},
static const struct {
    const char *name;
    uint32_t block;
    uint32_t block_bytes;
} types[] = {OCLORA_TYPE_MAP(TYPE_ENTRY)};

const char *oclora_type_name(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].name : "unknown type";
}

uint32_t oclora_type_block(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].block : 0;
}

uint32_t oclora_type_block_bytes(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].block_bytes : 0;
}

uint64_t oclora_type_row_bytes(oclora_type type, uint64_t n)
{
    if (type >= OCLORA_TYPE_COUNT || n % types[type].block) return 0;
    return n / types[type].block * types[type].block_bytes;
}

bool oclora_panel_fits(oclora_type type, uint64_t d_in, uint64_t d_out)
{
    switch (type) {
    case OCLORA_TYPE_F32:
    case OCLORA_TYPE_F16:
    case OCLORA_TYPE_BF16:
    case OCLORA_TYPE_Q8_0:
    case OCLORA_TYPE_Q4_0:
    case OCLORA_TYPE_Q4_1:
        return d_in && d_out && d_in % BLOCK == 0 && d_out % ROWS == 0;
    default:
        return false;
    }
}

/* Bytes of the V plane for so many elements. */
static uint64_t values_bytes(oclora_type type, uint64_t elements)
{
    switch (type) {
    case OCLORA_TYPE_Q8_0:
        return elements;
    case OCLORA_TYPE_Q4_0:
    case OCLORA_TYPE_Q4_1:
        return elements / 2;
    default:
        return elements * oclora_type_block_bytes(type);
    }
}

void oclora_panel_planes(oclora_type type, uint64_t d_in, uint64_t d_out, uint64_t *d_plane,
                         uint64_t *m_plane)
{
    bool scaled = oclora_type_block(type) > 1;
    uint64_t values = values_bytes(type, d_in * d_out);
    *d_plane = scaled ? values : 0;
    *m_plane = type == OCLORA_TYPE_Q4_1 ? values + d_in / BLOCK * d_out * 2 : 0;
}

typedef struct planes {
    unsigned char *v, *d, *m; /* of one panel */
    uint64_t d_in;
    oclora_type type;
} planes;

/* One block of one row, from ggml bytes into the planes. */
static void pack_block(const planes *p, uint64_t b, uint32_t row, const unsigned char *from)
{
    uint64_t scale = (b * ROWS + row) * 2;
    memcpy(p->d + scale, from, 2);
    if (p->type == OCLORA_TYPE_Q4_1) memcpy(p->m + scale, from + 2, 2);
    const unsigned char *q = from + (p->type == OCLORA_TYPE_Q4_1 ? 4 : 2);
    if (p->type == OCLORA_TYPE_Q8_0) {
        for (uint32_t i = 0; i < BLOCK; i++) p->v[(b * BLOCK + i) * ROWS + row] = q[i];
        return;
    }
    for (uint32_t j = 0; j < BLOCK / 2; j++) {
        uint32_t k = 2 * j; /* ggml: inputs 0..15 are the low nibbles, 16..31 the high ones */
        unsigned low = k < 16 ? q[k] & 15u : q[k - 16] >> 4;
        unsigned high = k + 1 < 16 ? q[k + 1] & 15u : q[k - 15] >> 4;
        p->v[(b * (BLOCK / 2) + j) * ROWS + row] = (unsigned char)(low | high << 4);
    }
}

static unsigned nibble(const planes *p, uint64_t b, uint32_t row, uint32_t k)
{
    unsigned byte = p->v[(b * (BLOCK / 2) + k / 2) * ROWS + row];
    return k % 2 ? byte >> 4 : byte & 15u;
}

static void unpack_block(const planes *p, uint64_t b, uint32_t row, unsigned char *to)
{
    uint64_t scale = (b * ROWS + row) * 2;
    memcpy(to, p->d + scale, 2);
    if (p->type == OCLORA_TYPE_Q4_1) memcpy(to + 2, p->m + scale, 2);
    unsigned char *q = to + (p->type == OCLORA_TYPE_Q4_1 ? 4 : 2);
    if (p->type == OCLORA_TYPE_Q8_0) {
        for (uint32_t i = 0; i < BLOCK; i++) q[i] = p->v[(b * BLOCK + i) * ROWS + row];
        return;
    }
    for (uint32_t k = 0; k < 16; k++)
        q[k] = (unsigned char)(nibble(p, b, row, k) | nibble(p, b, row, k + 16) << 4);
}

static planes panel_at(oclora_type type, uint64_t d_in, uint64_t d_out, uint64_t panel,
                       void *packed)
{
    uint64_t d_plane, m_plane, scales = d_in / BLOCK * ROWS * 2 * panel;
    oclora_panel_planes(type, d_in, d_out, &d_plane, &m_plane);
    unsigned char *base = packed;
    planes p = {base + values_bytes(type, d_in * ROWS) * panel, base + d_plane + scales,
                base + m_plane + scales, d_in, type};
    return p;
}

static void pack_dense(const planes *p, uint32_t row, uint32_t size, const unsigned char *from)
{
    for (uint64_t k = 0; k < p->d_in; k++)
        memcpy(p->v + (k * ROWS + row) * size, from + k * size, size);
}

static void unpack_dense(const planes *p, uint32_t row, uint32_t size, unsigned char *to)
{
    for (uint64_t k = 0; k < p->d_in; k++)
        memcpy(to + k * size, p->v + (k * ROWS + row) * size, size);
}

void oclora_panel_pack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from, void *to)
{
    uint32_t block = oclora_type_block(type), size = oclora_type_block_bytes(type);
    const unsigned char *row = from;
    for (uint64_t o = 0; o < d_out; o++, row += oclora_type_row_bytes(type, d_in)) {
        planes p = panel_at(type, d_in, d_out, o / ROWS, to);
        if (block == 1) {
            pack_dense(&p, o % ROWS, size, row);
            continue;
        }
        for (uint64_t b = 0; b < d_in / block; b++) pack_block(&p, b, o % ROWS, row + b * size);
    }
}

void oclora_panel_unpack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from,
                         void *to)
{
    uint32_t block = oclora_type_block(type), size = oclora_type_block_bytes(type);
    /* panel_at is shared with pack; unpack only reads through it */
    union {
        const void *in;
        void *out;
    } packed = {from};
    unsigned char *row = to;
    for (uint64_t o = 0; o < d_out; o++, row += oclora_type_row_bytes(type, d_in)) {
        planes p = panel_at(type, d_in, d_out, o / ROWS, packed.out);
        if (block == 1) {
            unpack_dense(&p, o % ROWS, size, row);
            continue;
        }
        for (uint64_t b = 0; b < d_in / block; b++) unpack_block(&p, b, o % ROWS, row + b * size);
    }
}
