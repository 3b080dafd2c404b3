/* bytes.c - a weight's bytes in and out in ggml's order. PANEL weights go through a staging area of
 * whole panels: a run of panels is contiguous in every plane, and packed as a weight of its own. */
#include "host/base/weight.h"

#include <string.h>

enum { STAGING_BYTES = 8 << 20 };

typedef struct staging {
    const oclora_weight *weight;
    oclora_stream *stream;
    unsigned char *packed;
    unsigned char *plain;
    uint64_t panel_bytes;
    uint64_t panels_max;
} staging;

static oclora_status check_range(const oclora_weight *weight, uint64_t offset, uint64_t bytes,
                                 oclora_error *err)
{
    if (offset <= weight->bytes && bytes <= weight->bytes - offset) return OCLORA_OK;
    return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                       "bytes [%llu, +%llu) lie outside weight '%s' of %llu bytes",
                       (unsigned long long)offset, (unsigned long long)bytes, weight->name,
                       (unsigned long long)weight->bytes);
}

static void staging_close(staging *s)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(s->stream));
    oclora_release(env, s->packed);
    oclora_release(env, s->plain);
}

static oclora_status staging_open(staging *s, const oclora_weight *weight, oclora_stream *stream,
                                  oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    uint64_t row = oclora_type_row_bytes(weight->type, weight->d_in);
    memset(s, 0, sizeof *s);
    s->weight = weight;
    s->stream = stream;
    s->panel_bytes = row * OCLORA_PANEL_ROWS;
    s->panels_max = STAGING_BYTES / s->panel_bytes;
    if (!s->panels_max) s->panels_max = 1;
    if (s->panels_max > weight->d_out / OCLORA_PANEL_ROWS)
        s->panels_max = weight->d_out / OCLORA_PANEL_ROWS;
    size_t bytes = (size_t)(s->panels_max * s->panel_bytes);
    s->packed = oclora_alloc(env, bytes, 1);
    s->plain = oclora_alloc(env, bytes, 1);
    if (s->packed && s->plain) return OCLORA_OK;
    staging_close(s);
    return oclora_fail_memory(err, bytes, "staging of a base weight");
}

/* Moves `count` packed panels from `first` on between staging and device, plane by plane. */
static oclora_status move_panels(staging *s, uint64_t first, uint64_t count, bool write,
                                 oclora_error *err)
{
    const oclora_weight *w = s->weight;
    const oclora_planes run = oclora_panel_planes(w->type, w->d_in, count * OCLORA_PANEL_ROWS);
    const oclora_planes whole = oclora_panel_planes(w->type, w->d_in, w->d_out);
    for (int i = 0; i < OCLORA_PLANES; i++) {
        uint64_t bytes = run.at[i + 1] - run.at[i];
        uint64_t at = w->offset + whole.at[i] + bytes / count * first;
        unsigned char *host = s->packed + run.at[i];
        if (bytes == 0) continue;
        OCLORA_TRY(write ? oclora_stream_write(s->stream, w->buffer, at, host, bytes, err)
                         : oclora_stream_read(s->stream, w->buffer, at, host, bytes, err));
    }
    return OCLORA_OK;
}

static oclora_status read_run(staging *s, uint64_t first, uint64_t count, oclora_error *err)
{
    OCLORA_TRY(move_panels(s, first, count, false, err));
    oclora_panel_unpack(s->weight->type, s->weight->d_in, count * OCLORA_PANEL_ROWS, s->packed,
                        s->plain);
    return OCLORA_OK;
}

static oclora_status write_run(staging *s, uint64_t first, uint64_t count, const void *plain,
                               oclora_error *err)
{
    oclora_panel_pack(s->weight->type, s->weight->d_in, count * OCLORA_PANEL_ROWS, plain,
                      s->packed);
    return move_panels(s, first, count, true, err);
}

/* The next run of panels that [offset, end) touches: panels, and the touched bytes within the run.
 */
typedef struct run {
    uint64_t first, count, begin, bytes;
} run;

