/* options.c - the command line of oclora-generate and oclora-stock. */
#include "tools/generate/options.h"

#include "abi/oclora_types.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_PLUGIN = 256,
    OPT_DEVICE,
    OPT_KV,
    OPT_UBATCH,
    OPT_BATCH,
    OPT_ORDER,
    OPT_PARALLEL,
    OPT_POOL,
    OPT_STORE,
    OPT_SYSTEM,
    OPT_TOP,
    OPT_LOGITS,
    OPT_IGNORE_EOS,
    OPT_WARMUP,
    OPT_SUMMARY,
    OPT_UNIFIED,
    OPT_NO_OFFLOAD,
    OPT_FLASH,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"model", required_argument, NULL, 'm'},
    {"adapter", required_argument, NULL, 'a'},
    {"n-predict", required_argument, NULL, 'n'},
    {"ctx", required_argument, NULL, 'c'},
    {"threads", required_argument, NULL, 't'},
    {"gpu-layers", required_argument, NULL, 'g'},
    {"plugin", required_argument, NULL, OPT_PLUGIN},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"kv", required_argument, NULL, OPT_KV},
    {"flash-attn", required_argument, NULL, OPT_FLASH},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"ubatch", required_argument, NULL, OPT_UBATCH},
    {"order", required_argument, NULL, OPT_ORDER},
    {"parallel", required_argument, NULL, OPT_PARALLEL},
    {"pool", required_argument, NULL, OPT_POOL},
    {"store", required_argument, NULL, OPT_STORE},
    {"system", required_argument, NULL, OPT_SYSTEM},
    {"top", required_argument, NULL, OPT_TOP},
    {"logits", required_argument, NULL, OPT_LOGITS},
    {"ignore-eos", no_argument, NULL, OPT_IGNORE_EOS},
    {"warmup", no_argument, NULL, OPT_WARMUP},
    {"json-summary", no_argument, NULL, OPT_SUMMARY},
    {"kv-unified", no_argument, NULL, OPT_UNIFIED},
    {"no-kv-offload", no_argument, NULL, OPT_NO_OFFLOAD},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static const char help_requests[] =
    "Requests are JSON lines, from a file or standard input:\n"
    "  {\"id\": 1, \"prompt\": \"What is a noun?\", \"adapter\": \"pirate\"}\n"
    "  {\"id\": 2, \"ids\": [1, 9690, 198], \"adapters\": [{\"name\": \"json\", \"weight\": "
    "0.5}]}\n"
    "\"prompt\" gets the model's chat template, \"ids\" are taken as they are. Without an adapter "
    "the\n"
    "base model answers. Optional: \"n\" (tokens), \"system\" (a system message), \"golden\" "
    "(token ids\n"
    "to feed instead of the program's own choices, which are still reported).\n"
    "Each answer is a JSON line {\"id\", \"adapter\", \"ids\", \"text\", \"top\", \"ms\"}, in "
    "input order.\n\n";

static const char help_common[] =
    "  -m, --model FILE        the base model (GGUF); required\n"
    "  -n, --n-predict N       new tokens per request (64)\n"
    "  -c, --ctx N             context per sequence (what the longest request needs)\n"
    "      --parallel N        sequences decoded together, 1 to 256 (64); more run in waves\n"
    "      --kv f32|f16|q8_0   type of the KV cache (f16)\n"
    "      --flash-attn W, -fa on, off or auto (auto)\n"
    "      --batch N           tokens per llama_decode (2048)\n"
    "      --ubatch N          tokens per graph (512)\n"
    "      --order W           rows within a batch: input, reversed or interleaved (input)\n"
    "  -t, --threads N         CPU threads (llama.cpp's choice)\n"
    "      --system TEXT       system message for prompts given as text (none)\n"
    "      --top N             logits reported for the first token, 1 to 64 (8)\n"
    "      --logits DIR        write each request's logits to DIR/ID.f32, one row per token\n"
    "      --ignore-eos        do not stop at an end-of-generation token\n"
    "      --warmup            decode four tokens first, so that figures exclude kernel builds\n"
    "      --json-summary      the summary on stderr is one JSON line\n"
    "  -v, --verbose           show llama.cpp's log\n"
    "  -h, --help              this text\n"
    "      --version           name and version\n";

static const char help_plugin[] =
    "  -a, --adapter NAME=PATH a PEFT folder or a GGUF LoRA file; repeatable\n"
    "      --device D          OpenCL device (see OCLORA_DEVICES in the README)\n"
    "      --plugin FILE       the plugin (../lib/libggml-oclora.so beside this program)\n"
    "      --pool BYTES        device memory for adapters, K, M or G may follow (256M)\n"
    "      --store W           factors in device memory: auto, f32, f16 or q8_0 (auto)\n"
    "  -g, --gpu-layers N      layers on the device (all)\n"
    "      --kv-unified        one KV stream for all sequences\n"
    "      --no-kv-offload     KV cache in host memory\n";

