#include "host/base/weight.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct entry {
    oclora_weight *weight; /* NULL once removed; ids are never reused */
    uint32_t hash;
} entry;

struct oclora_base {
    oclora_env env;
    oclora_context *context;
    pthread_mutex_t gate; /* held by who waits for `use`, so that users cannot starve a change */
    pthread_rwlock_t use; /* read: weights are used; write: they come and go. Taken before `lock` */
    pthread_mutex_t lock;
    entry *entries;
    size_t count;
    size_t capacity;
    uint64_t changes;
};

static uint32_t name_hash(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

oclora_status oclora_base_create(oclora_base **out, oclora_context *context, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(context);
    oclora_base *base = oclora_alloc(env, 1, sizeof *base);
    if (!base) return oclora_fail_memory(err, sizeof *base, "a registry of base weights");
    base->env = *env;
    base->context = context;
    const bool has_lock = pthread_mutex_init(&base->lock, NULL) == 0;
    const bool has_gate = has_lock && pthread_mutex_init(&base->gate, NULL) == 0;
    if (!has_gate || pthread_rwlock_init(&base->use, NULL)) {
        if (has_gate) pthread_mutex_destroy(&base->gate);
        if (has_lock) pthread_mutex_destroy(&base->lock);
        oclora_release(env, base);
        return oclora_fail(err, OCLORA_INTERNAL, "a mutex could not be made for base weights");
    }
    *out = base;
    return OCLORA_OK;
}

void oclora_base_hold(oclora_base *base)
{
    pthread_mutex_lock(&base->gate);
    pthread_rwlock_rdlock(&base->use);
    pthread_mutex_unlock(&base->gate);
}
void oclora_base_change(oclora_base *base)
{
    pthread_mutex_lock(&base->gate);
    pthread_rwlock_wrlock(&base->use);
    pthread_mutex_unlock(&base->gate);
}
void oclora_base_let_go(oclora_base *base)
{
    pthread_rwlock_unlock(&base->use);
}

void oclora_base_destroy(oclora_base *base)
{
    if (!base) return;
    oclora_env env = base->env;
    for (size_t i = 0; i < base->count; i++) oclora_release(&env, base->entries[i].weight);
    oclora_release(&env, base->entries);
    pthread_mutex_destroy(&base->lock);
    pthread_mutex_destroy(&base->gate);
    pthread_rwlock_destroy(&base->use);
    oclora_release(&env, base);
}

static oclora_status check_weight(const char *name, oclora_type type, uint32_t d_in, uint32_t d_out,
                                  const oclora_buffer *buffer, uint64_t offset, uint64_t bytes,
                                  oclora_error *err)
{
    if (strlen(name) >= OCLORA_WEIGHT_NAME)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the weight name '%.40s...' is longer than %d bytes", name,
                           OCLORA_WEIGHT_NAME - 1);
    if (!bytes)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "weight '%s' [%u, %u] is empty or not whole "
                           "blocks of type %s",
                           name, (unsigned)d_out, (unsigned)d_in, oclora_type_name(type));
    uint64_t room = oclora_buffer_bytes(buffer);
    if (offset > room || bytes > room - offset)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "weight '%s' (%llu bytes at %llu) does not fit its buffer of %llu", name,
                           (unsigned long long)bytes, (unsigned long long)offset,
                           (unsigned long long)room);
    return OCLORA_OK;
}

/* Sets `ambiguous` of all live weights of the name: more than one means none can be told apart. */
static void mark_ambiguous(oclora_base *base, uint32_t hash, const char *name)
{
    uint32_t live = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < base->count; i++) {
            entry *e = &base->entries[i];
            if (!e->weight || e->hash != hash || strcmp(e->weight->name, name)) continue;
            if (pass)
                e->weight->ambiguous = live > 1;
            else
                live++;
        }
}

oclora_status oclora_base_add(oclora_base *base, const char *name, oclora_type type, uint32_t d_in,
                              uint32_t d_out, oclora_buffer *buffer, uint64_t offset,
                              const oclora_weight **out, oclora_error *err)
{
    uint64_t bytes = oclora_type_row_bytes(type, d_in) * d_out;
    OCLORA_TRY(check_weight(name, type, d_in, d_out, buffer, offset, bytes, err));
    oclora_weight *weight = oclora_alloc(&base->env, 1, sizeof *weight);
    if (!weight) return oclora_fail_memory(err, sizeof *weight, "a base weight's record");
    memcpy(weight->name, name, strlen(name) + 1);
    weight->type = type;
    char defines[24];
    snprintf(defines, sizeof defines, "-DTYPE=%u", type);
    const bool panel = oclora_panel_fits(type, d_in, d_out) &&
                       oclora_context_kernel_enabled(base->context, "matmul_panel", defines);
    weight->layout = panel ? OCLORA_LAYOUT_PANEL : OCLORA_LAYOUT_PLAIN;
    weight->d_in = d_in;
    weight->d_out = d_out;
    weight->buffer = buffer;
    weight->offset = offset;
    weight->bytes = bytes;
    pthread_mutex_lock(&base->lock);
    oclora_status status = oclora_reserve(&base->env, &base->entries, &base->capacity,
                                          base->count + 1, sizeof *base->entries, err);
    if (status == OCLORA_OK) {
        weight->id = (uint32_t)base->count;
        entry *e = &base->entries[base->count++];
        e->weight = weight;
        e->hash = name_hash(name);
        mark_ambiguous(base, e->hash, name);
        *out = weight;
    }
    pthread_mutex_unlock(&base->lock);
    if (status != OCLORA_OK) oclora_release(&base->env, weight);
    return status;
}