static run next_run(const staging *s, uint64_t offset, uint64_t end)
{
    run r = {offset / s->panel_bytes, (end + s->panel_bytes - 1) / s->panel_bytes, 0, 0};
    r.count -= r.first;
    if (r.count > s->panels_max) r.count = s->panels_max;
    uint64_t run_end = (r.first + r.count) * s->panel_bytes;
    r.begin = offset - r.first * s->panel_bytes;
    r.bytes = (end < run_end ? end : run_end) - offset;
    return r;
}

static oclora_status write_panels(staging *s, uint64_t offset, const unsigned char *data,
                                  uint64_t bytes, oclora_error *err)
{
    for (uint64_t end = offset + bytes; offset < end;) {
        run r = next_run(s, offset, end);
        const void *plain = data;
        if (r.bytes != r.count * s->panel_bytes) {
            OCLORA_TRY(read_run(s, r.first, r.count, err));
            memcpy(s->plain + r.begin, data, (size_t)r.bytes);
            plain = s->plain;
        }
        OCLORA_TRY(write_run(s, r.first, r.count, plain, err));
        offset += r.bytes;
        data += r.bytes;
    }
    return OCLORA_OK;
}

static oclora_status read_panels(staging *s, uint64_t offset, unsigned char *data, uint64_t bytes,
                                 oclora_error *err)
{
    for (uint64_t end = offset + bytes; offset < end;) {
        run r = next_run(s, offset, end);
        OCLORA_TRY(read_run(s, r.first, r.count, err));
        memcpy(data, s->plain + r.begin, (size_t)r.bytes);
        offset += r.bytes;
        data += r.bytes;
    }
    return OCLORA_OK;
}

oclora_status oclora_weight_write(const oclora_weight *weight, oclora_stream *stream,
                                  uint64_t offset, const void *data, uint64_t bytes,
                                  oclora_error *err)
{
    OCLORA_TRY(check_range(weight, offset, bytes, err));
    if (!bytes) return OCLORA_OK;
    if (weight->layout == OCLORA_LAYOUT_PLAIN) {
        OCLORA_TRY(
            oclora_stream_write(stream, weight->buffer, weight->offset + offset, data, bytes, err));
        return oclora_stream_finish(stream, err);
    }
    staging s;
    OCLORA_TRY(staging_open(&s, weight, stream, err));
    oclora_status status = write_panels(&s, offset, data, bytes, err);
    if (status == OCLORA_OK) status = oclora_stream_finish(stream, err);
    staging_close(&s);
    return status;
}

oclora_status oclora_weight_read(const oclora_weight *weight, oclora_stream *stream,
                                 uint64_t offset, void *data, uint64_t bytes, oclora_error *err)
{
    OCLORA_TRY(check_range(weight, offset, bytes, err));
    if (!bytes) return OCLORA_OK;
    if (weight->layout == OCLORA_LAYOUT_PLAIN)
        return oclora_stream_read(stream, weight->buffer, weight->offset + offset, data, bytes,
                                  err);
    staging s;
    OCLORA_TRY(staging_open(&s, weight, stream, err));
    oclora_status status = read_panels(&s, offset, data, bytes, err);
    staging_close(&s);
    return status;
}

oclora_status oclora_weight_dequantize(const oclora_weight *weight, oclora_stream *stream,
                                       float *values, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    uint64_t row_bytes = oclora_type_row_bytes(weight->type, weight->d_in);
    unsigned char *plain = oclora_alloc(env, (size_t)weight->bytes, 1);
    if (!plain) return oclora_fail_memory(err, (size_t)weight->bytes, "a base weight's values");
    oclora_status status = oclora_weight_read(weight, stream, 0, plain, weight->bytes, err);
    for (uint64_t o = 0; o < weight->d_out && status == OCLORA_OK; o++)
        status = oclora_dequantize_row(weight->type, plain + o * row_bytes,
                                       values + o * weight->d_in, weight->d_in, err);
    oclora_release(env, plain);
    return status;
}
