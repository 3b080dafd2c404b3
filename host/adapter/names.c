/* PEFT module names to GGUF names, and the row order the GGUF converter gives q and k. */
#include "host/adapter/image.h"
#include "host/adapter/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AS_THEY_ARE = 0, ROWS_ROTARY_PAIRS = 1, NAME_ROOM = 256 };

/* Architectures whose linear layers carry the names below. With ROTARY_PAIRS the converter reorders
 * the rows of q and k: each head's two halves are interleaved. */
static const struct {
    const char *name;
    int q_and_k;
} architectures[] = {
    {"llama", ROWS_ROTARY_PAIRS}, {"smollm3", ROWS_ROTARY_PAIRS}, {"granite", ROWS_ROTARY_PAIRS},
    {"arcee", ROWS_ROTARY_PAIRS}, {"qwen2", ROWS_AS_THEY_ARE},    {"qwen3", ROWS_AS_THEY_ARE},
    {"gemma", ROWS_AS_THEY_ARE},  {"gemma2", ROWS_AS_THEY_ARE},   {"gemma3", ROWS_AS_THEY_ARE},
    {"phi3", ROWS_AS_THEY_ARE},   {"qwen2moe", ROWS_AS_THEY_ARE}, {"qwen3moe", ROWS_AS_THEY_ARE},
    {"olmoe", ROWS_AS_THEY_ARE},  {"gpt-oss", ROWS_AS_THEY_ARE}};

static const struct {
    const char *peft;
    const char *gguf;
} layer_names[] = {{"self_attn.q_proj", "attn_q"},     {"self_attn.k_proj", "attn_k"},
                   {"self_attn.v_proj", "attn_v"},     {"self_attn.o_proj", "attn_output"},
                   {"self_attn.qkv_proj", "attn_qkv"}, {"mlp.gate_proj", "ffn_gate"},
                   {"mlp.up_proj", "ffn_up"},          {"mlp.down_proj", "ffn_down"},
                   {"mlp.gate_up_proj", "ffn_up"}};

static const char *const roots[] = {"model.", "language_model.model.", "model.language_model.", ""};

/* "model.layers.7.mlp.up_proj" -> "blk.7.ffn_up"; false if it has no counterpart. */
static bool rename_layer(const char *rest, uint32_t n_layer, char *out)
{
    static const char layers[] = "layers.";
    if (strncmp(rest, layers, sizeof layers - 1) != 0) return false;
    rest += sizeof layers - 1;
    char *end;
    if (*rest < '0' || *rest > '9') return false;
    unsigned long layer = strtoul(rest, &end, 10);
    if (*end != '.' || layer >= n_layer) return false;
    for (size_t i = 0; i < sizeof layer_names / sizeof layer_names[0]; i++) {
        if (strcmp(end + 1, layer_names[i].peft) == 0) {
            snprintf(out, NAME_ROOM, "blk.%lu.%s", layer, layer_names[i].gguf);
            return true;
        }
    }
    return false;
}

static bool rename_module(const char *name, const oclora_model_info *model, char *out)
{
    if (strcmp(name, "lm_head") == 0 || strcmp(name, "language_model.lm_head") == 0) {
        snprintf(out, NAME_ROOM, "output");
        return true;
    }
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++)
        if (strncmp(name, roots[i], strlen(roots[i])) == 0 &&
            rename_layer(name + strlen(roots[i]), model->n_layer, out))
            return true;
    return false;
}

static bool is_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

/* Row `index` of the GGUF order is row source(index) of the file: row 2i+h of a head was row
 * h * half + i. */
static uint32_t source_row(uint32_t index, uint32_t head_rows)
{
    uint32_t head = index / head_rows, at = index % head_rows;
    return head * head_rows + at % 2 * (head_rows / 2) + at / 2;
}

/* out[j] = in[source[j]] for `count` values of `size` bytes, 2 or 4. */
static void gather_row(void *out, const void *in, const uint32_t *source, uint32_t count,
                       size_t size)
{
    uint8_t *to = out;
    const uint8_t *from = in;
    if (size == 4)
        for (uint32_t j = 0; j < count; j++) memcpy(to + 4 * j, from + 4 * (size_t)source[j], 4);
    else
        for (uint32_t j = 0; j < count; j++) memcpy(to + 2 * j, from + 2 * (size_t)source[j], 2);
}

static void gather_floats(float *values, uint32_t rows, uint32_t count, const uint32_t *source,
                          float *spare)
{
    for (uint32_t i = 0; values != NULL && i < rows; i++) {
        float *row = values + (size_t)i * count;
        memcpy(spare, row, count * sizeof *row);
        gather_row(row, spare, source, count, sizeof *row);
    }
}

/* Output rows are the columns of the rank-major B. */
static oclora_status gather_factor(oclora_adapter_image *image, oclora_factor *b,
                                   const uint32_t *source, oclora_error *err)
{
    const uint64_t row_bytes = oclora_factor_row_bytes(b->type, b->cols);
    uint8_t *data = oclora_alloc(&image->env, b->rows, (size_t)row_bytes);
    if (data == NULL) return oclora_fail_memory(err, (size_t)(b->rows * row_bytes), "factor");
    for (uint32_t i = 0; i < b->rows; i++)
        gather_row(data + i * row_bytes, (const uint8_t *)b->data + i * row_bytes, source, b->cols,
                   b->type == OCLORA_TYPE_F32 ? 4 : 2);
    oclora_factor moved = *b;
    OCLORA_TRY(oclora_image_adopt(image, &moved, data, err));
    *b = moved;
    return OCLORA_OK;
}

