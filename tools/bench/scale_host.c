#include "tools/bench/scale.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { WORDS_MAX = 16 };

static bool parse(bench_host *h)
{
    char model_flag[] = "-m", pool_flag[] = "--pool", device_flag[] = "--device";
    char program[] = "oclora-bench", eos_flag[] = "--ignore-eos", empty[] = "";
    char model[SCALE_PATH], device[256];
    char *argv[WORDS_MAX] = {program, eos_flag, model_flag, model, pool_flag, h->pool};
    int argc = 6;
    snprintf(model, sizeof model, "%s", h->options->model ? h->options->model : empty);
    if (h->options->device) {
        snprintf(device, sizeof device, "%s", h->options->device);
        argv[argc++] = device_flag;
        argv[argc++] = device;
    }
    optind = 1;
    if (oclora_options_parse(&h->generate, false, argc, argv) != OCLORA_EXIT_OK) return false;
    h->generate.model = h->options->model;
    h->generate.device = h->options->device;
    return true;
}

static bool configure(bench_host *h, uint64_t pool_bytes)
{
    oclora_ggml_message message = {.struct_size = sizeof message};
    oclora_ggml_session_args args = {.struct_size = sizeof args,
                                     .model_path = h->options->model,
                                     .model_path_length = strlen(h->options->model),
                                     .pool_bytes = pool_bytes};
    if (h->runtime.api->configure(&args, &message) == OCLORA_OK) return true;
    fprintf(stderr, "oclora-bench: %s\n", message.text);
    return false;
}

bool bench_host_open(bench_host *out, const bench_options *options, uint64_t pool_bytes,
                     int32_t ctx)
{
    memset(out, 0, sizeof *out);
    out->options = options;
    snprintf(out->pool, sizeof out->pool, "%llu", (unsigned long long)pool_bytes);
    if (!options->model) {
        fprintf(stderr, "oclora-bench: no model: --model, or eval \"$(tools/setup env)\"\n");
        return false;
    }
    if (mkdir(options->work, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "oclora-bench: %s: %s\n", options->work, strerror(errno));
        return false;
    }
    if (bench_model_read(&out->model, options->model) && parse(out) &&
        oclora_runtime_open(&out->runtime, &out->generate) && configure(out, pool_bytes) &&
        oclora_runtime_load_model(&out->runtime) &&
        oclora_runtime_create_context(&out->runtime, SCALE_ROWS, ctx))
        return true;
    bench_host_close(out);
    return false;
}

void bench_host_close(bench_host *host)
{
    oclora_runtime_close(&host->runtime);
    oclora_options_release(&host->generate);
    memset(host, 0, sizeof *host);
}

bool bench_host_load(bench_host *host, const char *name, const char *path)
{
    oclora_ggml_message message = {.struct_size = sizeof message};
    if (host->runtime.api->adapter_load(NULL, name, strlen(name), path, strlen(path), &message) ==
        OCLORA_OK)
        return true;
    fprintf(stderr, "oclora-bench: %s: %s\n", path, message.text);
    return false;
}

bool bench_host_map(bench_host *host, uint32_t seq, const char *name)
{
    oclora_ggml_message message = {.struct_size = sizeof message};
    oclora_ggml_adapter adapter = {
        .name = name, .name_length = name ? strlen(name) : 0, .weight = 1.0f};
    if (host->runtime.api->map(NULL, seq, &adapter, name ? 1 : 0, &message) == OCLORA_OK)
        return true;
    fprintf(stderr, "oclora-bench: %s\n", message.text);
    return false;
}
