#include "plugin/ggml/translate.h"

#include <string.h>

static bool is_empty(const struct ggml_tensor *t)
{
    return t->ne[0] == 0 || t->ne[1] == 0 || t->ne[2] == 0 || t->ne[3] == 0;
}

static bool fill_view(const struct ggml_tensor *t, oclora_tensor *view)
{
    memset(view, 0, sizeof *view);
    view->type = oclora_host_type((int)t->type);
    for (int d = 0; d < 4; d++) {
        view->ne[d] = (uint64_t)t->ne[d];
        view->nb[d] = t->nb[d];
    }
    return view->type != OCLORA_TYPE_COUNT;
}

bool oclora_ggml_supports(const oclora_ggml_plugin *plugin, const oclora_context *context,
                          const struct ggml_tensor *node)
{
    oclora_op_call call = {0};
    call.op = oclora_ggml_params(&plugin->abi, node, &call.params, &call.n_src);
    if (call.op == OCLORA_OP_COUNT) return false;
    if (call.op == OCLORA_OP_NONE) return true;
    if (!fill_view(node, &call.dst)) return false;
    uint32_t limit = call.n_src;
    call.n_src = 0;
    for (uint32_t i = 0; i < GGML_MAX_SRC; i++) {
        if (node->src[i] == NULL) continue;
        if (i >= limit) {
            if (limit == OCLORA_NODE_SOURCES) return false;
            continue;
        }
        if (!fill_view(node->src[i], &call.src[i])) return false;
        call.n_src = i + 1;
    }
    return oclora_op_supported(context, &call);
}

/* ---- numbers of tensors ---- */

static size_t slot_of(const oclora_ggml_translator *tr, const struct ggml_tensor *t)
{
    uint64_t hash = (uint64_t)(uintptr_t)t * 0x9e3779b97f4a7c15u;
    size_t slot = (size_t)(hash >> 32) & (tr->map_size - 1);
    while (tr->map[slot] != 0 && tr->hosts[tr->map[slot] - 1] != t)
        slot = (slot + 1) & (tr->map_size - 1);
    return slot;
}

static oclora_status grow_map(oclora_ggml_translator *tr, size_t size, oclora_error *err)
{
    const oclora_env *env = &tr->device->plugin->env;
    int32_t *map = oclora_alloc(env, size, sizeof *map);
    if (map == NULL) return oclora_fail_memory(err, size * sizeof *map, "a graph");
    oclora_release(env, tr->map);
    tr->map = map;
    tr->map_size = size;
    for (size_t i = 0; i < tr->n_tensors; i++) tr->map[slot_of(tr, tr->hosts[i])] = (int32_t)i + 1;
    return OCLORA_OK;
}

static oclora_status locate(const oclora_ggml_translator *tr, const struct ggml_tensor *t,
                            oclora_tensor *view, oclora_error *err)
{
    const oclora_ggml_buffer *buffer = oclora_ggml_buffer_of(tr->device->plugin, t);
    uint64_t address = (uint64_t)(uintptr_t)t->data;
    if (buffer == NULL || buffer->device != tr->device || address < buffer->address ||
        address - buffer->address > buffer->bytes)
        return oclora_fail(err, OCLORA_WEIGHT_NOT_ON_DEVICE, "tensor '%s' does not lie on %s",
                           t->name, tr->device->name);
    view->buffer = buffer->memory;
    view->offset = address - buffer->address;
    return OCLORA_OK;
}

