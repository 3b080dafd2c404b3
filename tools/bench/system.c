/* system.c - whole jobs on unmodified llama.cpp: oclora-generate and another program of the same
 * command line in turns, a process each a round; both decode a little before their clocks run. */
#include "tools/bench/suites.h"

#include "tools/bench/process.h"
#include "tools/bench/synth.h"

#include "host/core/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ADAPTERS_MAX = 16,
    ARGS_MAX = 64,
    PATH_ROOM = 1024,
    TOKEN_LIMIT = 40000,
    PROCESS_SECONDS = 90,
    PEFT_SECONDS = 300 /* of which nearly all goes into loading */
};

/* oclora-generate, oclora-stock, peft_peer.py. */
typedef enum program { OCLORA, STOCK, PEFT } program;

/* What one contender does. */
typedef struct job {
    program program;
    uint32_t requests;
    uint32_t adapters; /* 0: the base alone; 1: one for all requests */
    uint32_t rank;
    uint32_t modules;
} job;

enum { RATE_DECODE, RATE_PROMPT, COUNT_LAUNCHES, COUNT_BYTES };

typedef struct system_case {
    bench_case base;
    double pocl_must, pocl_aim; /* 0: as the case has them */
    uint32_t rate;
    uint32_t prompt;
    job ours, peer;
} system_case;

#define TOKENS       "tokens/s"
#define STOCK_CPU    "stock llama.cpp CPU"
#define STOCK_LORA   "stock llama.cpp CPU, LoRA per request"
#define PEFT_MIXED   "PEFT mixed batch (adapter_names)"
#define R8_ALL       8, SYNTH_ALL
#define R16_ALL      16, SYNTH_ALL
#define R8_ATTENTION 8, SYNTH_ATTENTION

static const system_case cases[] = {
    {{"system", "requests-8-r8", TOKENS, STOCK_LORA, 4, 5},
     3,
     4,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R8_ALL},
     {STOCK, 8, 8, R8_ALL}},
    {{"system", "requests-8-r16", TOKENS, STOCK_LORA, 4, 5},
     3,
     4,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {STOCK, 8, 8, R16_ALL}},
    {{"system", "requests-16-r8", TOKENS, STOCK_LORA, 5, 6},
     4,
     5,
     RATE_DECODE,
     16,
     {OCLORA, 16, 16, R8_ALL},
     {STOCK, 16, 16, R8_ALL}},
    {{"system", "requests-16-r16", TOKENS, STOCK_LORA, 5, 6},
     4,
     5,
     RATE_DECODE,
     16,
     {OCLORA, 16, 16, R16_ALL},
     {STOCK, 16, 16, R16_ALL}},
    {{"system", "requests-8-r16-one-for-all", TOKENS, STOCK_CPU ", one adapter for all", 0, 0},
     0,
     0,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {STOCK, 8, 1, R16_ALL}},
    {{"system", "requests-8-r8-peft", TOKENS, PEFT_MIXED, 4, 6},
     0,
     0,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R8_ALL},
     {PEFT, 8, 8, R8_ALL}},
    {{"system", "requests-8-r16-peft", TOKENS, PEFT_MIXED, 4, 6},
     0,
     0,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {PEFT, 8, 8, R16_ALL}},
    {{"system", "base-8", TOKENS, STOCK_CPU, 2, 2.5},
     1.6,
     2,
     RATE_DECODE,
     16,
     {OCLORA, 8, 0, 0, 0},
     {STOCK, 8, 0, 0, 0}},
    {{"system", "prompt-512", TOKENS, STOCK_CPU, 2, 3},
     0,
     0,
     RATE_PROMPT,
     512,
     {OCLORA, 1, 0, 0, 0},
     {STOCK, 1, 0, 0, 0}},
    {{"system", "single", TOKENS, STOCK_CPU, 1.0, 1.2},
     0.8,
     1.0,
     RATE_DECODE,
     16,
     {OCLORA, 1, 0, 0, 0},
     {STOCK, 1, 0, 0, 0}},
    {{"system", "retention-r8-attention", TOKENS, "the same without adapters", .90, .95},
     0,
     0,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R8_ATTENTION},
     {OCLORA, 8, 0, 0, 0}},
    {{"system", "retention-r16-all", TOKENS, "the same without adapters", .75, .87},
     0,
     0,
     RATE_DECODE,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {OCLORA, 8, 0, 0, 0}},
    {{"system", "retention-stock-r16-one", TOKENS, "stock without adapters", 0, 0},
     0,
     0,
     RATE_DECODE,
     16,
     {STOCK, 8, 1, R16_ALL},
     {STOCK, 8, 0, 0, 0}},
    {{"system", "launches-8-r16", "launches/token", "the same without adapters", 0, 0},
     0,
     0,
     COUNT_LAUNCHES,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {OCLORA, 8, 0, 0, 0}},
    {{"system", "bytes-8-r16", "MB/token", "the same without adapters", 0, 0},
     0,
     0,
     COUNT_BYTES,
     16,
     {OCLORA, 8, 8, R16_ALL},
     {OCLORA, 8, 0, 0, 0}},
};

