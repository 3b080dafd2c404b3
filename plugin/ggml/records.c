#include "plugin/ggml/plugin.h"

#include <string.h>

/* Index of the first record that ends behind `offset`. */
static size_t first_behind(const oclora_ggml_buffer *buffer, uint64_t offset)
{
    size_t low = 0, high = buffer->n_records;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const oclora_ggml_record *r = &buffer->records[middle];
        if (r->offset + r->bytes <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const oclora_weight *oclora_ggml_record_at(const oclora_ggml_buffer *buffer, uint64_t offset,
                                           uint64_t bytes, bool *overlap)
{
    size_t i = first_behind(buffer, offset);
    const oclora_ggml_record *r = i < buffer->n_records ? &buffer->records[i] : NULL;
    *overlap = r != NULL && r->offset < offset + bytes;
    return *overlap && r->offset == offset && r->bytes == bytes ? r->weight : NULL;
}

const oclora_weight *oclora_ggml_record_first(const oclora_ggml_buffer *buffer, uint64_t offset)
{
    const size_t i = first_behind(buffer, offset);
    return i < buffer->n_records ? buffer->records[i].weight : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Quantised matrices are weights whatever their name; others must be called so, since activations
 * and caches have the same types. Biases are looked up by adapters that scale them (IA3). */
static bool is_weight(const oclora_ggml_plugin *plugin, const struct ggml_tensor *t)
{
    if (t->view_src != NULL || t->op != 0) return false; /* only leaves; 0 is no operator */
    if ((t->flags & (GGML_TENSOR_FLAG_INPUT | GGML_TENSOR_FLAG_OUTPUT)) != 0) return false;
    if (t->ne[2] != 1 || t->ne[3] != 1) return false;
    bool bias = t->type == GGML_TYPE_F32 && t->ne[1] == 1 && ends_with(t->name, ".bias");
    if (t->ne[1] < 2 && !bias) return false;
    if (t->ne[0] < 1 || t->ne[0] > UINT32_MAX || t->ne[1] > UINT32_MAX) return false;
    oclora_type type = oclora_host_type((int)t->type);
    if (type == OCLORA_TYPE_COUNT || type == OCLORA_TYPE_F64) return false;
    if (type >= OCLORA_TYPE_I8 && type <= OCLORA_TYPE_I64) return false;
    bool plain = type == OCLORA_TYPE_F32 || type == OCLORA_TYPE_F16 || type == OCLORA_TYPE_BF16;
    if (plain && !bias && !ends_with(t->name, ".weight")) return false;
    uint64_t row = oclora_type_row_bytes(type, (uint64_t)t->ne[0]);
    return row != 0 && t->nb[1] == row && plugin->abi.ggml_nbytes(t) == row * (uint64_t)t->ne[1];
}

static void insert_record(oclora_ggml_buffer *buffer, const oclora_weight *weight)
{
    const size_t i = first_behind(buffer, weight->offset);
    memmove(&buffer->records[i + 1], &buffer->records[i],
            (buffer->n_records - i) * sizeof *buffer->records);
    buffer->records[i] = (oclora_ggml_record){weight, weight->offset, weight->bytes};
    buffer->n_records++;
}

oclora_status oclora_ggml_record_add(oclora_ggml_buffer *buffer, const struct ggml_tensor *tensor,
                                     uint64_t offset, const void *data, oclora_error *err)
{
    const oclora_ggml_plugin *plugin = buffer->device->plugin;
    const uint64_t bytes = plugin->abi.ggml_nbytes(tensor);
    if (!is_weight(plugin, tensor))
        return oclora_ggml_buffer_write(buffer, offset, data, bytes, err);
    oclora_base *base = NULL;
    OCLORA_TRY(oclora_ggml_session_base(buffer->session, buffer->device, &base, err));
    OCLORA_TRY(oclora_reserve(&plugin->env, &buffer->records, &buffer->capacity,
                              buffer->n_records + 1, sizeof *buffer->records, err));
    const oclora_weight *weight = NULL;
    buffer->device->pending = true;
    /* Nobody finds the weight before its bytes are there. */
    oclora_base_change(base);
    oclora_status status =
        oclora_base_add(base, tensor->name[0] != '\0' ? tensor->name : "unnamed",
                        oclora_host_type((int)tensor->type), (uint32_t)tensor->ne[0],
                        (uint32_t)tensor->ne[1], buffer->memory, offset, &weight, err);
    if (status == OCLORA_OK) {
        insert_record(buffer, weight);
        status = oclora_weight_write(weight, buffer->device->transfer, 0, data, bytes, err);
    }
    oclora_base_let_go(base);
    if (weight != NULL && buffer->n_records == 1)
        oclora_ggml_session_count(buffer->session, buffer->device, 1);
    return status;
}

oclora_status oclora_ggml_record_unpack(oclora_ggml_buffer *buffer, uint64_t offset, uint64_t bytes,
                                        oclora_error *err)
{
    oclora_base *base = buffer->session->part[buffer->device->index].base;
    for (size_t i = first_behind(buffer, offset);
         i < buffer->n_records && buffer->records[i].offset < offset + bytes; i++) {
        OCLORA_TRY(
            oclora_base_unpack(base, buffer->records[i].weight, buffer->device->transfer, err));
        buffer->device->pending = true;
    }
    return OCLORA_OK;
}

oclora_status oclora_ggml_record_drop(oclora_ggml_buffer *buffer, uint64_t offset, uint64_t bytes,
                                      oclora_error *err)
{
    oclora_base *base = buffer->session->part[buffer->device->index].base;
    size_t first = first_behind(buffer, offset), end = first;
    while (end < buffer->n_records && buffer->records[end].offset < offset + bytes) {
        const oclora_ggml_record *r = &buffer->records[end];
        bool whole = offset <= r->offset && r->offset + r->bytes <= offset + bytes;
        if (!whole) OCLORA_TRY(oclora_base_unpack(base, r->weight, buffer->device->transfer, err));
        end++;
    }
    if (end == first) return OCLORA_OK;
    for (size_t i = first; i < end; i++) oclora_base_remove(base, buffer->records[i].weight);
    memmove(&buffer->records[first], &buffer->records[end],
            (buffer->n_records - end) * sizeof *buffer->records);
    buffer->n_records -= end - first;
    buffer->device->pending = true;
    if (buffer->n_records == 0) oclora_ggml_session_count(buffer->session, buffer->device, -1);
    return OCLORA_OK;
}

/* The next piece of [offset, end): inside one record, or up to the next one. */
static const oclora_weight *next_piece(const oclora_ggml_buffer *buffer, uint64_t offset,
                                       uint64_t end, uint64_t *within, uint64_t *bytes)
{
    size_t i = first_behind(buffer, offset);
    const oclora_ggml_record *r = i < buffer->n_records ? &buffer->records[i] : NULL;
    bool inside = r != NULL && r->offset <= offset;
    uint64_t stop = r == NULL ? end : inside ? r->offset + r->bytes : r->offset;
    *bytes = (stop < end ? stop : end) - offset;
    *within = inside ? offset - r->offset : 0;
    return inside ? r->weight : NULL;
}

/* Nobody computes from the weight's bytes while they are written, and what was computed before is
 * out of date. */
static oclora_status write_weight(oclora_ggml_buffer *buffer, const oclora_weight *weight,
                                  uint64_t within, const void *data, uint64_t bytes,
                                  oclora_error *err)
{
    oclora_base *base = buffer->session->part[buffer->device->index].base;
    oclora_base_change(base);
    oclora_base_rewritten(base, weight);
    const oclora_status status =
        oclora_weight_write(weight, buffer->device->transfer, within, data, bytes, err);
    oclora_base_let_go(base);
    return status;
}

oclora_status oclora_ggml_buffer_write(oclora_ggml_buffer *buffer, uint64_t offset,
                                       const void *data, uint64_t bytes, oclora_error *err)
{
    const uint8_t *from = data;
    buffer->device->pending = true;
    for (uint64_t end = offset + bytes, piece, within; offset < end; offset += piece) {
        const oclora_weight *weight = next_piece(buffer, offset, end, &within, &piece);
        OCLORA_TRY(weight != NULL ? write_weight(buffer, weight, within, from, piece, err)
                                  : oclora_stream_write(buffer->device->transfer, buffer->memory,
                                                        offset, from, piece, err));
        from += piece;
    }
    return OCLORA_OK;
}

oclora_status oclora_ggml_buffer_read(oclora_ggml_buffer *buffer, uint64_t offset, void *data,
                                      uint64_t bytes, oclora_error *err)
{
    uint8_t *to = data;
    for (uint64_t end = offset + bytes, piece, within; offset < end; offset += piece) {
        const oclora_weight *weight = next_piece(buffer, offset, end, &within, &piece);
        OCLORA_TRY(weight != NULL ? oclora_weight_read(weight, buffer->device->transfer, within, to,
                                                       piece, err)
                                  : oclora_stream_read(buffer->device->transfer, buffer->memory,
                                                       offset, to, piece, err));
        to += piece;
    }
    return OCLORA_OK;
}
