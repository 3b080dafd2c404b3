/* files.c - adapter files to factors in host memory, their hash included. */
#include "tools/bench/suites.h"

#include "tools/bench/synth.h"

#include "host/adapter/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Large enough that a file's bytes, not its opening, are the time: 39 MB for SmolLM2-135M. */
enum { RANK = 64, PATH_ROOM = 1024 };

typedef struct file_case {
    bench_case base;
    bool gguf;
    uint32_t store;
} file_case;

#define BARE "SHA-256 of the mapped file alone"

static const file_case cases[] = {
    {{"files", "safetensors-f16", "GB/s", BARE, 0, 0}, false, OCLORA_STORE_AUTO},
    {{"files", "gguf-f16", "GB/s", BARE, 0, 0}, true, OCLORA_STORE_AUTO},
    {{"files", "safetensors-f16-to-q8_0", "GB/s", BARE, 0, 0}, false, OCLORA_STORE_Q8_0},
};

typedef struct loader {
    char path[PATH_ROOM];      /* of the adapter */
    char data_path[PATH_ROOM]; /* of its largest file */
    uint32_t store;
    oclora_env env;
    oclora_error err;
} loader;

static bool run_load(void *user, uint32_t repeats)
{
    loader *l = user;
    for (uint32_t i = 0; i < repeats; i++) {
        oclora_adapter_image *image = NULL;
        if (oclora_adapter_load(&image, &l->env, l->path, l->store, &l->err) != OCLORA_OK) {
            fprintf(stderr, "oclora-bench: %s\n", l->err.text);
            return false;
        }
        oclora_adapter_image_destroy(image);
    }
    return true;
}

static bool run_hash(void *user, uint32_t repeats)
{
    loader *l = user;
    uint8_t digest[32];
    for (uint32_t i = 0; i < repeats; i++) {
        oclora_map map = {0};
        bool ok = oclora_map_open(&map, l->data_path, &l->err) == OCLORA_OK &&
                  oclora_sha256(map.data, map.size, digest);
        oclora_map_close(&map);
        if (!ok) return false;
    }
    return true;
}

static bool make_files(loader *l, const bench_model *model, const bench_options *o, bool gguf)
{
    if (mkdir(o->work, 0777) != 0 && errno != EEXIST) return false;
    if (gguf) {
        snprintf(l->path, sizeof l->path, "%s/load.gguf", o->work);
        snprintf(l->data_path, sizeof l->data_path, "%s/load.gguf", o->work);
        return bench_synth_gguf(model, l->path, RANK, SYNTH_ALL, 3, true);
    }
    snprintf(l->path, sizeof l->path, "%s/load", o->work);
    snprintf(l->data_path, sizeof l->data_path, "%s/load/adapter_model.safetensors", o->work);
    return bench_synth_peft(model, l->path, RANK, SYNTH_ALL, 3);
}

static void run_case(bench_report *report, const file_case *c, const bench_model *model)
{
    loader l = {.store = c->store};
    bench_duel duel;
    struct stat info;
    bench_limits limits = bench_limits_of(report->options->quick);
    bench_side ours = {run_load, &l}, peer = {run_hash, &l};
    bench_progress("files: %s", c->base.name);
    if (!make_files(&l, model, report->options, c->gguf) || stat(l.data_path, &info) != 0 ||
        !bench_duel_run(&duel, &ours, &peer, &limits)) {
        bench_report_missing(report, &c->base, "the file could not be written or loaded");
        return;
    }
    double gigabytes = (double)info.st_size * 1e-9;
    duel.ours = gigabytes / duel.ours;
    duel.peer = gigabytes / duel.peer;
    duel.ours_min = gigabytes / duel.ours_min;
    duel.peer_min = gigabytes / duel.peer_min;
    bench_report_rates(report, &c->base, &duel);
}

static size_t n_cases(void)
{
    return sizeof cases / sizeof cases[0];
}

void bench_files_list(const bench_options *options)
{
    for (size_t i = 0; i < n_cases(); i++)
        if (bench_wanted(options, "files", cases[i].base.name)) bench_report_list(&cases[i].base);
}

int bench_files(bench_report *report)
{
    const bench_options *o = report->options;
    bench_model model = {0};
    bool known = o->model && bench_model_read(&model, o->model);
    for (size_t i = 0; i < n_cases(); i++) {
        if (!bench_wanted(o, "files", cases[i].base.name)) continue;
        if (known)
            run_case(report, &cases[i], &model);
        else
            bench_report_missing(report, &cases[i].base, "no model: --model");
    }
    return BENCH_EXIT_OK;
}