typedef struct jobs {
    bench_report *report;
    const bench_options *options;
    bench_model model;
    char folder[PATH_ROOM / 2]; /* of the programs */
    const char *python;         /* that has PEFT, or NULL */
    bool pocl;
} jobs;

static bench_case case_for(const system_case *c, bool pocl)
{
    bench_case out = c->base;
    if (pocl && c->pocl_must > 0) {
        out.must = c->pocl_must;
        out.aim = c->pocl_aim;
    }
    return out;
}

static bool adapter_path(const jobs *s, const job *j, uint32_t number, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/r%u-%s-%u.gguf", s->options->work, (unsigned)j->rank,
                     j->modules == SYNTH_ALL ? "all" : "attention", (unsigned)number);
    return n > 0 && (size_t)n < size &&
           bench_synth_gguf(&s->model, out, j->rank, j->modules, number + 1, false);
}

/* Prompts are random tokens, the same for every contender. */
static bool write_requests(const jobs *s, const system_case *c, const job *j, char *path,
                           size_t size)
{
    uint32_t seed = 5;
    snprintf(path, size, "%s/requests.jsonl", s->options->work);
    FILE *out = fopen(path, "w");
    if (!out) return false;
    for (uint32_t i = 0; i < j->requests; i++) {
        fprintf(out, "{\"id\": %u, \"ids\": [", (unsigned)i);
        for (uint32_t t = 0; t < c->prompt; t++) {
            seed = seed * 1664525u + 1013904223u;
            fprintf(out, "%s%u", t ? ", " : "", (unsigned)(100 + (seed >> 8) % TOKEN_LIMIT));
        }
        fputc(']', out);
        if (j->adapters) fprintf(out, ", \"adapter\": \"a%u\"", (unsigned)(i % j->adapters));
        fprintf(out, "}\n");
    }
    return fclose(out) == 0;
}

static double summary_of(const char *log, const char *key)
{
    const char *line = strrchr(log, '{');
    json_t *summary = line ? json_loads(line, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    const json_t *value = json_object_get(summary, key);
    double out = json_is_number(value) ? json_number_value(value) : -1;
    json_decref(summary);
    return out;
}

/* Weights, and adapters as they lie on the device, once a step; keys and values of each row's own
 * past. */
static double bytes_a_token(const jobs *s, const system_case *c, const job *j, const char *log)
{
    double past = c->prompt + summary_of(log, "decode_steps") / 2;
    double adapters = j->adapters ? summary_of(log, "pool_used_bytes") : 0;
    return ((double)s->model.bytes + adapters) / j->requests +
           2.0 * (double)s->model.kv_floats * past;
}

static double result_of(const jobs *s, const system_case *c, const job *j, const char *log)
{
    double tokens = summary_of(log, "new_tokens");
    switch (c->rate) {
    case RATE_DECODE:
        return summary_of(log, "decode_tokens_per_s");
    case RATE_PROMPT:
        return summary_of(log, "prompt_tokens_per_s");
    case COUNT_LAUNCHES:
        return summary_of(log, "decode_launches") / tokens;
    default:
        return bytes_a_token(s, c, j, log) * 1e-6;
    }
}

typedef struct command {
    const char *argv[ARGS_MAX];
    size_t n;
    char names[ADAPTERS_MAX][PATH_ROOM];
    char program[PATH_ROOM], script[PATH_ROOM], cache[PATH_ROOM], requests[PATH_ROOM], tokens[16],
        threads[24];
} command;

static void add(command *c, const char *word)
{
    if (c->n + 1 < ARGS_MAX) c->argv[c->n++] = word;
}

static const char *const names[] = {"oclora-generate", "oclora-stock", "peft_peer.py"};

/* The program and what only it is told. */
static void begin_command(const jobs *s, const job *j, command *out)
{
    add(out, out->program);
    if (j->program == PEFT) {
        snprintf(out->program, sizeof out->program, "%s", s->python);
        snprintf(out->script, sizeof out->script, "%s", OCLORA_BENCH_PEFT);
        snprintf(out->cache, sizeof out->cache, "%s/peft-model", s->options->work);
        add(out, out->script);
        add(out, "--cache");
        add(out, out->cache);
        return;
    }
    snprintf(out->program, sizeof out->program, "%s/%s", s->folder, names[j->program]);
    if (j->program == OCLORA && s->options->device) {
        add(out, "--device");
        add(out, s->options->device);
    }
}

static bool make_command(const jobs *s, const system_case *c, const job *j, command *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->tokens, sizeof out->tokens, "%d",
             c->rate == RATE_PROMPT ? 2
             : s->options->quick    ? 8
                                    : 48);
    snprintf(out->threads, sizeof out->threads, "%ld",
             s->options->pin >= 0 ? 1L : sysconf(_SC_NPROCESSORS_ONLN));
    const char *first[] = {"-m",       s->options->model, "-n", out->tokens, "--ignore-eos",
                           "--warmup", "--json-summary",  "-t", out->threads};
    begin_command(s, j, out);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) add(out, first[i]);
    for (uint32_t i = 0; i < j->adapters; i++) {
        int prefix = snprintf(out->names[i], PATH_ROOM, "a%u=", (unsigned)i);
        if (!adapter_path(s, j, i, out->names[i] + prefix, PATH_ROOM - (size_t)prefix))
            return false;
        add(out, "-a");
        add(out, out->names[i]);
    }
    add(out, out->requests);
    return write_requests(s, c, j, out->requests, sizeof out->requests);
}

