#include "plugin/ggml/plugin.h"

#include <string.h>

/* The host computes addresses in a buffer from its base; ours are numbers that no memory lies at,
 * so that a stray access faults at once, and that differ between buffers. */
enum { ADDRESS_GUARD = 1 << 20 };

static const char *type_name(ggml_backend_buffer_type_t type)
{
    return ((oclora_ggml_type *)(void *)type)->device->name;
}

static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return OCLORA_GGML_ALIGNMENT;
}

static size_t type_max_size(ggml_backend_buffer_type_t type)
{
    return (size_t)((oclora_ggml_type *)(void *)type)->device->info.max_alloc_bytes;
}

static oclora_ggml_buffer *context_of(ggml_backend_buffer_t buffer)
{
    return oclora_host_buffer_context(&oclora_ggml_plugin_get()->abi, buffer);
}

static bool is_ours(const oclora_ggml_plugin *plugin, ggml_backend_buffer_t buffer)
{
    ggml_backend_buffer_type_t type = plugin->abi.ggml_backend_buffer_get_type(buffer);
    for (uint32_t i = 0; i < plugin->n_devices; i++)
        if (type == (ggml_backend_buffer_type_t)(const void *)&plugin->devices[i].type) return true;
    return false;
}

oclora_ggml_buffer *oclora_ggml_buffer_of(const oclora_ggml_plugin *plugin,
                                          const struct ggml_tensor *tensor)
{
    ggml_backend_buffer_t buffer = tensor->view_src != NULL && tensor->view_src->buffer != NULL
                                       ? tensor->view_src->buffer
                                       : tensor->buffer;
    if (buffer == NULL || !is_ours(plugin, buffer)) return NULL;
    return oclora_host_buffer_context(&plugin->abi, buffer);
}

/* Offset of a tensor's first byte; false if it does not lie in the buffer. */
static bool offset_of(const oclora_ggml_buffer *buffer, const struct ggml_tensor *tensor,
                      uint64_t at, uint64_t bytes, uint64_t *offset)
{
    uint64_t address = (uint64_t)(uintptr_t)tensor->data;
    if (address < buffer->address || address - buffer->address > buffer->bytes) return false;
    *offset = address - buffer->address + at;
    return *offset <= buffer->bytes && bytes <= buffer->bytes - *offset;
}

/* Calls of the host that cannot fail: what goes wrong stops the next graph instead. */
static void report(oclora_ggml_buffer *buffer, const char *call, const struct ggml_tensor *tensor,
                   oclora_error *err)
{
    oclora_error_prefix(err, err->status, "%s of %s", call, tensor != NULL ? tensor->name : "all");
    oclora_ggml_session_poison(buffer->session, err);
}

static oclora_status write_tensor(oclora_ggml_buffer *buffer, struct ggml_tensor *tensor,
                                  const void *data, uint64_t at, uint64_t size, oclora_error *err)
{
    const oclora_ggml_plugin *plugin = buffer->device->plugin;
    uint64_t offset;
    if (!offset_of(buffer, tensor, at, size, &offset))
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "the range lies outside its buffer");
    if (at != 0 || size != plugin->abi.ggml_nbytes(tensor))
        return oclora_ggml_buffer_write(buffer, offset, data, size, err);
    bool overlap;
    const oclora_weight *weight = oclora_ggml_record_at(buffer, offset, size, &overlap);
    bool same = weight != NULL && weight->type == oclora_host_type((int)tensor->type) &&
                (int64_t)weight->d_in == tensor->ne[0] && strcmp(weight->name, tensor->name) == 0;
    if (same) return oclora_ggml_buffer_write(buffer, offset, data, size, err);
    if (overlap) OCLORA_TRY(oclora_ggml_record_drop(buffer, offset, size, err));
    return oclora_ggml_record_add(buffer, tensor, offset, data, err);
}

/* Before a first graph showed where the KV cache lies, its name does. */
static bool is_cache(const oclora_ggml_buffer *buffer, const struct ggml_tensor *tensor)
{
    return buffer->holds_cache || strncmp(tensor->name, "cache_k", 7) == 0 ||
           strncmp(tensor->name, "cache_v", 7) == 0;
}

static void set_tensor(ggml_backend_buffer_t host, struct ggml_tensor *tensor, const void *data,
                       size_t at, size_t size)
{
    oclora_ggml_buffer *buffer = context_of(host);
    if (is_cache(buffer, tensor))
        oclora_ggml_session_restored(buffer->session, tensor, at, size, NULL);
    oclora_error err = {0};
    pthread_mutex_lock(&buffer->lock);
    pthread_mutex_lock(&buffer->device->lock);
    oclora_status status = write_tensor(buffer, tensor, data, at, size, &err);
    pthread_mutex_unlock(&buffer->device->lock);
    pthread_mutex_unlock(&buffer->lock);
    if (status != OCLORA_OK) report(buffer, "upload", tensor, &err);
}

