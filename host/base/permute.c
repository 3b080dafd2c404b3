/* permute.c - weights between ggml's rows and the planes of the PANEL layout. */
#include "host/base/layout.h"

#include <string.h>

enum { ROWS = OCLORA_PANEL_ROWS, MOST = 256 /* elements of a block */ };

/* Where the parts of a block of 4 to 6 bits a value begin, in bytes. */
typedef struct form {
    uint8_t d, m, low, high, sub;
    uint8_t has_m, high_bits, sub_bytes; /* high bits of a value; bytes of small scales */
} form;

static const form forms[OCLORA_TYPE_COUNT] = {
    [OCLORA_TYPE_Q4_0] = {.low = 2},
    [OCLORA_TYPE_Q4_1] = {.m = 2, .low = 4, .has_m = 1},
    [OCLORA_TYPE_Q5_0] = {.high = 2, .low = 6, .high_bits = 1},
    [OCLORA_TYPE_Q5_1] = {.m = 2, .high = 4, .low = 8, .has_m = 1, .high_bits = 1},
    [OCLORA_TYPE_Q4_K] = {.m = 2, .sub = 4, .low = 16, .has_m = 1, .sub_bytes = 12},
    [OCLORA_TYPE_Q5_K] =
        {.m = 2, .sub = 4, .high = 16, .low = 48, .has_m = 1, .high_bits = 1, .sub_bytes = 12},
    [OCLORA_TYPE_Q6_K] = {.d = 208, .high = 128, .sub = 192, .high_bits = 2, .sub_bytes = 16},
};

static bool in_nibbles(oclora_type type)
{
    return oclora_type_block(type) > 1 && type != OCLORA_TYPE_Q8_0;
}

oclora_planes oclora_panel_planes(oclora_type type, uint64_t d_in, uint64_t d_out)
{
    const form *f = &forms[type];
    const uint32_t block = oclora_type_block(type);
    const uint64_t elements = d_in * d_out, halves = elements / block * 2;
    uint64_t bytes[OCLORA_PLANES] = {0};
    bytes[OCLORA_PLANE_V] = block == 1         ? elements * oclora_type_block_bytes(type)
                            : in_nibbles(type) ? elements / 2
                                               : elements;
    bytes[OCLORA_PLANE_D] = block > 1 ? halves : 0;
    bytes[OCLORA_PLANE_M] = f->has_m ? halves : 0;
    bytes[OCLORA_PLANE_H] = elements / 8 * f->high_bits;
    bytes[OCLORA_PLANE_S] = elements / block * f->sub_bytes;
    oclora_planes planes = {{0}};
    for (int i = 0; i < OCLORA_PLANES; i++) planes.at[i + 1] = planes.at[i] + bytes[i];
    return planes;
}

/* Where ggml keeps the bits of each value of a block, within its parts. */
typedef struct place {
    uint8_t low, low_shift, high, high_shift;
} place;

typedef struct work {
    unsigned char *plane[OCLORA_PLANES]; /* of one panel */
    place places[MOST];
    const form *form;
    oclora_type type;
    uint32_t block;
} work;

static place place_of(oclora_type type, uint32_t k)
{
    const uint32_t half = k / 128, quarter = k % 128 / 32, l = k % 32;
    if (type == OCLORA_TYPE_Q6_K)
        return (place){(uint8_t)(half * 64 + (quarter & 1) * 32 + l), quarter / 2 * 4,
                       (uint8_t)(half * 32 + l), (uint8_t)(2 * quarter)};
    if (type == OCLORA_TYPE_Q4_K || type == OCLORA_TYPE_Q5_K)
        return (place){(uint8_t)(k / 64 * 32 + l), k / 32 % 2 * 4, (uint8_t)l, (uint8_t)(k / 32)};
    return (place){k % 16, k / 16 * 4, (uint8_t)(k / 8), k % 8};
}

static void begin_work(work *w, oclora_type type)
{
    memset(w, 0, sizeof *w);
    w->type = type;
    w->block = oclora_type_block(type);
    w->form = &forms[type];
    for (uint32_t k = 0; in_nibbles(type) && k < w->block; k++) w->places[k] = place_of(type, k);
}

static void begin_panel(work *w, uint64_t d_in, uint64_t d_out, uint64_t panel, void *packed)
{
    const oclora_planes whole = oclora_panel_planes(w->type, d_in, d_out);
    const oclora_planes one = oclora_panel_planes(w->type, d_in, ROWS);
    for (int i = 0; i < OCLORA_PLANES; i++)
        w->plane[i] = (unsigned char *)packed + whole.at[i] + (one.at[i + 1] - one.at[i]) * panel;
}

