/* request.h - one request: read from a JSON line, decoded by wave.c, written as a JSON line. */
#ifndef OCLORA_GENERATE_REQUEST_H
#define OCLORA_GENERATE_REQUEST_H

#include "tools/generate/options.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct llama_model;

enum { OCLORA_MIX_MAX = 16, OCLORA_TOP_MAX = 64, OCLORA_ERROR_MAX = 768 };

typedef struct oclora_mix {
    char *name;
    float weight;
} oclora_mix;

typedef struct oclora_request {
    json_t *id;      /* any JSON string or number; the line's number if it had none */
    json_t *adapter; /* as given: a name, a list, or null */
    oclora_mix mix[OCLORA_MIX_MAX];
    size_t n_mix;
    int32_t *prompt;
    int32_t n_prompt;
    int32_t *golden; /* fed instead of the own choices; NULL = free running */
    int32_t n_golden;
    int32_t n_max;

    /* Filled while decoding. */
    int32_t *ids;
    int32_t n_ids;
    int32_t top_ids[OCLORA_TOP_MAX];
    float top_logits[OCLORA_TOP_MAX];
    int32_t n_top;
    int32_t next; /* token to feed */
    int32_t pos;
    bool done;
    double ms;
    FILE *logits;
    char error[OCLORA_ERROR_MAX]; /* not empty: failed, nothing is printed for it */
} oclora_request;

typedef struct oclora_requests {
    oclora_request *items;
    size_t count;
    size_t capacity;
} oclora_requests;

/* Reads all lines of the input and tokenises prompts. A bad line becomes a request with an error.
 * False only if the input cannot be opened or memory is short (said on stderr). */
bool oclora_requests_read(oclora_requests *out, const oclora_options *options,
                          const struct llama_model *model);
void oclora_requests_release(oclora_requests *requests);

/* Sets the request's error, once; the first cause stays. */
void oclora_request_fail(oclora_request *request, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes the answer to stdout, or the error to stderr. False if the request failed. */
bool oclora_request_print(const oclora_request *request, const oclora_options *options,
                          const struct llama_model *model);

/* True if both name the same adapters with the same weights in the same order. */
bool oclora_request_same_adapters(const oclora_request *a, const oclora_request *b);

#endif