static const char help_stock[] = "  -a, --adapter NAME=FILE a GGUF LoRA file; repeatable\n";

static void print_help(const oclora_options *o)
{
    printf("Usage: %s -m MODEL.gguf [-a NAME=PATH]... [options] [REQUESTS.jsonl]\n\n", o->program);
    fputs(o->stock
              ? "Serves requests with llama.cpp's own LoRA on the CPU: requests with the same\n"
                "adapters together, groups with different adapters one after the other.\n\n"
              : "Decodes all requests together, each sequence with its own adapters, greedily.\n\n",
          stdout);
    fputs(help_requests, stdout);
    fputs(help_common, stdout);
    fputs(o->stock ? help_stock : help_plugin, stdout);
    fputs("\nExit status: 0 all served, 1 a request or adapter failed, 2 usage, 3 no device, "
          "plugin or "
          "model.\n",
          stdout);
}

static bool parse_int(const oclora_options *o, const char *flag, const char *text, long min,
                      long max, int32_t *out)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < min || value > max) {
        fprintf(stderr, "%s: %s wants a whole number from %ld to %ld, not \"%s\"\n", o->program,
                flag, min, max, text);
        return false;
    }
    *out = (int32_t)value;
    return true;
}

/* Index of `text` in the zero-terminated `words`, or -1 after a message. */
static int parse_word(const oclora_options *o, const char *flag, const char *text,
                      const char *const *words)
{
    for (int i = 0; words[i]; ++i) {
        if (strcmp(text, words[i]) == 0) return i;
    }
    fprintf(stderr, "%s: %s does not know \"%s\"; it knows", o->program, flag, text);
    for (int i = 0; words[i]; ++i) fprintf(stderr, "%s %s", i ? "," : "", words[i]);
    fputc('\n', stderr);
    return -1;
}

static bool parse_bytes(const oclora_options *o, const char *text, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned shift = 0;
    if (*end == 'K') shift = 10;
    if (*end == 'M') shift = 20;
    if (*end == 'G') shift = 30;
    if (shift) ++end;
    if (errno || end == text || *end || text[0] == '-' || value == 0 ||
        value > (UINT64_MAX >> shift)) {
        fprintf(stderr, "%s: --pool wants bytes, e.g. 4096, 64M or 1G, not \"%s\"\n", o->program,
                text);
        return false;
    }
    *out = (uint64_t)value << shift;
    return true;
}

static bool add_adapter(oclora_options *o, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || !equals[1]) {
        fprintf(stderr, "%s: -a wants NAME=PATH, not \"%s\"\n", o->program, text);
        return false;
    }
    size_t length = (size_t)(equals - text);
    for (size_t i = 0; i < o->n_adapters; ++i) {
        if (strlen(o->adapters[i].name) == length && !strncmp(o->adapters[i].name, text, length)) {
            fprintf(stderr, "%s: -a %.*s is given twice\n", o->program, (int)length, text);
            return false;
        }
    }
    oclora_named_path *grown = realloc(o->adapters, (o->n_adapters + 1) * sizeof *grown);
    if (grown) o->adapters = grown;
    char *name = grown ? malloc(length + 1) : NULL;
    if (!name) {
        fprintf(stderr, "%s: out of memory\n", o->program);
        return false;
    }
    memcpy(name, text, length);
    name[length] = '\0';
    o->adapters[o->n_adapters++] = (oclora_named_path){name, equals + 1};
    return true;
}

static bool parse_flash(oclora_options *o, const char *text)
{
    static const char *const words[] = {"off", "on", "auto", NULL};
    static const int32_t values[] = {OCLORA_FLASH_OFF, OCLORA_FLASH_ON, OCLORA_FLASH_AUTO};
    int word = parse_word(o, "--flash-attn", text, words);
    if (word >= 0) o->flash = values[word];
    return word >= 0;
}

static bool plugin_only(const oclora_options *o, const char *flag)
{
    if (o->stock) fprintf(stderr, "%s: %s is an option of oclora-generate\n", o->program, flag);
    return !o->stock;
}

