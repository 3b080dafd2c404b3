#include "host/op/family.h"

/* IM2COL: dst[c * KH * KW + kh * KW + kw, w, h, n] is the image's element
 * [w * s0 + kw * d0 - p0, h * s1 + kh * d1 - p1, c, n], 0 outside the image. Hosts ask for it
 * rarely (convolutions in front of a model), so it has no kernel: dst is zeroed and every tap (kw,
 * kh) is one strided copy of what lies inside. */
typedef struct taps {
    bool two;                                   /* dimensions; one: h = kh = 0 */
    int64_t stride[2], padding[2], dilation[2]; /* of w, h */
    uint64_t kernel[2], image[2], out[2];
    uint64_t channels, images;
    uint64_t image_nb[4]; /* of w, h, c, n */
} taps;

static taps taps_of(const oclora_op_call *call)
{
    const oclora_tensor *kernel = &call->src[0], *image = &call->src[1], *dst = &call->dst;
    const int32_t *i = call->params.i;
    taps t = {.two = i[3] != 0,
              .kernel = {kernel->ne[0], 1},
              .image = {image->ne[0], 1},
              .out = {dst->ne[1], 1}};
    for (int d = 0; d < 2; d++) {
        t.stride[d] = i[0] >> (16 * d) & 0xffff;
        t.padding[d] = i[1] >> (16 * d) & 0xffff;
        t.dilation[d] = i[2] >> (16 * d) & 0xffff;
    }
    if (t.two) {
        t.kernel[1] = kernel->ne[1];
        t.image[1] = image->ne[1];
        t.out[1] = dst->ne[2];
    }
    const int channel = t.two ? 2 : 1;
    t.channels = image->ne[channel];
    t.images = image->ne[channel + 1];
    t.image_nb[0] = image->nb[0];
    t.image_nb[1] = t.two ? image->nb[1] : 0;
    t.image_nb[2] = image->nb[channel];
    t.image_nb[3] = image->nb[channel + 1];
    return t;
}

bool oclora_im2col_supported(const oclora_context *context, const oclora_op_call *call)
{
    (void)context;
    const oclora_tensor *image = &call->src[1], *dst = &call->dst;
    const taps t = taps_of(call);
    return (image->type == OCLORA_TYPE_F32 || image->type == OCLORA_TYPE_F16) &&
           (dst->type == OCLORA_TYPE_F32 || dst->type == OCLORA_TYPE_F16) &&
           oclora_tensor_contiguous(dst) && dst->ne[0] == t.channels * t.kernel[0] * t.kernel[1] &&
           call->src[0].ne[t.two ? 2 : 1] == t.channels && dst->ne[t.two ? 3 : 2] == t.images &&
           (t.two || (dst->ne[3] == 1 && image->ne[3] == 1));
}

/* The outputs [first, first + count) of dimension d whose tap `k` lies inside the image, and where
 * the first one reads. */
static uint64_t inside(const taps *t, int d, uint64_t k, uint64_t *first, uint64_t *from)
{
    const int64_t shift = (int64_t)k * t->dilation[d] - t->padding[d];
    const int64_t stride = t->stride[d] > 0 ? t->stride[d] : 1;
    const int64_t size = (int64_t)t->image[d], out = (int64_t)t->out[d];
    const int64_t begin = shift < 0 ? (-shift + stride - 1) / stride : 0;
    int64_t end = size > shift ? (size - shift + stride - 1) / stride : 0;
    if (end > out) end = out;
    if (end <= begin) return 0;
    *first = (uint64_t)begin;
    *from = (uint64_t)(begin * stride + shift);
    return (uint64_t)(end - begin);
}

static oclora_status copy_tap(oclora_stream *stream, const oclora_op_call *call, const taps *t,
                              uint64_t kw, uint64_t kh, oclora_error *err)
{
    uint64_t w = 0, h = 0, iw = 0, ih = 0;
    const uint64_t nw = inside(t, 0, kw, &w, &iw), nh = inside(t, 1, kh, &h, &ih);
    if (nw == 0 || nh == 0) return OCLORA_OK;
    const uint64_t element = oclora_type_block_bytes(call->dst.type);
    const uint64_t row = call->dst.ne[0] * element, tap = kh * t->kernel[0] + kw;
    oclora_op_call copy = {.op = OCLORA_OP_COPY, .n_src = 1, .dst = call->dst};
    oclora_tensor *dst = &copy.dst, *src = &copy.src[0];
    *src = call->src[1];
    dst->offset += tap * element + (h * t->out[0] + w) * row;
    src->offset += iw * t->image_nb[0] + ih * t->image_nb[1];
    const uint64_t ne[4] = {t->channels, nw, nh, t->images};
    const uint64_t to[4] = {t->kernel[0] * t->kernel[1] * element, row, row * t->out[0],
                            row * t->out[0] * t->out[1]};
    const uint64_t at[4] = {t->image_nb[2], (uint64_t)t->stride[0] * t->image_nb[0],
                            (uint64_t)t->stride[1] * t->image_nb[1], t->image_nb[3]};
    for (int i = 0; i < 4; i++) {
        dst->ne[i] = src->ne[i] = ne[i];
        dst->nb[i] = to[i];
        src->nb[i] = at[i];
    }
    return oclora_copy_run(stream, &copy, err);
}

oclora_status oclora_im2col_run(oclora_stream *stream, const oclora_op_call *call,
                                oclora_error *err)
{
    const taps t = taps_of(call);
    const uint64_t bytes =
        oclora_tensor_count(&call->dst) * oclora_type_block_bytes(call->dst.type);
    OCLORA_TRY(oclora_stream_fill(stream, call->dst.buffer, call->dst.offset, bytes, 0, err));
    for (uint64_t kh = 0; kh < t.kernel[1]; kh++)
        for (uint64_t kw = 0; kw < t.kernel[0]; kw++)
            OCLORA_TRY(copy_tap(stream, call, &t, kw, kh, err));
    return OCLORA_OK;
}
