/* An adapter image meets the base it is served on: every module finds its weight, fits it, and is
 * described as pieces of device memory. Runs without the pool's locks. */
#include "host/adapter/bind.h"
#include "host/adapter/pool_private.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

enum { NAMES_SHOWN = 4, VECTOR_ALIGN = 64 };

static const oclora_weight *find_weight(oclora_base *base, const char *module)
{
    char name[OCLORA_WEIGHT_NAME];
    const oclora_weight *weight = oclora_base_find(base, module);
    if (weight != NULL) return weight;
    const int length = snprintf(name, sizeof name, "%s.weight", module);
    if (length > 0 && (size_t)length < sizeof name) weight = oclora_base_find(base, name);
    if (weight != NULL) return weight;
    /* A tied output matrix reaches the device under the embedding's name. */
    if (strcmp(module, "output") == 0) return find_weight(base, "token_embd");
    return NULL;
}

static oclora_status check_targets(oclora_base *base, const char *name,
                                   const oclora_adapter_image *image, oclora_error *err)
{
    char missing[320] = "";
    size_t n_missing = 0;
    for (size_t i = 0; i < image->n_modules; i++) {
        const char *module = image->modules[i].name;
        if (find_weight(base, module) != NULL) continue;
        const size_t used = strlen(missing);
        if (n_missing++ < NAMES_SHOWN)
            snprintf(missing + used, sizeof missing - used, "%s%.72s", used > 0 ? ", " : "",
                     module);
    }
    if (n_missing == 0) return OCLORA_OK;
    return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                       "adapter '%s': %zu of %zu modules have no base weight on this device: %s%s; "
                       "%zu match",
                       name, n_missing, image->n_modules, missing,
                       n_missing > NAMES_SHOWN ? ", ..." : "", image->n_modules - n_missing);
}

/* Calls `resolve` with the dequantised rows a module needs from the base. */
static oclora_status resolve_norms(oclora_pool *pool, const oclora_weight *weight,
                                   oclora_adapter_image *image, oclora_module *module,
                                   oclora_error *err)
{
    const size_t count = (size_t)weight->d_in * weight->d_out;
    float *values = oclora_alloc(&pool->env, count, sizeof *values);
    if (values == NULL)
        return oclora_fail_memory(err, count * sizeof *values, "a base weight in f32");
    oclora_stream *stream = NULL;
    oclora_status status = oclora_stream_create(&stream, pool->context, err);
    if (status == OCLORA_OK) status = oclora_weight_dequantize(weight, stream, values, err);
    if (status == OCLORA_OK)
        status = oclora_dora_resolve(image, module, values, 0, weight->d_out, err);
    oclora_stream_destroy(stream);
    oclora_release(&pool->env, values);
    return status;
}

/* A base that has biases holds them as weights [d_out, 1] called "<module>.bias". */
static oclora_status resolve_bias(oclora_pool *pool, const oclora_weight *weight,
                                  oclora_adapter_image *image, oclora_module *module,
                                  oclora_pool_site *site, oclora_error *err)
{
    char name[OCLORA_WEIGHT_NAME];
    const int length = snprintf(name, sizeof name, "%s.bias", module->name);
    if (length <= 0 || (size_t)length >= sizeof name) return OCLORA_OK;
    const oclora_weight *bias = oclora_base_find(pool->base, name);
    if (bias == NULL) return OCLORA_OK;
    site->bias_id = bias->id;
    site->bias_version = bias->version;
    if ((uint64_t)bias->d_in * bias->d_out != weight->d_out)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "%s has %u x %u values, its weight %u rows",
                           name, bias->d_out, bias->d_in, weight->d_out);
    float *values = oclora_alloc(&pool->env, weight->d_out, sizeof *values);
    if (values == NULL) return oclora_fail_memory(err, weight->d_out * sizeof *values, name);
    oclora_stream *stream = NULL;
    oclora_status status = oclora_stream_create(&stream, pool->context, err);
    if (status == OCLORA_OK) status = oclora_weight_dequantize(bias, stream, values, err);
    if (status == OCLORA_OK) status = oclora_bias_resolve(image, module, values, err);
    oclora_stream_destroy(stream);
    oclora_release(&pool->env, values);
    return status;
}

static oclora_status bind_module(oclora_pool *pool, oclora_adapter_image *image,
                                 oclora_module *module, oclora_pool_site *site, oclora_error *err)
{
    const oclora_weight *weight = find_weight(pool->base, module->name);
    if (weight->ambiguous)
        return oclora_fail(err, OCLORA_AMBIGUOUS_WEIGHT,
                           "module %s: two loaded models hold a weight of this name; load one of "
                           "them in a session of its own",
                           module->name);
    OCLORA_TRY(oclora_module_bind(image, module, weight->d_in, weight->d_out, err));
    if (oclora_module_needs_norms(module))
        OCLORA_TRY(resolve_norms(pool, weight, image, module, err));
    site->bias_id = OCLORA_POOL_ABSENT;
    if (module->scales_bias) OCLORA_TRY(resolve_bias(pool, weight, image, module, site, err));
    site->weight_id = weight->id;
    site->weight_version = weight->version;
    return OCLORA_OK;
}