static bool parse_plugin_option(oclora_options *o, int option, const char *text)
{
    static const char *const stores[] = {"auto", "f32", "f16", "q8_0", NULL};
    int word;
    switch (option) {
    case OPT_PLUGIN:
        o->plugin = text;
        return plugin_only(o, "--plugin");
    case OPT_DEVICE:
        o->device = text;
        return plugin_only(o, "--device");
    case OPT_POOL:
        return plugin_only(o, "--pool") && parse_bytes(o, text, &o->pool_bytes);
    case OPT_UNIFIED:
        o->kv_unified = true;
        return plugin_only(o, "--kv-unified");
    case OPT_NO_OFFLOAD:
        o->kv_offload = false;
        return plugin_only(o, "--no-kv-offload");
    case 'g':
        return plugin_only(o, "-g") && parse_int(o, "-g", text, 0, INT_MAX, &o->gpu_layers);
    case OPT_STORE:
        word = plugin_only(o, "--store") ? parse_word(o, "--store", text, stores) : -1;
        o->store = word < 0 ? 0 : (uint32_t)word;
        return word >= 0;
    default:
        return false;
    }
}

static bool parse_option(oclora_options *o, int option, const char *text)
{
    static const char *const kv[] = {"f32", "f16", "q8_0", NULL};
    static const char *const orders[] = {"input", "reversed", "interleaved", NULL};
    int word;
    switch (option) {
    case 'm':
        o->model = text;
        return true;
    case 'a':
        return add_adapter(o, text);
    case 'n':
        return parse_int(o, "-n", text, 1, 1 << 20, &o->n_predict);
    case 'c':
        return parse_int(o, "-c", text, 1, 1 << 24, &o->ctx);
    case 't':
        return parse_int(o, "-t", text, 1, 4096, &o->threads);
    case 'v':
        o->verbose = true;
        return true;
    case OPT_KV:
        word = parse_word(o, "--kv", text, kv);
        o->kv = word < 0 ? 0 : (uint32_t)word;
        return word >= 0;
    case OPT_FLASH:
        return parse_flash(o, text);
    case OPT_BATCH:
        return parse_int(o, "--batch", text, 1, 1 << 20, &o->batch);
    case OPT_UBATCH:
        return parse_int(o, "--ubatch", text, 1, 1 << 20, &o->ubatch);
    case OPT_PARALLEL:
        return parse_int(o, "--parallel", text, 1, 256, &o->parallel);
    case OPT_TOP:
        return parse_int(o, "--top", text, 1, 64, &o->top);
    case OPT_ORDER:
        word = parse_word(o, "--order", text, orders);
        o->order = word;
        return word >= 0;
    case OPT_SYSTEM:
        o->system = text;
        return true;
    case OPT_LOGITS:
        o->logits_dir = text;
        return true;
    case OPT_IGNORE_EOS:
        o->ignore_eos = true;
        return true;
    case OPT_WARMUP:
        o->warmup = true;
        return true;
    case OPT_SUMMARY:
        o->json_summary = true;
        return true;
    default:
        return parse_plugin_option(o, option, text);
    }
}

static void set_defaults(oclora_options *o, bool stock, const char *program)
{
    const char *slash = strrchr(program, '/');
    *o = (oclora_options){.program = slash ? slash + 1 : program,
                          .stock = stock,
                          .n_predict = 64,
                          .batch = 2048,
                          .ubatch = 512,
                          .parallel = 64,
                          .gpu_layers = -1,
                          .top = 8,
                          .flash = OCLORA_FLASH_AUTO,
                          .kv = OCLORA_KV_F16,
                          .kv_offload = true};
}

static int usage_error(const oclora_options *o)
{
    fprintf(stderr, "Try \"%s --help\".\n", o->program);
    return OCLORA_EXIT_USAGE;
}

int oclora_options_parse(oclora_options *out, bool stock, int argc, char **argv)
{
    static char flash_name[] = "--flash-attn"; /* llama.cpp's users write -fa */
    set_defaults(out, stock, argc > 0 ? argv[0] : "oclora-generate");
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], "-fa") == 0) argv[i] = flash_name;
    }
    int option;
    while ((option = getopt_long(argc, argv, "m:a:n:c:t:g:vh", long_options, NULL)) != -1) {
        if (option == 'h') {
            print_help(out);
            return OCLORA_EXIT_HELP;
        }
        if (option == OPT_VERSION) {
            printf("%s %s\n", out->program, OCLORA_VERSION);
            return OCLORA_EXIT_HELP;
        }
        if (option == '?' || !parse_option(out, option, optarg)) return usage_error(out);
    }
    if (optind < argc) out->input = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "%s: one file of requests at most; \"%s\" is one too many\n", out->program,
                argv[optind]);
        return usage_error(out);
    }
    if (!out->model) {
        fprintf(stderr, "%s: no model given (-m MODEL.gguf)\n", out->program);
        return usage_error(out);
    }
    return OCLORA_EXIT_OK;
}

void oclora_options_release(oclora_options *options)
{
    for (size_t i = 0; i < options->n_adapters; ++i) free(options->adapters[i].name);
    free(options->adapters);
    options->adapters = NULL;
    options->n_adapters = 0;
}
