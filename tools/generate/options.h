/* options.h - the command line of oclora-generate and oclora-stock. */
#ifndef OCLORA_GENERATE_OPTIONS_H
#define OCLORA_GENERATE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit statuses of both programs. */
enum {
    OCLORA_EXIT_OK = 0,
    OCLORA_EXIT_REQUEST = 1,     /* a request or an adapter failed; the others were served */
    OCLORA_EXIT_USAGE = 2,       /* the command line is wrong */
    OCLORA_EXIT_ENVIRONMENT = 3, /* no device, no plugin, no model */
    OCLORA_EXIT_HELP = 100       /* help or version was printed: exit 0 */
};

enum { OCLORA_ORDER_INPUT, OCLORA_ORDER_REVERSED, OCLORA_ORDER_INTERLEAVED };
enum { OCLORA_KV_F32, OCLORA_KV_F16, OCLORA_KV_Q8_0 };
enum { OCLORA_FLASH_OFF = 0, OCLORA_FLASH_ON = 1, OCLORA_FLASH_AUTO = -1 };

typedef struct oclora_named_path {
    char *name;
    const char *path;
} oclora_named_path;

typedef struct oclora_options {
    const char *program;
    const char *model;
    const char *input; /* NULL or "-": standard input */
    const char *plugin;
    const char *device;
    const char *system;
    const char *logits_dir;
    oclora_named_path *adapters;
    size_t n_adapters;
    uint64_t pool_bytes;
    uint32_t store; /* OCLORA_STORE_* */
    int32_t n_predict;
    int32_t ctx; /* per sequence; 0 = what the longest request needs */
    int32_t batch;
    int32_t ubatch;
    int32_t threads; /* 0 = llama.cpp's choice */
    int32_t parallel;
    int32_t gpu_layers; /* -1 = all */
    int32_t top;
    int32_t order;
    int32_t flash;
    bool stock;
    uint32_t kv; /* OCLORA_KV_* */
    bool kv_unified;
    bool kv_offload;
    bool ignore_eos;
    bool warmup;
    bool json_summary;
    bool verbose;
} oclora_options;

/* Fills `out` from the command line; `stock` chooses oclora-stock's set. Prints help, version or
 * what is wrong. Returns one of the exit statuses; anything but OCLORA_EXIT_OK ends the program. */
int oclora_options_parse(oclora_options *out, bool stock, int argc, char **argv);
void oclora_options_release(oclora_options *options);

#endif
