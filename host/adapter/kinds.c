/* The table of kinds. A new kind is a row here and a loader in its own file. */
#include "host/adapter/loader.h"

#include <string.h>

static const oclora_kind_loader loaders[] = {
    {"LORA",
     OCLORA_KIND_LORA,
     {".lora_A.weight", ".lora_B.weight", ".lora_B.bias", ".lora_magnitude_vector"},
     oclora_lora_prepare,
     oclora_lora_module},
    {"QALORA",
     OCLORA_KIND_QALORA,
     {".lora_A.weight", ".lora_B.weight"},
     NULL,
     oclora_qalora_module},
    {"COLA", OCLORA_KIND_COLA, {".lora_A.#.weight", ".lora_B.#.weight"}, NULL, oclora_chain_module},
    {"RAC_LORA",
     OCLORA_KIND_RAC_LORA,
     {".lora_A.#.weight", ".lora_B.#.weight"},
     NULL,
     oclora_chain_module},
    {"XGBLORA",
     OCLORA_KIND_XGBLORA,
     {".lora_A.#.weight", ".lora_B.#.weight"},
     NULL,
     oclora_chain_module},
    {"MELORA",
     OCLORA_KIND_MELORA,
     {".lora_A.#.weight", ".lora_B.#.weight"},
     NULL,
     oclora_melora_module},
    {"DELTA_LORA",
     OCLORA_KIND_DELTA_LORA,
     {".lora_A.weight", ".lora_B.weight", ".lora_A_start.weight", ".lora_B_start.weight"},
     NULL,
     oclora_delta_module},
    {"LOTR", OCLORA_KIND_LOTR, {".lotr.rhs", ".lotr.mid", ".lotr.lhs"}, NULL, oclora_lotr_module},
    {"VERA",
     OCLORA_KIND_VERA,
     {".vera_lambda_d", ".vera_lambda_b", "base_model.vera_A", "base_model.vera_B"},
     oclora_vera_prepare,
     oclora_vera_module},
    {"MTL_LORA",
     OCLORA_KIND_MTL_LORA,
     {".lora_A", ".lora_lambdas", ".lora_B", ".lora_B_w", ".lora_scaler"},
     NULL,
     oclora_mtl_module},
    {"METEORA",
     OCLORA_KIND_METEORA,
     {".lora_A.weight", ".lora_B.weight", ".moe_gate.weight"},
     NULL,
     oclora_meteora_module},
    {"MIXLORA_CONDITIONAL",
     OCLORA_KIND_MIXLORA_CONDITIONAL,
     {".lora_A.#", ".lora_B.#", ".cmoa_selector.loraA_selector.weight",
      ".cmoa_selector.loraB_selector.weight", ".cmoa_loarB_extra_selector.loraB_selector.weight",
      ".cmoa_loarB_extra_selector.loraA_param2loraB_selector.weight"},
     oclora_mixlora_prepare,
     oclora_mixlora_module},
    {"FLORA", OCLORA_KIND_FLORA, {".flora_A", ".flora_B"}, NULL, oclora_flora_module},
    {"HIRA", OCLORA_KIND_HIRA, {".hira_A", ".hira_B"}, NULL, oclora_hira_module},
    {"IA3", OCLORA_KIND_IA3, {".ia3_l"}, NULL, oclora_ia3_module},
};

const oclora_kind_loader *oclora_kind_loader_find(const char *peft_type)
{
    for (size_t i = 0; i < sizeof loaders / sizeof loaders[0]; i++)
        if (strcmp(loaders[i].peft_type, peft_type) == 0) return &loaders[i];
    return NULL;
}
