/* text.h - text to token ids and back, by llama.cpp's public functions. */
#ifndef OCLORA_GENERATE_TEXT_H
#define OCLORA_GENERATE_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct llama_model;

int32_t oclora_text_vocab_size(const struct llama_model *model);

/* The ids of one user message (after an optional system message) under the model's chat template,
 * up to where the assistant begins; plain text if the model has none. New memory in *out. Returns
 * the count, or 0 with the reason in `error`. */
int32_t oclora_text_tokenize(const struct llama_model *model, const char *system, const char *user,
                             int32_t **out, char *error, size_t error_size);

/* The text of the ids without control tokens, valid UTF-8, new memory; NULL if memory is short. */
char *oclora_text_from_ids(const struct llama_model *model, const int32_t *ids, int32_t count);

#endif
