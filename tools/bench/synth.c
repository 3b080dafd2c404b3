#include "tools/bench/synth.h"

#include "host/file/gguf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { GGUF_ALIGN = 32, GGUF_STRING = 8, GGUF_FLOAT = 6, GGUF_F16 = 1 };

static const char *const gguf_names[SYNTH_MODULES] = {
    "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
static const char *const peft_names[SYNTH_MODULES] = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/* --- the model --- */

static void take_tensor(bench_model *m, const oclora_file_tensor *t, bool tied)
{
    if (strcmp(t->name, "token_embd.weight") != 0 || tied) m->bytes += t->bytes;
    for (uint32_t i = 0; i < SYNTH_MODULES; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.0.%s.weight", gguf_names[i]);
        if (strcmp(t->name, name) != 0 || t->n_dims != 2) continue;
        m->d_out[i] = (uint32_t)t->dims[0];
        m->d_in[i] = (uint32_t)t->dims[1];
    }
}

static bool take_model(bench_model *m, const oclora_gguf *file)
{
    const char *arch = NULL;
    size_t length = 0;
    uint64_t layers = 0;
    if (!oclora_gguf_string(file, "general.architecture", &arch, &length) || length != 5 ||
        memcmp(arch, "llama", 5) != 0 || !oclora_gguf_u64(file, "llama.block_count", &layers) ||
        !layers || layers > SYNTH_LAYERS_MAX)
        return false;
    bool tied = !oclora_gguf_find(file, "output.weight");
    m->n_layer = (uint32_t)layers;
    for (size_t i = 0; i < oclora_gguf_tensor_count(file); i++)
        take_tensor(m, oclora_gguf_tensor(file, i), tied);
    m->kv_floats = layers * ((uint64_t)m->d_out[1] + m->d_out[2]);
    for (uint32_t i = 0; i < SYNTH_MODULES; i++)
        if (!m->d_in[i]) return false;
    return true;
}

bool bench_model_read(bench_model *out, const char *path)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_map map = {0};
    oclora_gguf *file = NULL;
    memset(out, 0, sizeof *out);
    bool ok = oclora_map_open(&map, path, &err) == OCLORA_OK &&
              oclora_gguf_parse(&file, &env, &map, &err) == OCLORA_OK;
    if (ok && !take_model(out, file)) {
        ok = false;
        snprintf(err.text, sizeof err.text, "%s is not a llama model", path);
    }
    if (!ok) fprintf(stderr, "oclora-bench: %s\n", err.text);
    oclora_gguf_free(file);
    oclora_map_close(&map);
    return ok;
}

uint64_t bench_synth_bytes(const bench_model *model, uint32_t rank, uint32_t modules)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < SYNTH_MODULES; i++)
        if (modules >> i & 1) bytes += 2ull * rank * (model->d_in[i] + model->d_out[i]);
    return bytes * model->n_layer;
}

/* --- bytes to a file --- */

typedef struct writer {
    FILE *file;
    uint64_t at;
    uint32_t seed;
    bool failed;
} writer;

static void put(writer *w, const void *data, size_t size)
{
    if (fwrite(data, 1, size, w->file) != size) w->failed = true;
    w->at += size;
}

static void put_u32(writer *w, uint32_t value)
{
    put(w, &value, 4);
}

static void put_u64(writer *w, uint64_t value)
{
    put(w, &value, 8);
}

static void put_text(writer *w, const char *text)
{
    put_u64(w, strlen(text));
    put(w, text, strlen(text));
}

/* Halves of random sign, mantissa and one of two exponents: 2^-6 to 2^-4. */
static void put_halves(writer *w, uint64_t count)
{
    uint16_t block[1024];
    for (uint64_t done = 0; done < count;) {
        size_t n = count - done < 1024 ? (size_t)(count - done) : 1024;
        for (size_t i = 0; i < n; i++) {
            w->seed = w->seed * 1664525u + 1013904223u;
            block[i] = (uint16_t)((w->seed >> 16 & 0x83ff) | (9 + (w->seed >> 10 & 1)) << 10);
        }
        put(w, block, n * 2);
        done += n;
    }
}

static void pad(writer *w, uint64_t to)
{
    static const char zeros[GGUF_ALIGN];
    if (w->at % to) put(w, zeros, (size_t)(to - w->at % to));
}

static bool finish(writer *w, const char *path)
{
    bool ok = fclose(w->file) == 0 && !w->failed;
    if (!ok) fprintf(stderr, "oclora-bench: %s could not be written\n", path);
    return ok;
}

static bool begin(writer *w, const char *path, uint32_t seed)
{
    *w = (writer){.file = fopen(path, "wb"), .seed = seed * 2654435761u + 1};
    if (!w->file) fprintf(stderr, "oclora-bench: %s: %s\n", path, strerror(errno));
    return w->file;
}

/* --- GGUF --- */

static void put_gguf_head(writer *w, uint64_t n_tensors, uint32_t rank)
{
    static const char *const texts[][2] = {
        {"general.type", "adapter"}, {"general.architecture", "llama"}, {"adapter.type", "lora"}};
    put(w, "GGUF", 4);
    put_u32(w, 3);
    put_u64(w, n_tensors);
    put_u64(w, 4);
    for (size_t i = 0; i < 3; i++) {
        put_text(w, texts[i][0]);
        put_u32(w, GGUF_STRING);
        put_text(w, texts[i][1]);
    }
    float alpha = (float)rank;
    put_text(w, "adapter.lora.alpha");
    put_u32(w, GGUF_FLOAT);
    put(w, &alpha, 4);
}