static oclora_status permute_module(oclora_adapter_image *image, oclora_module *module,
                                    uint32_t n_head, oclora_error *err)
{
    uint32_t d_out = module->d_out;
    if (d_out == 0) return OCLORA_OK; /* nothing of it touches single outputs */
    if (n_head == 0 || d_out % n_head != 0 || d_out / n_head % 2 != 0)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "module %s: %u outputs do not divide into %u heads of even size",
                           module->name, (unsigned)d_out, (unsigned)n_head);
    oclora_status status = OCLORA_OK;
    uint32_t *source = oclora_alloc(&image->env, d_out, sizeof *source);
    float *spare = oclora_alloc(&image->env, d_out, sizeof *spare);
    if (source == NULL || spare == NULL) {
        status = oclora_fail_memory(err, d_out * sizeof *spare, "a row");
    } else {
        for (uint32_t j = 0; j < d_out; j++) source[j] = source_row(j, d_out / n_head);
        if (module->rank != 0) status = gather_factor(image, &module->b, source, err);
        gather_floats(module->u, 1, d_out, source, spare);
        gather_floats(module->beta, 1, d_out, source, spare);
        gather_floats(module->c, 1, d_out, source, spare);
        gather_floats(module->magnitude, 1, d_out, source, spare);
        gather_floats(module->mul_u, module->n_mul, d_out, source, spare);
    }
    oclora_release(&image->env, source);
    oclora_release(&image->env, spare);
    return status;
}

static oclora_status convert_module(oclora_adapter_image *image, oclora_module *module,
                                    const oclora_model_info *model, bool permuted,
                                    oclora_error *err)
{
    char name[NAME_ROOM];
    if (!rename_module(module->name, model, name))
        return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                           "module %s has no counterpart in a %s model of %u layers", module->name,
                           model->architecture, (unsigned)model->n_layer);
    if (permuted && is_suffix(name, "attn_q"))
        OCLORA_TRY(permute_module(image, module, model->n_head, err));
    if (permuted && is_suffix(name, "attn_k"))
        OCLORA_TRY(permute_module(image, module, model->n_head_kv, err));
    char *copy = oclora_string_copy(&image->env, name, strlen(name));
    if (copy == NULL) return oclora_fail_memory(err, strlen(name), "module name");
    oclora_release(&image->env, module->name);
    module->name = copy;
    return OCLORA_OK;
}

static oclora_status check_architecture(const oclora_adapter_image *image,
                                        const oclora_model_info *model, bool *permuted,
                                        oclora_error *err)
{
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (strcmp(architectures[i].name, model->architecture) != 0) continue;
        *permuted = architectures[i].q_and_k == ROWS_ROTARY_PAIRS;
        /* Rounded blocks run along the outputs: their scales cannot follow single rows. */
        for (size_t j = 0; *permuted && j < image->n_modules; j++)
            if (image->modules[j].b.type == OCLORA_TYPE_Q8_0 && image->modules[j].rank != 0 &&
                (is_suffix(image->modules[j].name, "q_proj") ||
                 is_suffix(image->modules[j].name, "k_proj")))
                return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                                   "module %s is stored as q8_0 already: load with AUTO, "
                                   "rename, then oclora_adapter_narrow",
                                   image->modules[j].name);
        return OCLORA_OK;
    }
    return oclora_fail(
        err, OCLORA_NOT_SUPPORTED,
        "PEFT names of architecture %.63s are not known: convert the adapter to GGUF",
        model->architecture);
}

/* Names are the same everywhere; the row order of q and k is not. */
static oclora_status check_without_model(const oclora_adapter_image *image, oclora_error *err)
{
    static const char *const ordered[] = {"q_proj", "k_proj", "qkv_proj"};
    for (size_t i = 0; i < image->n_modules; i++)
        for (size_t j = 0; j < sizeof ordered / sizeof ordered[0]; j++)
            if (is_suffix(image->modules[i].name, ordered[j]))
                return oclora_fail(
                    err, OCLORA_METADATA_MISSING,
                    "module %s: the row order of q and k depends on the model's GGUF "
                    "metadata: give the model's path",
                    image->modules[i].name);
    return OCLORA_OK;
}

oclora_status oclora_adapter_to_gguf_names(oclora_adapter_image *image,
                                           const oclora_model_info *model, oclora_error *err)
{
    if (image->naming == OCLORA_NAMING_GGUF) {
        if (model != NULL && image->architecture[0] != '\0' &&
            strcmp(image->architecture, model->architecture) != 0)
            return oclora_fail(err, OCLORA_MODULE_MISMATCH,
                               "the adapter was made for a %s model, this one is %s",
                               image->architecture, model->architecture);
        return OCLORA_OK;
    }
    static const oclora_model_info any = {.architecture = "unknown", .n_layer = UINT32_MAX};
    bool permuted = false;
    if (model != NULL)
        OCLORA_TRY(check_architecture(image, model, &permuted, err));
    else
        OCLORA_TRY(check_without_model(image, err));
    if (model == NULL) model = &any;
    for (size_t i = 0; i < image->n_modules; i++)
        OCLORA_TRY(convert_module(image, &image->modules[i], model, permuted, err));
    image->naming = OCLORA_NAMING_GGUF;
    return oclora_image_finish(image, err);
}