/* `bytes` bytes one below the other, from `at` on. */
static void spread(unsigned char *plane, uint64_t at, uint32_t row, const unsigned char *from,
                   uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) plane[(at + i) * ROWS + row] = from[i];
}

static void collect(const unsigned char *plane, uint64_t at, uint32_t row, unsigned char *to,
                    uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) to[i] = plane[(at + i) * ROWS + row];
}

/* ggml's 12 bytes of 8 scales and 8 minima of 6 bits each; as S has them: three for every two. */
static void pack_sub(const unsigned char *s, unsigned char *out)
{
    for (uint32_t j = 0; j < 4; j += 2) {
        out[3 * j / 2] = (s[j] & 15) | (unsigned char)(s[j + 4] << 4);
        out[3 * j / 2 + 1] = (s[j + 1] & 15) | (unsigned char)(s[j + 5] << 4);
        out[3 * j / 2 + 2] = (unsigned char)((s[j] >> 4 & 3) | (s[j + 4] >> 2 & 12) |
                                             (s[j + 1] & 48) | (s[j + 5] & 48) << 2);
        out[3 * j / 2 + 6] = s[j + 8];
        out[3 * j / 2 + 7] = s[j + 9];
        out[3 * j / 2 + 8] = (unsigned char)((s[j] >> 6) | (s[j + 4] >> 4 & 12) |
                                             (s[j + 1] >> 2 & 48) | (s[j + 5] & 192));
    }
}

static void unpack_sub(const unsigned char *in, unsigned char *s)
{
    for (uint32_t j = 0; j < 4; j += 2) {
        const unsigned char *a = in + 3 * j / 2, *b = a + 6; /* of sub-blocks j and j + 4 */
        s[j] = (unsigned char)((a[0] & 15) | (a[2] & 3) << 4 | (b[2] & 3) << 6);
        s[j + 1] = (unsigned char)((a[1] & 15) | (a[2] & 48) | (b[2] & 48) << 2);
        s[j + 4] = (unsigned char)(a[0] >> 4 | (a[2] & 12) << 2 | (b[2] & 12) << 4);
        s[j + 5] = (unsigned char)(a[1] >> 4 | (a[2] & 192) >> 2 | (b[2] & 192));
        s[j + 8] = b[0];
        s[j + 9] = b[1];
    }
}

/* `count` values of `bits` bits, the first lowest. */
static unsigned char join(const unsigned char *values, uint32_t count, uint32_t bits)
{
    uint32_t joined = 0;
    while (count-- > 0) joined = joined << bits | values[count];
    return (unsigned char)joined;
}

/* The block's values: the low four bits, two a byte, and the high ones. */
static void pack_values(const work *w, uint64_t b, uint32_t row, const unsigned char *from)
{
    const form *f = w->form;
    const unsigned char *low = from + f->low, *high = from + f->high;
    unsigned char code[MOST], packed[MOST / 2];
    for (uint32_t k = 0; k < w->block; k++)
        code[k] = low[w->places[k].low] >> w->places[k].low_shift & 15;
    for (uint32_t k = 0; k < w->block / 2; k++)
        packed[k] = (unsigned char)(code[2 * k] | code[2 * k + 1] << 4);
    spread(w->plane[OCLORA_PLANE_V], b * w->block / 2, row, packed, w->block / 2);
    if (f->high_bits == 0) return;
    const uint32_t bits = f->high_bits, each = 8 / bits, mask = (1u << bits) - 1;
    for (uint32_t k = 0; k < w->block; k++)
        code[k] = high[w->places[k].high] >> w->places[k].high_shift & mask;
    for (uint32_t i = 0; i < w->block / each; i++) packed[i] = join(code + i * each, each, bits);
    spread(w->plane[OCLORA_PLANE_H], b * w->block / each, row, packed, w->block / each);
}

static void unpack_values(const work *w, uint64_t b, uint32_t row, unsigned char *to)
{
    const form *f = w->form;
    unsigned char *low = to + f->low, *high = to + f->high, packed[MOST / 2];
    collect(w->plane[OCLORA_PLANE_V], b * w->block / 2, row, packed, w->block / 2);
    memset(low, 0, w->block / 2);
    for (uint32_t k = 0; k < w->block; k++)
        low[w->places[k].low] |=
            (unsigned char)((packed[k / 2] >> k % 2 * 4 & 15) << w->places[k].low_shift);
    if (f->high_bits == 0) return;
    const uint32_t bits = f->high_bits, each = 8 / bits, mask = (1u << bits) - 1;
    collect(w->plane[OCLORA_PLANE_H], b * w->block / each, row, packed, w->block / each);
    memset(high, 0, w->block / each);
    for (uint32_t k = 0; k < w->block; k++)
        high[w->places[k].high] |=
            (unsigned char)(((uint32_t)packed[k / each] >> k % each * bits & mask)
                            << w->places[k].high_shift);
}