static oclora_status add_tensor(oclora_ggml_translator *tr, const struct ggml_tensor *t,
                                int32_t *number, oclora_error *err)
{
    const oclora_env *env = &tr->device->plugin->env;
    if (2 * (tr->n_tensors + 2) > tr->map_size)
        OCLORA_TRY(grow_map(tr, tr->map_size != 0 ? 2 * tr->map_size : 4096, err));
    size_t slot = slot_of(tr, t);
    *number = tr->map[slot] - 1;
    if (*number >= 0) return OCLORA_OK;
    OCLORA_TRY(oclora_reserve(env, &tr->tensors, &tr->tensors_capacity, tr->n_tensors + 1,
                              sizeof *tr->tensors, err));
    OCLORA_TRY(oclora_reserve(env, &tr->hosts, &tr->hosts_capacity, tr->n_tensors + 1,
                              sizeof *tr->hosts, err));
    oclora_graph_tensor tensor = {.producer = -1};
    if (!fill_view(t, &tensor.view))
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "tensor '%s' has a type (%s) that is not "
                           "supported",
                           t->name, tr->device->plugin->abi.ggml_type_name(t->type));
    if (!is_empty(t)) OCLORA_TRY(locate(tr, t, &tensor.view, err));
    if ((t->flags & GGML_TENSOR_FLAG_INPUT) != 0) tensor.flags |= OCLORA_TENSOR_INPUT;
    if ((t->flags & GGML_TENSOR_FLAG_OUTPUT) != 0) tensor.flags |= OCLORA_TENSOR_OUTPUT;
    *number = (int32_t)tr->n_tensors++;
    tensor.root = *number;
    tr->tensors[*number] = tensor;
    tr->hosts[*number] = t;
    tr->map[slot] = *number + 1;
    if (t->view_src == NULL || t->view_src == t) return OCLORA_OK;
    int32_t root;
    OCLORA_TRY(add_tensor(tr, t->view_src, &root, err)); /* the host keeps views one deep */
    tr->tensors[*number].root = tr->tensors[root].root;
    return OCLORA_OK;
}

/* ---- weights ---- */

/* What the engine's linear layer takes beside a weight: rows of floats at one stride. */
static bool has_plain_rows(const struct ggml_tensor *x)
{
    return x->type == GGML_TYPE_F32 && x->nb[0] == sizeof(float) &&
           (x->ne[2] == 1 || x->nb[2] == x->nb[1] * (size_t)x->ne[1]) &&
           (x->ne[3] == 1 || x->nb[3] == x->nb[2] * (size_t)x->ne[2]);
}

/* Looks for a weight under source `index` of a node. One that is used otherwise than in a product
 * is put into ggml's order, in place and for good. */
static oclora_status find_weight(oclora_ggml_translator *tr, const struct ggml_tensor *node,
                                 uint32_t op, uint32_t index, int32_t number, oclora_error *err)
{
    const oclora_ggml_plugin *plugin = tr->device->plugin;
    const struct ggml_tensor *t = node->src[index];
    oclora_ggml_buffer *buffer = oclora_ggml_buffer_of(plugin, t);
    if (buffer == NULL || is_empty(t)) return OCLORA_OK;
    oclora_graph_tensor *tensor = &tr->tensors[number];
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&buffer->lock);
    oclora_base *base = buffer->session->part[tr->device->index].base;
    if (tr->weights == NULL && base != NULL) {
        tr->weights = base;
        tr->weights_changes = oclora_base_changes(base);
    }
    bool overlap;
    uint64_t bytes = plugin->abi.ggml_nbytes(t);
    const oclora_weight *weight =
        oclora_ggml_record_at(buffer, tensor->view.offset, bytes, &overlap);
    bool whole = weight != NULL && weight->type == tensor->view.type &&
                 weight->d_in == tensor->view.ne[0] && weight->d_out == tensor->view.ne[1];
    bool product = op == OCLORA_OP_MUL_MAT && index == 0 && has_plain_rows(node->src[1]);
    if (overlap && !(whole && product)) {
        pthread_mutex_lock(&tr->device->lock);
        status = oclora_ggml_record_unpack(buffer, tensor->view.offset, bytes, err);
        pthread_mutex_unlock(&tr->device->lock);
    }
    /* Named also where only a part of it or other rows are multiplied: an adapter's share of that
     * cannot be computed, and must not be left out either. */
    if (overlap && index == 0 && (op == OCLORA_OP_MUL_MAT || op == OCLORA_OP_MUL_MAT_ID)) {
        tensor->weight = oclora_ggml_record_first(buffer, tensor->view.offset);
        tensor->weight_id = tensor->weight->id;
        tensor->flags |= OCLORA_TENSOR_WEIGHT;
        if (base != tr->base) tr->foreign = true;
    }
    pthread_mutex_unlock(&buffer->lock);
    return status;
}