static void get_tensor(ggml_backend_buffer_t host, const struct ggml_tensor *tensor, void *data,
                       size_t at, size_t size)
{
    oclora_ggml_buffer *buffer = context_of(host);
    oclora_error err = {0};
    uint64_t offset;
    pthread_mutex_lock(&buffer->lock);
    pthread_mutex_lock(&buffer->device->lock);
    oclora_status status =
        offset_of(buffer, tensor, at, size, &offset)
            ? oclora_ggml_buffer_read(buffer, offset, data, size, &err)
            : oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "the range lies outside its buffer");
    pthread_mutex_unlock(&buffer->device->lock);
    pthread_mutex_unlock(&buffer->lock);
    if (status == OCLORA_OK) return;
    memset(data, 0xff, size); /* NaN rather than something that looks like an answer */
    report(buffer, "download", tensor, &err);
}

static oclora_status fill(oclora_ggml_buffer *buffer, uint64_t offset, uint64_t bytes,
                          uint8_t value, oclora_error *err)
{
    if (bytes == 0) return OCLORA_OK;
    OCLORA_TRY(oclora_ggml_record_drop(buffer, offset, bytes, err));
    buffer->device->pending = true;
    return oclora_stream_fill(buffer->device->transfer, buffer->memory, offset, bytes, value, err);
}

static void memset_tensor(ggml_backend_buffer_t host, struct ggml_tensor *tensor, uint8_t value,
                          size_t at, size_t size)
{
    oclora_ggml_buffer *buffer = context_of(host);
    oclora_error err = {0};
    uint64_t offset;
    pthread_mutex_lock(&buffer->lock);
    pthread_mutex_lock(&buffer->device->lock);
    oclora_status status =
        offset_of(buffer, tensor, at, size, &offset)
            ? fill(buffer, offset, size, value, &err)
            : oclora_fail(&err, OCLORA_INVALID_ARGUMENT, "the range lies outside its buffer");
    pthread_mutex_unlock(&buffer->device->lock);
    pthread_mutex_unlock(&buffer->lock);
    if (status != OCLORA_OK) report(buffer, "memset", tensor, &err);
}

static void clear(ggml_backend_buffer_t host, uint8_t value)
{
    oclora_ggml_buffer *buffer = context_of(host);
    oclora_error err = {0};
    pthread_mutex_lock(&buffer->lock);
    pthread_mutex_lock(&buffer->device->lock);
    oclora_status status = fill(buffer, 0, buffer->bytes, value, &err);
    pthread_mutex_unlock(&buffer->device->lock);
    pthread_mutex_unlock(&buffer->lock);
    if (status != OCLORA_OK)
        report(buffer, "clear", NULL, &err);
    else if (buffer->holds_cache)
        oclora_ggml_session_emptied(buffer->session);
}

/* Within one device and between plain bytes only; for all else the host reads and writes. Both
 * buffers are locked in the order of their addresses. */
static bool cpy_tensor(ggml_backend_buffer_t host, const struct ggml_tensor *src,
                       struct ggml_tensor *dst)
{
    oclora_ggml_buffer *to = context_of(host);
    const oclora_ggml_plugin *plugin = to->device->plugin;
    oclora_ggml_buffer *from = oclora_ggml_buffer_of(plugin, src);
    if (from == NULL || from->device != to->device) return false;
    uint64_t bytes = plugin->abi.ggml_nbytes(src), src_offset, dst_offset;
    if (!offset_of(from, src, 0, bytes, &src_offset) || !offset_of(to, dst, 0, bytes, &dst_offset))
        return false;
    if (from == to && src_offset < dst_offset + bytes && dst_offset < src_offset + bytes)
        return false;
    if (is_cache(to, dst)) oclora_ggml_session_restored(to->session, dst, 0, bytes, src);
    oclora_ggml_buffer *first = from->address <= to->address ? from : to;
    pthread_mutex_lock(&first->lock);
    if (from != to) pthread_mutex_lock(first == from ? &to->lock : &from->lock);
    pthread_mutex_lock(&to->device->lock);
    bool from_record, to_record;
    oclora_ggml_record_at(from, src_offset, bytes, &from_record);
    oclora_ggml_record_at(to, dst_offset, bytes, &to_record);
    bool done = !from_record && !to_record &&
                oclora_stream_copy(to->device->transfer, from->memory, src_offset, to->memory,
                                   dst_offset, bytes, NULL) == OCLORA_OK;
    if (done) to->device->pending = true;
    pthread_mutex_unlock(&to->device->lock);
    if (from != to) pthread_mutex_unlock(first == from ? &to->lock : &from->lock);
    pthread_mutex_unlock(&first->lock);
    return done;
}