static uint64_t put_gguf_tensor(writer *w, uint32_t layer, uint32_t module, char which,
                                uint64_t ne0, uint64_t ne1, uint64_t offset)
{
    char name[96];
    snprintf(name, sizeof name, "blk.%u.%s.weight.lora_%c", (unsigned)layer, gguf_names[module],
             which);
    put_text(w, name);
    put_u32(w, 2);
    put_u64(w, ne0);
    put_u64(w, ne1);
    put_u32(w, GGUF_F16);
    put_u64(w, offset);
    uint64_t bytes = 2 * ne0 * ne1;
    return offset + (bytes + GGUF_ALIGN - 1) / GGUF_ALIGN * GGUF_ALIGN;
}

static void put_gguf(writer *w, const bench_model *m, uint32_t rank, uint32_t modules)
{
    uint64_t count = 0, offset = 0;
    for (uint32_t i = 0; i < SYNTH_MODULES; i++) count += modules >> i & 1;
    put_gguf_head(w, 2 * count * m->n_layer, rank);
    for (uint32_t layer = 0; layer < m->n_layer; layer++)
        for (uint32_t i = 0; i < SYNTH_MODULES; i++) {
            if (!(modules >> i & 1)) continue;
            offset = put_gguf_tensor(w, layer, i, 'a', m->d_in[i], rank, offset);
            offset = put_gguf_tensor(w, layer, i, 'b', rank, m->d_out[i], offset);
        }
    pad(w, GGUF_ALIGN);
    for (uint32_t layer = 0; layer < m->n_layer; layer++)
        for (uint32_t i = 0; i < SYNTH_MODULES; i++) {
            if (!(modules >> i & 1)) continue;
            put_halves(w, (uint64_t)m->d_in[i] * rank);
            pad(w, GGUF_ALIGN);
            put_halves(w, (uint64_t)m->d_out[i] * rank);
            pad(w, GGUF_ALIGN);
        }
}

bool bench_synth_gguf(const bench_model *model, const char *path, uint32_t rank, uint32_t modules,
                      uint32_t seed, bool anew)
{
    struct stat info;
    writer w;
    if (!anew && stat(path, &info) == 0 &&
        (uint64_t)info.st_size > bench_synth_bytes(model, rank, modules))
        return true;
    if (!begin(&w, path, seed)) return false;
    put_gguf(&w, model, rank, modules);
    return finish(&w, path);
}

/* --- PEFT --- */

static void put_config(FILE *out, uint32_t rank, uint32_t modules)
{
    fprintf(out,
            "{\"peft_type\": \"LORA\", \"task_type\": \"CAUSAL_LM\", \"r\": %u, "
            "\"lora_alpha\": %u, \"target_modules\": [",
            (unsigned)rank, (unsigned)rank);
    bool first = true;
    for (uint32_t i = 0; i < SYNTH_MODULES; i++) {
        if (!(modules >> i & 1)) continue;
        fprintf(out, "%s\"%s\"", first ? "" : ", ", strchr(peft_names[i], '.') + 1);
        first = false;
    }
    fprintf(out, "]}\n");
}

static void put_peft_header(FILE *out, const bench_model *m, uint32_t rank, uint32_t modules)
{
    uint64_t at = 0;
    const char *comma = "";
    fputc('{', out);
    for (uint32_t layer = 0; layer < m->n_layer; layer++)
        for (uint32_t i = 0; i < SYNTH_MODULES; i++)
            for (uint32_t side = 0; side < 2; side++) {
                if (!(modules >> i & 1)) continue;
                uint32_t rows = side ? m->d_out[i] : rank, columns = side ? rank : m->d_in[i];
                uint64_t end = at + 2ull * rows * columns;
                fprintf(out,
                        "%s\"base_model.model.model.layers.%u.%s.lora_%c.weight\": {\"dtype\": "
                        "\"F16\", \"shape\": [%u, %u], \"data_offsets\": [%llu, %llu]}",
                        comma, (unsigned)layer, peft_names[i], side ? 'B' : 'A', (unsigned)rows,
                        (unsigned)columns, (unsigned long long)at, (unsigned long long)end);
                at = end;
                comma = ", ";
            }
    fputc('}', out);
}

static bool write_tensors(const bench_model *m, const char *path, uint32_t rank, uint32_t modules,
                          uint32_t seed)
{
    writer w;
    char *header = NULL;
    size_t length = 0;
    FILE *text = open_memstream(&header, &length);
    if (!text) return false;
    put_peft_header(text, m, rank, modules);
    bool ok = fclose(text) == 0 && begin(&w, path, seed);
    if (ok) {
        put_u64(&w, length);
        put(&w, header, length);
        put_halves(&w, bench_synth_bytes(m, rank, modules) / 2);
        ok = finish(&w, path);
    }
    free(header);
    return ok;
}

bool bench_synth_peft(const bench_model *model, const char *folder, uint32_t rank, uint32_t modules,
                      uint32_t seed)
{
    char path[4096];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "oclora-bench: %s: %s\n", folder, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    FILE *config = fopen(path, "w");
    if (!config) return false;
    put_config(config, rank, modules);
    if (fclose(config) != 0) return false;
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    return write_tensors(model, path, rank, modules, seed);
}
