#include "host/core/cache.h"
#include "host/core/program.h"
#include "tools/tune/tune.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct tuner {
    const tune_options *options;
    bench_device device;
    uint32_t device_class;
    tune_progress progress;
    uint32_t table[OCLORA_TUNE_COUNT]; /* 0: not of this class */
    uint32_t best[OCLORA_TUNE_COUNT];
    double gain[OCLORA_TUNE_COUNT];
    unsigned done, total, wrong;
    json_t *steps;
} tuner;

static bool wanted(const tuner *t, uint32_t param)
{
    const char *only = t->options->param;
    return t->table[param] && *tune_candidates(param) &&
           (!only || !strcmp(only, oclora_tune_infos[param].name));
}

static const char *folder(const tuner *t)
{
    return oclora_context_cache_dir(t->device.context);
}

/* Everything that makes another run's figures worthless here. */
static char *identity_of(const tuner *t)
{
    const oclora_device *d = &t->device.info;
    json_t *values = json_object();
    for (uint32_t i = 0; values && i < OCLORA_TUNE_COUNT; i++)
        if (t->table[i])
            json_object_set_new(values, oclora_tune_infos[i].name, json_integer(t->table[i]));
    json_t *head =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:i,s:b,s:o}", "oclora-tune", 1, "version", OCLORA_VERSION,
                  "platform", d->platform, "device", d->name, "driver", d->driver, "class",
                  (int)t->device_class, "quick", (int)t->options->quick, "table", values);
    char *text = head ? json_dumps(head, JSON_COMPACT) : NULL;
    json_decref(head);
    return text;
}

/* One file a device, class and kind of run. */
static bool state_path(const tuner *t, const char *identity, char *out, size_t size)
{
    if (t->options->state) return snprintf(out, size, "%s", t->options->state) < (int)size;
    oclora_cache_key key;
    if (!folder(t) || !oclora_cache_key_make(&key, &identity, 1) ||
        !oclora_cache_path(folder(t), &key, out, size))
        return false;
    char *end = strrchr(out, '.');
    return end && snprintf(end, size - (size_t)(end - out), ".tune") > 0;
}

static bool open_progress(tuner *t)
{
    char path[4096];
    char *identity = identity_of(t);
    const bool named = identity && state_path(t, identity, path, sizeof path);
    if (!named) fprintf(stderr, "oclora-tune: no cache folder: progress is not kept\n");
    const bool ok = tune_progress_open(&t->progress, named ? path : NULL, identity,
                                       t->options->restart, t->device_class);
    free(identity);
    return ok;
}

static void count_steps(tuner *t)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        for (const uint32_t *v = tune_candidates(i); wanted(t, i) && *v; v++)
            t->total += *v != t->table[i];
}

static void say_step(tuner *t, const tune_step *s, bool known)
{
    fprintf(stderr, "[%u/%u] %s %u against %u: ", ++t->done, t->total,
            oclora_tune_infos[s->param].name, (unsigned)s->value, (unsigned)s->against);
    if (s->verdict == TUNE_WRONG)
        fprintf(stderr, "wrong results, never used");
    else
        fprintf(stderr, "%.3fx +- %.1f %%, %s", s->gain, 100 * s->noise, tune_verdicts[s->verdict]);
    fprintf(stderr, "%s\n", known ? " (measured before)" : "");
    json_array_append_new(t->steps, tune_step_json(s));
}

static bool do_step(tuner *t, const tune_expected *expected, uint32_t param, uint32_t value)
{
    tune_step step = {.param = param, .value = value, .against = t->best[param]};
    const tune_step *before = tune_progress_find(&t->progress, param, value, step.against);
    const bool known = before != NULL;
    if (known)
        step = *before;
    else if (!tune_measure(&step, expected, &t->device, t->options->quick) ||
             !tune_progress_add(&t->progress, &step))
        return false;
    say_step(t, &step, known);
    t->wrong += step.verdict == TUNE_WRONG;
    if (step.verdict == TUNE_TAKEN) {
        t->best[param] = value;
        t->gain[param] *= step.gain;
    }
    return true;
}

/* A file of progress is no proof: what was chosen is checked once more. */
static void verify(tuner *t, const tune_expected *expected, uint32_t param)
{
    if (t->best[param] == t->table[param] ||
        tune_same_bits(expected, &t->device, param, t->best[param]))
        return;
    t->wrong++;
    t->best[param] = t->table[param];
}

static bool tune_param(tuner *t, uint32_t param)
{
    tune_expected expected;
    if (!tune_expect(&expected, &t->device, param, t->table[param])) {
        t->wrong++;
        fprintf(stderr, "oclora-tune: %s stays as it is\n", oclora_tune_infos[param].name);
        return true;
    }
    bool ok = true;
    for (const uint32_t *v = tune_candidates(param); ok && *v; v++)
        if (*v != t->table[param]) ok = do_step(t, &expected, param, *v);
    if (ok) verify(t, &expected, param);
    tune_expected_free(&expected);
    /* The parameters after it are measured with what was chosen. */
    return ok && oclora_context_tune(t->device.context, param, t->best[param], &t->device.err) ==
                     OCLORA_OK;
}

/* Parameters that this run did not look at stay as an earlier one left them. */
static bool store(tuner *t)
{
    const oclora_env *env = &t->device.env;
    oclora_tune_record record;
    oclora_tune_record_load(&record, env, folder(t), &t->device.info);
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        if (wanted(t, i))
            record.values[t->device_class][i] = t->best[i] == t->table[i] ? 0 : t->best[i];
    if (oclora_tune_record_store(&record, env, folder(t), &t->device.info)) return true;
    fprintf(stderr, "oclora-tune: the record could not be written (no cache folder?)\n");
    return false;
}