/* Index of the part with these contents, new or already there; ABSENT for an absent factor. */
static uint32_t part_of(oclora_pool_adapter *adapter, const oclora_factor *factor)
{
    if (factor->data == NULL || factor->rows == 0) return OCLORA_POOL_ABSENT;
    oclora_pool_part part = {.host = factor->data, .bytes = oclora_factor_bytes(factor)};
    memcpy(&part.key, factor->hash, sizeof part.key);
    for (size_t i = 0; i < adapter->n_parts; i++) {
        const oclora_pool_part *other = &adapter->parts[i];
        if (other->key == part.key && other->bytes == part.bytes &&
            (other->host == part.host || memcmp(other->host, part.host, (size_t)part.bytes) == 0))
            return (uint32_t)i;
    }
    adapter->parts[adapter->n_parts] = part;
    return (uint32_t)adapter->n_parts++;
}

typedef struct vector_view {
    const float *values;
    uint64_t count;
} vector_view;

/* In the order of oclora_lane's fields scale ... mul_v, pairs. */
static void vectors_of(const oclora_module *m, vector_view out[OCLORA_POOL_VECTORS])
{
    const vector_view views[OCLORA_POOL_VECTORS] = {
        {m->scale, m->rank},
        {m->core, (uint64_t)m->rank * m->rank},
        {m->u, m->d_out},
        {m->beta, m->d_out},
        {m->c, m->d_out},
        {m->mul_u, (uint64_t)m->n_mul * m->d_out},
        {m->mul_v, (uint64_t)m->n_mul * m->d_in},
        {m->router.pair_table,
         (uint64_t)m->router.top_k * m->router.n_experts * m->router.n_experts},
    };
    memcpy(out, views, sizeof views);
}

/* All f32 vectors of an adapter travel as one piece: one block and one transfer instead of several
 * per module. */
static oclora_status pack_vectors(oclora_pool *pool, oclora_pool_adapter *adapter,
                                  oclora_error *err)
{
    const oclora_adapter_image *image = adapter->image;
    vector_view views[OCLORA_POOL_VECTORS];
    uint64_t bytes = 0;
    for (size_t i = 0; i < image->n_modules; i++) {
        vectors_of(&image->modules[i], views);
        for (uint32_t v = 0; v < OCLORA_POOL_VECTORS; v++) {
            const bool present = views[v].values != NULL && views[v].count > 0;
            adapter->sites[i].vectors[v] = present ? bytes : UINT64_MAX;
            if (present)
                bytes += (views[v].count * sizeof(float) + VECTOR_ALIGN - 1) / VECTOR_ALIGN *
                         VECTOR_ALIGN;
        }
    }
    if (bytes == 0) return OCLORA_OK;
    adapter->vectors = oclora_alloc(&pool->env, (size_t)bytes, 1);
    if (adapter->vectors == NULL) return oclora_fail_memory(err, (size_t)bytes, adapter->name);
    adapter->vector_bytes = bytes;
    for (size_t i = 0; i < image->n_modules; i++) {
        vectors_of(&image->modules[i], views);
        for (uint32_t v = 0; v < OCLORA_POOL_VECTORS; v++) {
            const uint64_t at = adapter->sites[i].vectors[v];
            if (at != UINT64_MAX)
                memcpy(adapter->vectors + at, views[v].values,
                       (size_t)views[v].count * sizeof(float));
        }
    }
    uint8_t hash[EVP_MAX_MD_SIZE];
    if (EVP_Digest(adapter->vectors, (size_t)bytes, hash, NULL, EVP_sha256(), NULL) != 1)
        return oclora_fail(err, OCLORA_INTERNAL, "adapter '%s': SHA-256 failed", adapter->name);
    oclora_pool_part part = {.host = adapter->vectors, .bytes = bytes};
    memcpy(&part.key, hash, sizeof part.key);
    adapter->parts[adapter->n_parts++] = part;
    return OCLORA_OK;
}

