#include "host/graph/axis.h"

static unsigned lowest_dim(uint32_t dims)
{
    unsigned d = 0;
    while (d < 3 && !(dims >> d & 1u)) d++;
    return d;
}

static bool same_extents(const uint64_t a[4], const uint64_t b[4])
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Elements of one token if all listed dimensions lie outside all others, else 0. */
static uint64_t elements_per_token(const oclora_row_label *label, const uint64_t ne[4])
{
    unsigned low = lowest_dim(label->dims);
    uint64_t inner = label->run;
    for (unsigned d = 0; d < low; d++) inner *= ne[d];
    for (unsigned d = low + 1; d < 4; d++)
        if (ne[d] > 1 && !(label->dims >> d & 1u)) return 0;
    return inner;
}

bool oclora_axis_reshape(oclora_row_label *label, uint64_t count, const uint64_t from[4],
                         const uint64_t to[4])
{
    if (count <= 1 || same_extents(from, to)) return true;
    uint64_t inner = elements_per_token(label, from);
    if (inner == 0) return false;

    uint64_t below = 1;
    unsigned low = 0;
    while (low < 4 && below * to[low] <= inner) below *= to[low++];
    if (low == 4 || inner % below != 0 || to[low] % (inner / below) != 0) return false;

    uint32_t dims = 1u << low;
    uint64_t tokens = to[low] / (inner / below);
    for (unsigned d = low + 1; d < 4; d++) {
        if (to[d] > 1) dims |= 1u << d;
        tokens *= to[d];
    }
    if (tokens != count) return false;
    label->dims = dims;
    label->run = (uint32_t)(inner / below);
    return true;
}

static bool is_contiguous(const oclora_tensor *tensor)
{
    uint64_t expected = oclora_type_block_bytes(tensor->type);
    uint64_t block = oclora_type_block(tensor->type);
    for (unsigned d = 0; d < 4; d++) {
        if (tensor->ne[d] > 1 && tensor->nb[d] != expected) return false;
        expected *= d == 0 && block != 0 ? tensor->ne[0] / block : tensor->ne[d];
    }
    return true;
}

/* The same dimensions in another order: listed ones must keep their order among themselves. */
static bool view_permuted(oclora_row_label *label, const oclora_tensor *parent,
                          const oclora_tensor *view)
{
    uint32_t taken = 0;
    uint32_t dims = 0;
    unsigned previous = 0;
    for (unsigned d = 0; d < 4; d++) {
        if (parent->ne[d] <= 1) continue;
        unsigned v = 0;
        while (v < 4 &&
               ((taken >> v & 1u) || view->ne[v] != parent->ne[d] || view->nb[v] != parent->nb[d]))
            v++;
        if (v == 4) return false;
        taken |= 1u << v;
        if (!(label->dims >> d & 1u)) continue;
        if (dims != 0 && v < previous) return false;
        dims |= 1u << v;
        previous = v;
    }
    for (unsigned v = 0; v < 4; v++)
        if (view->ne[v] > 1 && !(taken >> v & 1u)) return false;
    label->dims = dims;
    return true;
}

/* Bytes from the first to behind the last element over dimensions whose stride is below `limit`. */
static uint64_t inner_extent(const oclora_tensor *tensor, uint64_t limit)
{
    uint64_t block = oclora_type_block(tensor->type);
    uint64_t bytes = oclora_type_block_bytes(tensor->type);
    for (unsigned d = 0; d < 4; d++) {
        uint64_t ne = d == 0 && block > 1 ? tensor->ne[0] / block : tensor->ne[d];
        if (ne > 1 && tensor->nb[d] < limit) bytes += (ne - 1) * tensor->nb[d];
    }
    return bytes;
}

/* Bytes from one token to the next if tokens lie one behind the other in memory, else 0. */
static uint64_t token_stride(const oclora_row_label *label, const oclora_tensor *tensor)
{
    uint64_t next = 0;
    uint64_t stride = 0;
    for (unsigned d = 0; d < 4; d++) {
        if (!(label->dims >> d & 1u)) continue;
        if (stride == 0)
            stride = tensor->nb[d] * label->run;
        else if (tensor->nb[d] != next)
            return 0;
        next = tensor->nb[d] * tensor->ne[d];
    }
    for (unsigned d = 0; d < 4; d++)
        if (tensor->ne[d] > 1 && !(label->dims >> d & 1u) && tensor->nb[d] >= stride) return 0;
    return inner_extent(tensor, stride) <= stride ? stride : 0;
}

/* Each token's memory is a range of `stride` bytes; the view's dimensions must stay inside a token
 * or step by whole tokens over all of them. */
static bool view_strided(oclora_row_label *label, uint64_t count, const oclora_tensor *parent,
                         const oclora_tensor *view)
{
    uint64_t stride = token_stride(label, parent);
    if (stride == 0 || view->offset < parent->offset) return false;
    if (view->offset - parent->offset + inner_extent(view, stride) > stride) return false;

    uint32_t dims = 0;
    uint64_t next = stride;
    uint64_t tokens = 1;
    for (unsigned d = 0; d < 4; d++) {
        if (view->ne[d] <= 1 || view->nb[d] < stride) continue;
        if (view->nb[d] != next) return false;
        dims |= 1u << d;
        tokens *= view->ne[d];
        next *= view->ne[d];
    }
    if (tokens != count) return false;
    label->dims = dims;
    label->run = 1;
    return true;
}

bool oclora_axis_view(oclora_row_label *label, uint64_t count, const oclora_tensor *parent,
                      const oclora_tensor *view)
{
    if (count <= 1) return true;
    if (parent->type != view->type) return false;
    if (parent->offset == view->offset) {
        if (view_permuted(label, parent, view)) return true;
        if (is_contiguous(parent) && is_contiguous(view) &&
            oclora_axis_reshape(label, count, parent->ne, view->ne))
            return true;
    }
    return view_strided(label, count, parent, view);
}
