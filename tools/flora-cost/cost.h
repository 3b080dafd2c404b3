/* cost.h - what LoRA and FLoRA cost in a batch whose examples all have their own adapters. */
#ifndef OCLORA_FLORA_COST_H
#define OCLORA_FLORA_COST_H

#include "tools/shared/layers.h"

enum { OCLORA_COST_RANKS_MAX = 16 };

typedef struct oclora_cost_options {
    const char *device;
    uint32_t device_class;
    uint32_t width;    /* d: inputs and outputs of the layer */
    uint32_t examples; /* b: each with its own adapter */
    uint32_t tokens;   /* l: rows of each */
    uint32_t repeats;
    uint32_t ranks[OCLORA_COST_RANKS_MAX];
    uint32_t n_ranks;
    bool json;
} oclora_cost_options;

typedef struct oclora_cost_row {
    uint32_t rank;
    double segmented; /* seconds: base and all adapters in one call */
    double separate;  /* base in one call, then one call for each example's adapter */
    double flora;
    double difference; /* max|d| / max|ref| between segmented and separate */
} oclora_cost_row;

typedef struct oclora_cost {
    const oclora_cost_options *options;
    oclora_layers device;
    double base; /* seconds of the base product alone */
    oclora_cost_row rows[OCLORA_COST_RANKS_MAX];
} oclora_cost;

/* Measures everything `repeats` times in turns and keeps the shortest of each. */
oclora_status oclora_cost_measure(oclora_cost *cost, oclora_error *err);

/* c1 / c2: seconds per multiplication of the adapters' own products over those of the base product,
 * from what `lora` takes more than the base. */
double oclora_cost_ratio(const oclora_cost *cost, const oclora_cost_row *row, double lora);
/* The paper's 2 c1 / (d c2) + 1 / r; FLoRA is the cheaper one where it is at least 1. */
double oclora_cost_condition(const oclora_cost *cost, const oclora_cost_row *row, double lora);

/* Prints the table. @return false when the two ways of LoRA disagree. */
bool oclora_cost_report(const oclora_cost *cost);

#endif