/* Runs a contender once. @return its figure, negative after `why` was filled. */
static double measure(const jobs *s, const system_case *c, const job *j, char *why, size_t size)
{
    static char log[16384];
    command line;
    if (!make_command(s, c, j, &line)) {
        snprintf(why, size, "its files could not be written");
        return -1;
    }
    char *argv[ARGS_MAX];
    memcpy(argv, line.argv, sizeof argv);
    const int seconds = j->program == PEFT ? PEFT_SECONDS : PROCESS_SECONDS;
    int status = bench_process_run(argv, seconds, log, sizeof log);
    double value = status == 0 ? result_of(s, c, j, log) : -1;
    log[strcspn(log, "\n")] = '\0';
    if (!(value > 0))
        snprintf(why, size, "%s ended with %d: %.180s", names[j->program], status, log);
    return value > 0 ? value : -1;
}

/* The interval of few samples is that of their range, so fewer rounds than in the kernels suite. */
static void run_case(jobs *s, const system_case *c)
{
    const bool quick = s->options->quick || c->rate >= COUNT_LAUNCHES;
    const uint32_t rounds_min = quick ? 1 : 3, rounds_max = quick ? 1 : 25;
    double ours[32], peer[32], end = bench_now() + 12;
    const bench_case named = case_for(c, s->pocl);
    char why[256] = "";
    bench_duel duel = {0};
    bench_progress("system: %s", named.name);
    for (uint32_t n = 0; n < rounds_max; n++) {
        bool first = n % 2 == 0;
        if (first) ours[n] = measure(s, c, &c->ours, why, sizeof why);
        peer[n] = why[0] ? -1 : measure(s, c, &c->peer, why, sizeof why);
        if (!first) ours[n] = why[0] ? -1 : measure(s, c, &c->ours, why, sizeof why);
        if (why[0]) {
            bench_report_missing(s->report, &named, "%s", why);
            return;
        }
        bench_duel_from(&duel, ours, peer, n + 1, true);
        if (n + 1 >= rounds_min && (duel.noise <= 0.03 || bench_now() > end)) break;
    }
    bench_report_rates(s->report, &named, &duel);
}

static size_t n_cases(void)
{
    return sizeof cases / sizeof cases[0];
}

void bench_system_list(const bench_options *options)
{
    for (size_t i = 0; i < n_cases(); i++)
        if (bench_wanted(options, "system", cases[i].base.name)) bench_report_list(&cases[i].base);
}

/* Whether the programs, the model and a device are there. NULL, or what is not. */
static const char *prepare(jobs *s)
{
    char path[PATH_ROOM];
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_device device;
    if (!s->options->model) return "no model: --model, or eval \"$(tools/setup env)\"";
    ssize_t length = readlink("/proc/self/exe", s->folder, sizeof s->folder - 1);
    char *slash = length > 0 ? strrchr(s->folder, '/') : NULL;
    if (!slash) return "the program's own folder is not known";
    *slash = '\0';
    snprintf(path, sizeof path, "%s/oclora-generate", s->folder);
    if (access(path, X_OK) != 0) return "oclora-generate was not built (OCLORA_LLAMA_DIR)";
    if (mkdir(s->options->work, 0777) != 0 && errno != EEXIST) return "--work cannot be made";
    if (!bench_model_read(&s->model, s->options->model)) return "the model cannot be read";
    if (oclora_device_find(&env, s->options->device, &device, &err) != OCLORA_OK)
        return "no such OpenCL device";
    s->python = getenv("OCLORA_PEFT_PYTHON");
    s->pocl = strstr(device.platform, "Portable Computing Language");
    return NULL;
}

int bench_system(bench_report *report)
{
    jobs s = {.report = report, .options = report->options};
    const char *lacks = prepare(&s);
    for (size_t i = 0; i < n_cases(); i++) {
        if (!bench_wanted(s.options, "system", cases[i].base.name)) continue;
        if (lacks)
            bench_report_missing(report, &cases[i].base, "%s", lacks);
        else if (cases[i].peer.program == PEFT && !s.python)
            bench_report_missing(report, &cases[i].base,
                                 "needs PEFT: tools/setup peft, then eval \"$(tools/setup env)\"");
        else
            run_case(&s, &cases[i]);
    }
    return BENCH_EXIT_OK;
}