/* A node that writes where a weight lay ends the weight. */
static oclora_status claim_destination(oclora_ggml_translator *tr, const struct ggml_tensor *node,
                                       uint32_t op, int32_t number, oclora_error *err)
{
    const oclora_ggml_plugin *plugin = tr->device->plugin;
    oclora_ggml_buffer *buffer = oclora_ggml_buffer_of(plugin, node);
    if (buffer == NULL) return OCLORA_OK;
    oclora_status status = OCLORA_OK;
    pthread_mutex_lock(&buffer->lock);
    if (op == OCLORA_OP_SET_ROWS) buffer->holds_cache = true;
    if (buffer->n_records > 0) {
        pthread_mutex_lock(&tr->device->lock);
        status = oclora_ggml_record_drop(buffer, tr->tensors[number].view.offset,
                                         plugin->abi.ggml_nbytes(node), err);
        pthread_mutex_unlock(&tr->device->lock);
    }
    pthread_mutex_unlock(&buffer->lock);
    return status;
}

/* ---- nodes ---- */

static oclora_status add_sources(oclora_ggml_translator *tr, const struct ggml_tensor *host,
                                 uint32_t limit, oclora_node *node, oclora_error *err)
{
    for (uint32_t i = 0; i < OCLORA_NODE_SOURCES; i++) {
        node->src[i] = -1;
        if (i >= limit || host->src[i] == NULL) continue;
        OCLORA_TRY(add_tensor(tr, host->src[i], &node->src[i], err));
        if (node->op != OCLORA_OP_NONE)
            OCLORA_TRY(find_weight(tr, host, node->op, i, node->src[i], err));
    }
    return OCLORA_OK;
}

static oclora_status add_node(oclora_ggml_translator *tr, const struct ggml_tensor *host,
                              oclora_error *err)
{
    const oclora_ggml_plugin *plugin = tr->device->plugin;
    oclora_node node = {0};
    uint32_t limit = 0;
    node.op = oclora_ggml_params(&plugin->abi, host, &node.params, &limit);
    if (node.op == OCLORA_OP_COUNT)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "operator %s ('%s') is not supported",
                           plugin->abi.ggml_op_name((int)host->op), host->name);
    if (is_empty(host)) return OCLORA_OK;
    OCLORA_TRY(add_sources(tr, host, limit, &node, err));
    OCLORA_TRY(add_tensor(tr, host, &node.dst, err));
    if (node.op != OCLORA_OP_NONE) {
        OCLORA_TRY(claim_destination(tr, host, node.op, node.dst, err));
        tr->tensors[node.dst].producer = (int32_t)tr->n_nodes;
    }
    OCLORA_TRY(oclora_reserve(&plugin->env, &tr->nodes, &tr->nodes_capacity, tr->n_nodes + 1,
                              sizeof *tr->nodes, err));
    tr->nodes[tr->n_nodes++] = node;
    return OCLORA_OK;
}

oclora_status oclora_ggml_translate(oclora_ggml_translator *tr, struct ggml_cgraph *graph,
                                    oclora_graph *out, oclora_error *err)
{
    const oclora_host *host = &tr->device->plugin->abi;
    tr->n_tensors = 0;
    tr->n_nodes = 0;
    tr->foreign = false;
    tr->weights = NULL;
    if (tr->map != NULL) memset(tr->map, 0, tr->map_size * sizeof *tr->map);
    int count = host->ggml_graph_n_nodes(graph);
    for (int i = 0; i < count; i++) {
        const struct ggml_tensor *node = host->ggml_graph_node(graph, i);
        if (host->marks_compute && (node->flags & GGML_TENSOR_FLAG_COMPUTE) == 0) continue;
        OCLORA_TRY(add_node(tr, node, err));
    }
    *out = (oclora_graph){tr->tensors, tr->nodes, (uint32_t)tr->n_tensors, (uint32_t)tr->n_nodes};
    return OCLORA_OK;
}

void oclora_ggml_translator_free(oclora_ggml_translator *tr)
{
    const oclora_env *env = &tr->device->plugin->env;
    oclora_release(env, tr->tensors);
    oclora_release(env, tr->hosts);
    oclora_release(env, tr->nodes);
    oclora_release(env, tr->map);
}
