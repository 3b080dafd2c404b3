/* compact.h - one file that holds an adapter as it is served: safetensors whose __metadata__ has
 * the key below. Its value is JSON: version (1), kind, naming, task, n_tasks, architecture, factors
 * [{type, rows, cols}]             tensor "factor.<i>", [rows, cols]; q8_0 as U8 [rows, bytes of a
 * row] modules [{name, d_in, d_out, rank, group, n_mul, a, b, scales_bias, router}] with a, b and
 * the router's gate and gate_b as numbers of factors. Vectors of module m are tensors
 * "vector.<m>.<field>" in f32, the fields' names being those of oclora_module. A router has kind,
 * n_experts, top_k, gate, gate_b and the tensor "vector.<m>.router" [temperature, pair_weight].
 * Factors begin at multiples of 64 bytes of the file; "pad.<i>" (U8) fills the gaps. Numbers of
 * 0 and absent fields mean absent, as in oclora_module. */
#ifndef OCLORA_ADAPTER_COMPACT_H
#define OCLORA_ADAPTER_COMPACT_H

#include "host/adapter/image.h"

#define OCLORA_COMPACT_KEY "oclora_compact"
enum { OCLORA_COMPACT_VERSION = 1, OCLORA_COMPACT_ALIGN = 64 };

/* The f32 vectors of a module, in one order for reader and writer. */
typedef struct oclora_compact_vector {
    const char *field;
    float **values; /* into the module */
    bool plain;     /* one dimension in the file */
    uint64_t rows;
    uint64_t cols;
} oclora_compact_vector;
enum { OCLORA_COMPACT_VECTORS = 9 };
void oclora_compact_vectors(oclora_module *module,
                            oclora_compact_vector out[OCLORA_COMPACT_VECTORS]);

/* Whether a file is of this kind or some other safetensors file, and no GGUF. */
bool oclora_is_safetensors(const oclora_map *map);

/* Fills the image from a mapped file. The factors stay where they are: on success the map belongs
 * to the image and `map` is zeroed. The file must not be changed while the image lives; replace it
 * by renaming another over it. Errors: FILE_FORMAT (no compact adapter, or an inconsistent one;
 * what and where is named), UNKNOWN_KIND, NOT_FINITE, MISSING_TENSOR, SHAPE_MISMATCH,
 * RANK_MISMATCH, NOT_SUPPORTED (version). */
oclora_status oclora_load_compact(oclora_adapter_image *image, oclora_map *map, oclora_error *err);

#endif