static void *get_base(ggml_backend_buffer_t host)
{
    return (void *)(uintptr_t)context_of(host)->address;
}

static void destroy(oclora_ggml_buffer *buffer)
{
    const oclora_env *env = &buffer->device->plugin->env;
    bool had_records = buffer->n_records > 0;
    oclora_base *base = buffer->session->part[buffer->device->index].base;
    if (base != NULL && buffer->memory != NULL) oclora_base_remove_buffer(base, buffer->memory);
    if (buffer->memory != NULL) {
        oclora_ggml_device_settle(buffer->device, NULL);
        oclora_buffer_destroy(buffer->memory);
        atomic_fetch_sub(&buffer->device->used_bytes, buffer->bytes);
    }
    if (had_records) oclora_ggml_session_count(buffer->session, buffer->device, -1);
    oclora_ggml_session_release(buffer->session);
    pthread_mutex_destroy(&buffer->lock);
    oclora_release(env, buffer->records);
    oclora_release(env, buffer);
}

static void free_buffer(ggml_backend_buffer_t host)
{
    destroy(context_of(host));
}

static oclora_status create(oclora_ggml_device *device, size_t size, oclora_ggml_buffer **out,
                            oclora_error *err)
{
    oclora_ggml_plugin *plugin = device->plugin;
    OCLORA_TRY(oclora_ggml_device_open(device, err));
    /* Drivers hand out memory lazily and fail, or are killed, when it is touched. */
    uint64_t used = atomic_load(&device->used_bytes);
    if (used > device->info.global_bytes || size > device->info.global_bytes - used)
        return oclora_fail(err, OCLORA_OUT_OF_DEVICE_MEMORY,
                           "the device has %llu bytes, of which %llu are in use",
                           (unsigned long long)device->info.global_bytes, (unsigned long long)used);
    oclora_ggml_buffer *buffer = oclora_alloc(&plugin->env, 1, sizeof *buffer);
    if (buffer == NULL) return oclora_fail_memory(err, sizeof *buffer, "a buffer");
    buffer->device = device;
    buffer->bytes = size;
    pthread_mutex_init(&buffer->lock, NULL);
    oclora_status status = oclora_ggml_handle_bound(&buffer->session, plugin, err);
    if (status == OCLORA_OK)
        status = oclora_buffer_create(&buffer->memory, device->context, size, err);
    if (status != OCLORA_OK) {
        if (buffer->session != NULL) oclora_ggml_session_release(buffer->session);
        pthread_mutex_destroy(&buffer->lock);
        oclora_release(&plugin->env, buffer);
        return status;
    }
    atomic_fetch_add(&device->used_bytes, size);
    pthread_mutex_lock(&plugin->lock);
    buffer->address = plugin->next_base;
    plugin->next_base += (size + 2 * ADDRESS_GUARD) / ADDRESS_GUARD * ADDRESS_GUARD;
    pthread_mutex_unlock(&plugin->lock);
    *out = buffer;
    return OCLORA_OK;
}

static ggml_backend_buffer_t type_alloc(ggml_backend_buffer_type_t type, size_t size)
{
    static const oclora_host_buffer_calls calls = {
        .free_buffer = free_buffer,
        .get_base = get_base,
        .memset_tensor = memset_tensor,
        .set_tensor = set_tensor,
        .get_tensor = get_tensor,
        .cpy_tensor = cpy_tensor,
        .clear = clear,
    };
    oclora_ggml_device *device = ((oclora_ggml_type *)(void *)type)->device;
    oclora_ggml_buffer *buffer = NULL;
    oclora_error err = {0};
    if (create(device, size, &buffer, &err) != OCLORA_OK) {
        oclora_ggml_log(device->plugin, OCLORA_LOG_ERROR, "%s: a buffer of %zu bytes: %s (%s)",
                        device->name, size, err.text, oclora_status_name(err.status));
        return NULL;
    }
    ggml_backend_buffer_t host =
        oclora_host_buffer_create(&device->plugin->abi, type, &calls, buffer, size);
    if (host == NULL) destroy(buffer);
    return host;
}

void oclora_ggml_type_init(oclora_ggml_device *device)
{
    static const oclora_host_type_calls calls = {
        .get_name = type_name,
        .alloc_buffer = type_alloc,
        .get_alignment = type_alignment,
        .get_max_size = type_max_size,
    };
    device->type.device = device;
    oclora_host_fill_type(&device->plugin->abi, &device->type.host, &calls,
                          (ggml_backend_dev_t)(void *)device);
}
