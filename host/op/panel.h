/* panel.h - the base product over a PANEL weight. */
#ifndef OCLORA_OP_PANEL_H
#define OCLORA_OP_PANEL_H

#include "host/op/tensor.h"

/* Rows and panels that a work-item (CPU class) or a group (GPU class, of one panel) takes at a
 * time; with `tile` it converts its part of the weight once for all rows. */
typedef struct oclora_panel_cut {
    uint32_t rows;
    uint32_t panels;
    bool tile;
} oclora_panel_cut;
oclora_panel_cut oclora_panel_cut_of(const oclora_context *context, oclora_type type,
                                     uint32_t rows);
/* The defines of the kernels: type, rows and panels at a time, inputs of a tile. */
void oclora_panel_defines(char *out, size_t size, const oclora_context *context, oclora_type type,
                          oclora_panel_cut cut);

/* y[t] = W x[t] for the `rows` contiguous rows of x and y (checked by the caller). */
oclora_status oclora_panel_matmul(oclora_stream *stream, const oclora_weight *weight,
                                  const oclora_tensor *x, const oclora_tensor *y, uint32_t rows,
                                  oclora_error *err);

#endif