/* "OCLORA_TUNE_ROW_SPAN" */
static void print_param(const char *name)
{
    printf("OCLORA_TUNE_");
    for (; *name; name++) putchar(toupper((unsigned char)*name));
}

static void print_rows(const tuner *t)
{
    const oclora_device *d = &t->device.info;
    const bool gpu = t->device_class == OCLORA_CLASS_GPU;
    unsigned n = 0;
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        if (!wanted(t, i) || t->best[i] == t->table[i]) continue;
        if (n++ == 0) printf("Rows for host/core/tune_table.c:\n");
        printf("    {OCLORA_CLASS_%s, \"%s\", \"%s\", \"%s\", ", gpu ? "GPU" : "CPU",
               oclora_tune_vendor(d), d->architecture, d->architecture[0] ? "" : d->name);
        print_param(oclora_tune_infos[i].name);
        printf(", %u,\n     \"oclora-tune: %.2fx of %u\"},\n", (unsigned)t->best[i], t->gain[i],
               (unsigned)t->table[i]);
    }
    if (n == 0) printf("Nothing is faster than the table.\n");
}

static void print_json(const tuner *t, bool stored)
{
    json_t *values = json_object();
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        if (wanted(t, i))
            json_object_set_new(values, oclora_tune_infos[i].name,
                                json_pack("{s:I,s:I,s:f}", "table", (json_int_t)t->table[i], "best",
                                          (json_int_t)t->best[i], "gain", t->gain[i]));
    json_t *out =
        json_pack("{s:s,s:s,s:s,s:s,s:b,s:i,s:O,s:o}", "platform", t->device.info.platform,
                  "device", t->device.info.name, "driver", t->device.info.driver, "class",
                  t->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu", "stored", (int)stored,
                  "wrong", (int)t->wrong, "steps", t->steps, "values", values);
    json_dumpf(out, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(5));
    putchar('\n');
    json_decref(out);
}

static int list(const tuner *t)
{
    static const char *const sources[] = {"table", "record", "OCLORA_TUNE", "call"};
    oclora_tuning tuning;
    oclora_tuning_load(&tuning, &t->device.env, folder(t), &t->device.info, t->device_class);
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        if (!tuning.values[i]) continue;
        const oclora_tune_row *row =
            oclora_tune_find(oclora_tune_rows, &t->device.info, t->device_class, i);
        printf("%-22s %8u  from %-12s %s (table: %u, %s)\n", oclora_tune_infos[i].name,
               (unsigned)tuning.values[i], sources[tuning.sources[i]], oclora_tune_infos[i].text,
               (unsigned)row->value, row->why);
    }
    return TUNE_EXIT_OK;
}

static int dry_run(const tuner *t)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        for (const uint32_t *v = tune_candidates(i); wanted(t, i) && *v; v++)
            if (*v != t->table[i])
                printf("%s %u against %u\n", oclora_tune_infos[i].name, (unsigned)*v,
                       (unsigned)t->table[i]);
    fprintf(stderr, "%u steps; nothing was measured\n", t->total);
    return TUNE_EXIT_OK;
}

static int reset(tuner *t)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) t->best[i] = t->table[i];
    return store(t) ? TUNE_EXIT_OK : TUNE_EXIT_ENVIRONMENT;
}

static int tune_all(tuner *t)
{
    if (!open_progress(t)) return TUNE_EXIT_ENVIRONMENT;
    t->steps = json_array();
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        if (wanted(t, i) && !tune_param(t, i)) return TUNE_EXIT_ENVIRONMENT;
    const bool stored = store(t);
    if (t->options->json)
        print_json(t, stored);
    else
        print_rows(t);
    if (!stored) return TUNE_EXIT_ENVIRONMENT;
    return t->wrong ? TUNE_EXIT_WRONG : TUNE_EXIT_OK;
}

/* The table's values, whatever a record or the environment says. */
static bool take_table(tuner *t)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        const oclora_tune_row *row =
            oclora_tune_find(oclora_tune_rows, &t->device.info, t->device_class, i);
        t->table[i] = t->best[i] = row ? row->value : 0;
        t->gain[i] = 1;
        if (row && *tune_candidates(i) &&
            oclora_context_tune(t->device.context, i, row->value, &t->device.err))
            return false;
    }
    count_steps(t);
    return true;
}

int tune_run(const tune_options *options)
{
    tuner t = {.options = options};
    int status = TUNE_EXIT_ENVIRONMENT;
    if (bench_device_open(&t.device, options->device, options->device_class)) {
        t.device_class = oclora_context_class(t.device.context);
        fprintf(stderr, "device: %s / %s\n", t.device.info.platform, t.device.info.name);
        if (!take_table(&t))
            fprintf(stderr, "oclora-tune: %s\n", t.device.err.text);
        else if (t.total == 0) {
            fprintf(stderr,
                    "oclora-tune: \"%s\" is no parameter to be measured on this device's class "
                    "(--list)\n",
                    options->param);
            status = TUNE_EXIT_USAGE;
        } else
            status = options->list      ? list(&t)
                     : options->dry_run ? dry_run(&t)
                     : options->reset   ? reset(&t)
                                        : tune_all(&t);
    }
    json_decref(t.steps);
    tune_progress_close(&t.progress);
    bench_device_close(&t.device);
    return status;
}