static void describe_site(oclora_pool_adapter *adapter, const oclora_module *module,
                          oclora_pool_site *site)
{
    const oclora_router *router = &module->router;
    site->a = part_of(adapter, &module->a);
    site->b = part_of(adapter, &module->b);
    site->gate = OCLORA_POOL_ABSENT;
    site->gate_b = OCLORA_POOL_ABSENT;
    site->shape.rank = module->rank;
    site->shape.group = module->group == 0 ? 1 : module->group;
    site->shape.type_a = module->a.type;
    site->shape.type_b = module->b.type;
    site->shape.n_mul = module->n_mul;
    if (router->kind != OCLORA_ROUTER_NONE) {
        site->gate = part_of(adapter, &router->gate);
        site->shape.router = router->kind | router->top_k << 8 | router->n_experts << 16;
        site->shape.temperature = router->temperature;
        site->shape.type_gate = router->gate.type;
    }
    if (router->kind == OCLORA_ROUTER_PAIRS) {
        site->gate_b = part_of(adapter, &router->gate_b);
        site->shape.type_gate |= router->gate_b.type << 8;
        site->shape.temperature = router->pair_weight;
    }
    if (adapter->rank_min == 0 || module->rank < adapter->rank_min)
        adapter->rank_min = module->rank;
    if (module->rank > adapter->rank_max) adapter->rank_max = module->rank;
}

/* Insertion sort: modules come sorted by name, so weights registered in a sane order nearly are. */
static oclora_status sort_sites(oclora_pool_adapter *adapter, oclora_error *err)
{
    oclora_pool_site *sites = adapter->sites;
    for (size_t i = 1; i < adapter->n_sites; i++) {
        const oclora_pool_site site = sites[i];
        size_t at = i;
        for (; at > 0 && sites[at - 1].weight_id > site.weight_id; at--) sites[at] = sites[at - 1];
        if (at > 0 && sites[at - 1].weight_id == site.weight_id)
            return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                               "adapter '%s': two modules adapt the same base weight (number %u)",
                               adapter->name, site.weight_id);
        sites[at] = site;
    }
    return OCLORA_OK;
}

/* With the base held: a weight that another thread frees meanwhile is gone before or after, and one
 * that it uploads is there whole or not at all. */
static oclora_status bind_modules(oclora_pool *pool, oclora_pool_adapter *adapter,
                                  oclora_error *err)
{
    oclora_adapter_image *image = adapter->image;
    oclora_base_hold(pool->base);
    adapter->base_changes = oclora_base_changes(pool->base);
    oclora_status status = check_targets(pool->base, adapter->name, image, err);
    const bool found = status == OCLORA_OK;
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++) {
        adapter->sites[i].module = (uint32_t)i;
        status = bind_module(pool, image, &image->modules[i], &adapter->sites[i], err);
        if (status == OCLORA_OK) describe_site(adapter, &image->modules[i], &adapter->sites[i]);
    }
    oclora_base_let_go(pool->base);
    if (status == OCLORA_OK || !found) return status;
    return oclora_error_prefix(err, status, "adapter '%s'", adapter->name);
}

oclora_status oclora_pool_adapter_create(oclora_pool_adapter **out, oclora_pool *pool,
                                         const char *name, oclora_adapter_image *image,
                                         oclora_error *err)
{
    if (image->n_modules == 0)
        return oclora_fail(err, OCLORA_MODULE_MISMATCH, "adapter '%s' adapts no module", name);
    oclora_pool_adapter *adapter = oclora_alloc(&pool->env, 1, sizeof *adapter);
    if (adapter == NULL) return oclora_fail_memory(err, sizeof *adapter, name);
    oclora_status status = OCLORA_OK;
    snprintf(adapter->name, sizeof adapter->name, "%s", name);
    adapter->image = image;
    adapter->state = OCLORA_ADAPTER_HOST;
    adapter->n_sites = image->n_modules;
    adapter->sites = oclora_alloc(&pool->env, image->n_modules, sizeof *adapter->sites);
    adapter->parts = oclora_alloc(&pool->env, image->n_modules * 4 + 1, sizeof *adapter->parts);
    if (adapter->sites == NULL || adapter->parts == NULL) {
        status = oclora_fail_memory(err, image->n_modules * sizeof *adapter->sites, name);
        goto fail;
    }
    status = bind_modules(pool, adapter, err);
    if (status != OCLORA_OK) goto fail;
    status = pack_vectors(pool, adapter, err);
    if (status == OCLORA_OK) status = sort_sites(adapter, err);
    if (status != OCLORA_OK) goto fail;
    for (size_t i = 0; i < adapter->n_parts; i++)
        adapter->device_bytes += oclora_arena_round(adapter->parts[i].bytes);
    *out = adapter;
    return OCLORA_OK;

fail:
    adapter->image = NULL; /* stays the caller's */
    oclora_pool_adapter_destroy(pool, adapter);
    return status;
}

void oclora_pool_adapter_destroy(oclora_pool *pool, oclora_pool_adapter *adapter)
{
    if (adapter == NULL) return;
    oclora_adapter_image_destroy(adapter->image);
    oclora_release(&pool->env, adapter->vectors);
    oclora_release(&pool->env, adapter->parts);
    oclora_release(&pool->env, adapter->sites);
    oclora_release(&pool->env, adapter);
}