/* One block of one row, from ggml's bytes into the planes. */
static void pack_block(const work *w, uint64_t b, uint32_t row, const unsigned char *from)
{
    const form *f = w->form;
    const uint64_t half = (b * ROWS + row) * 2;
    memcpy(w->plane[OCLORA_PLANE_D] + half, from + f->d, 2);
    if (f->has_m) memcpy(w->plane[OCLORA_PLANE_M] + half, from + f->m, 2);
    if (!in_nibbles(w->type)) {
        spread(w->plane[OCLORA_PLANE_V], b * w->block, row, from + 2, w->block);
        return;
    }
    pack_values(w, b, row, from);
    unsigned char sub[16];
    if (f->has_m && f->sub_bytes)
        pack_sub(from + f->sub, sub);
    else
        memcpy(sub, from + f->sub, f->sub_bytes);
    spread(w->plane[OCLORA_PLANE_S], b * f->sub_bytes, row, sub, f->sub_bytes);
}

static void unpack_block(const work *w, uint64_t b, uint32_t row, unsigned char *to)
{
    const form *f = w->form;
    const uint64_t half = (b * ROWS + row) * 2;
    memcpy(to + f->d, w->plane[OCLORA_PLANE_D] + half, 2);
    if (f->has_m) memcpy(to + f->m, w->plane[OCLORA_PLANE_M] + half, 2);
    if (!in_nibbles(w->type)) {
        collect(w->plane[OCLORA_PLANE_V], b * w->block, row, to + 2, w->block);
        return;
    }
    unpack_values(w, b, row, to);
    unsigned char sub[16];
    collect(w->plane[OCLORA_PLANE_S], b * f->sub_bytes, row, sub, f->sub_bytes);
    if (f->has_m && f->sub_bytes)
        unpack_sub(sub, to + f->sub);
    else
        memcpy(to + f->sub, sub, f->sub_bytes);
}

static void pack_dense(const work *w, uint64_t d_in, uint32_t row, uint32_t size,
                       const unsigned char *from)
{
    for (uint64_t k = 0; k < d_in; k++)
        memcpy(w->plane[OCLORA_PLANE_V] + (k * ROWS + row) * size, from + k * size, size);
}

static void unpack_dense(const work *w, uint64_t d_in, uint32_t row, uint32_t size,
                         unsigned char *to)
{
    for (uint64_t k = 0; k < d_in; k++)
        memcpy(to + k * size, w->plane[OCLORA_PLANE_V] + (k * ROWS + row) * size, size);
}

void oclora_panel_pack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from, void *to)
{
    work w;
    begin_work(&w, type);
    const uint32_t size = oclora_type_block_bytes(type);
    const unsigned char *row = from;
    for (uint64_t o = 0; o < d_out; o++, row += oclora_type_row_bytes(type, d_in)) {
        if (o % ROWS == 0) begin_panel(&w, d_in, d_out, o / ROWS, to);
        if (w.block == 1) {
            pack_dense(&w, d_in, o % ROWS, size, row);
            continue;
        }
        for (uint64_t b = 0; b < d_in / w.block; b++) pack_block(&w, b, o % ROWS, row + b * size);
    }
}

void oclora_panel_unpack(oclora_type type, uint64_t d_in, uint64_t d_out, const void *from,
                         void *to)
{
    work w;
    begin_work(&w, type);
    const uint32_t size = oclora_type_block_bytes(type);
    /* begin_panel is shared with pack; unpack only reads through it */
    union {
        const void *in;
        void *out;
    } packed = {from};
    unsigned char *row = to;
    for (uint64_t o = 0; o < d_out; o++, row += oclora_type_row_bytes(type, d_in)) {
        if (o % ROWS == 0) begin_panel(&w, d_in, d_out, o / ROWS, packed.out);
        if (w.block == 1) {
            unpack_dense(&w, d_in, o % ROWS, size, row);
            continue;
        }
        for (uint64_t b = 0; b < d_in / w.block; b++) unpack_block(&w, b, o % ROWS, row + b * size);
    }
}