static void remove_entry(oclora_base *base, entry *e)
{
    oclora_weight *weight = e->weight;
    e->weight = NULL;
    base->changes++;
    if (weight->ambiguous) mark_ambiguous(base, e->hash, weight->name);
    oclora_release(&base->env, weight);
}

void oclora_base_remove(oclora_base *base, const oclora_weight *weight)
{
    oclora_base_change(base);
    pthread_mutex_lock(&base->lock);
    remove_entry(base, &base->entries[weight->id]);
    pthread_mutex_unlock(&base->lock);
    oclora_base_let_go(base);
}

void oclora_base_rewritten(oclora_base *base, const oclora_weight *weight)
{
    pthread_mutex_lock(&base->lock);
    base->entries[weight->id].weight->version++;
    base->changes++;
    pthread_mutex_unlock(&base->lock);
}

uint64_t oclora_base_changes(oclora_base *base)
{
    pthread_mutex_lock(&base->lock);
    const uint64_t changes = base->changes;
    pthread_mutex_unlock(&base->lock);
    return changes;
}

bool oclora_base_keeps(oclora_base *base, uint32_t id, uint32_t version)
{
    pthread_mutex_lock(&base->lock);
    const oclora_weight *weight = id < base->count ? base->entries[id].weight : NULL;
    const bool keeps = weight != NULL && weight->version == version;
    pthread_mutex_unlock(&base->lock);
    return keeps;
}

static oclora_status unpack(oclora_base *base, const oclora_weight *weight, oclora_stream *stream,
                            oclora_error *err)
{
    if (weight->layout == OCLORA_LAYOUT_PLAIN) return OCLORA_OK;
    unsigned char *plain = oclora_alloc(&base->env, (size_t)weight->bytes, 1);
    if (!plain) return oclora_fail_memory(err, (size_t)weight->bytes, "unpacking a base weight");
    oclora_status status = oclora_weight_read(weight, stream, 0, plain, weight->bytes, err);
    if (status == OCLORA_OK)
        status =
            oclora_stream_write(stream, weight->buffer, weight->offset, plain, weight->bytes, err);
    if (status == OCLORA_OK) status = oclora_stream_finish(stream, err);
    if (status == OCLORA_OK) base->entries[weight->id].weight->layout = OCLORA_LAYOUT_PLAIN;
    oclora_release(&base->env, plain);
    return status;
}

oclora_status oclora_base_unpack(oclora_base *base, const oclora_weight *weight,
                                 oclora_stream *stream, oclora_error *err)
{
    oclora_base_change(base);
    const oclora_status status = unpack(base, weight, stream, err);
    oclora_base_let_go(base);
    return status;
}

void oclora_base_remove_buffer(oclora_base *base, const oclora_buffer *buffer)
{
    oclora_base_change(base);
    pthread_mutex_lock(&base->lock);
    for (size_t i = 0; i < base->count; i++) {
        entry *e = &base->entries[i];
        if (e->weight && e->weight->buffer == buffer) remove_entry(base, e);
    }
    pthread_mutex_unlock(&base->lock);
    oclora_base_let_go(base);
}

const oclora_weight *oclora_base_find(oclora_base *base, const char *name)
{
    uint32_t hash = name_hash(name);
    const oclora_weight *found = NULL;
    pthread_mutex_lock(&base->lock);
    for (size_t i = 0; i < base->count && !found; i++) {
        const entry *e = &base->entries[i];
        if (e->weight && e->hash == hash && !strcmp(e->weight->name, name)) found = e->weight;
    }
    pthread_mutex_unlock(&base->lock);
    return found;
}

const oclora_weight *oclora_base_find_id(oclora_base *base, uint32_t id)
{
    pthread_mutex_lock(&base->lock);
    const oclora_weight *found = id < base->count ? base->entries[id].weight : NULL;
    pthread_mutex_unlock(&base->lock);
    return found;
}

uint32_t oclora_base_id_limit(oclora_base *base)
{
    pthread_mutex_lock(&base->lock);
    uint32_t limit = (uint32_t)base->count;
    pthread_mutex_unlock(&base->lock);
    return limit;
}
