/* translate.h - the host's graph in the engine's terms. */
#ifndef OCLORA_GGML_TRANSLATE_H
#define OCLORA_GGML_TRANSLATE_H

#include "host/op/ops.h"
#include "plugin/ggml/plugin.h"

/* Room for one graph, reused by the next. Thread rule: its backend's thread. */
typedef struct oclora_ggml_translator {
    oclora_ggml_device *device;
    oclora_graph_tensor *tensors;
    const struct ggml_tensor **hosts; /* [n_tensors] the host's tensor of each number */
    size_t n_tensors, tensors_capacity, hosts_capacity;
    oclora_node *nodes;
    size_t n_nodes, nodes_capacity;
    int32_t *map; /* open addressing: number + 1, 0 = free */
    size_t map_size;
    const oclora_base *base;  /* set by the caller: where adapters expect the weights, or NULL */
    bool foreign;             /* some weight of the last graph is not of that base */
    oclora_base *weights;     /* of the weights found, NULL if none was */
    uint64_t weights_changes; /* of it, before the first was looked for */
} oclora_ggml_translator;

/* Translates `graph`; `*out` points into the translator and lives until the next call. Weights that
 * the graph uses otherwise than as the left side of a product are put into ggml's order first.
 * Errors: NOT_SUPPORTED (operator or type, named), WEIGHT_NOT_ON_DEVICE (a tensor lies elsewhere).
 */
oclora_status oclora_ggml_translate(oclora_ggml_translator *translator, struct ggml_cgraph *graph,
                                    oclora_graph *out, oclora_error *err);
void oclora_ggml_translator_free(oclora_ggml_translator *translator);

/* Whether the engine computes this node on this device: types and shapes only. */
bool oclora_ggml_supports(const oclora_ggml_plugin *plugin, const oclora_context *context,
                          const struct ggml_tensor *node);

/* params.c: the engine's operator of a node, its parameters and how many sources it takes.
 * OCLORA_OP_COUNT: none. */
uint32_t oclora_ggml_params(const oclora_host *host, const struct ggml_tensor *node,
                            oclora_node_params *params, uint32_t *n_src);

#endif
