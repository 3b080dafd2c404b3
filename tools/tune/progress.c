#include "tools/tune/progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const tune_verdicts[TUNE_VERDICTS] = {"kept", "taken", "wrong"};

enum { LINE_MAX_BYTES = 512 };

json_t *tune_step_json(const tune_step *step)
{
    return json_pack("{s:s,s:I,s:I,s:f,s:f,s:s}", "param", oclora_tune_infos[step->param].name,
                     "value", (json_int_t)step->value, "against", (json_int_t)step->against, "gain",
                     step->gain, "noise", step->noise, "verdict", tune_verdicts[step->verdict]);
}

static bool read_step(const char *line, uint32_t device_class, tune_step *out)
{
    const char *name = NULL, *verdict = NULL;
    json_int_t value = 0, against = 0;
    json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    bool ok = row && json_unpack(row, "{s:s,s:I,s:I,s:F,s:F,s:s!}", "param", &name, "value", &value,
                                 "against", &against, "gain", &out->gain, "noise", &out->noise,
                                 "verdict", &verdict) == 0;
    if (ok) {
        out->param = oclora_tune_of_name(name, strlen(name));
        ok = value > 0 && value <= UINT32_MAX && against > 0 && against <= UINT32_MAX &&
             oclora_tune_valid(device_class, out->param, (uint32_t)value) &&
             oclora_tune_valid(device_class, out->param, (uint32_t)against) && out->gain >= 0 &&
             out->gain < 1e6 && out->noise >= 0 && out->noise < 1e6;
        out->value = (uint32_t)value;
        out->against = (uint32_t)against;
        out->verdict = TUNE_VERDICTS;
        for (int i = 0; ok && i < TUNE_VERDICTS; i++)
            if (!strcmp(verdict, tune_verdicts[i])) out->verdict = (tune_verdict)i;
    }
    json_decref(row);
    return ok && out->verdict < TUNE_VERDICTS;
}

static bool remember(tune_progress *p, const tune_step *step)
{
    if (p->count == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 32;
        tune_step *grown = realloc(p->steps, capacity * sizeof *grown);
        if (!grown) return false;
        p->steps = grown;
        p->capacity = capacity;
    }
    p->steps[p->count++] = *step;
    return true;
}

/* False: not a file of this program and device. */
static bool read_file(tune_progress *p, FILE *in, uint32_t device_class)
{
    char line[4 * LINE_MAX_BYTES];
    tune_step step;
    for (size_t n = 0; fgets(line, sizeof line, in); n++) {
        char *end = strchr(line, '\n');
        if (!end) return n > 0 && feof(in); /* cut short: nothing after it counts */
        *end = '\0';
        if (n == 0 && strcmp(line, p->identity) != 0) return false;
        if (n > 0 && (!read_step(line, device_class, &step) || !remember(p, &step))) return false;
    }
    return true;
}

static bool write_line(FILE *out, const tune_step *step)
{
    json_t *row = tune_step_json(step);
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    const bool ok = text && fprintf(out, "%s\n", text) > 0;
    free(text);
    json_decref(row);
    return ok;
}

static bool finish(FILE *file, bool ok)
{
    ok = ok && fflush(file) == 0 && fsync(fileno(file)) == 0;
    return fclose(file) == 0 && ok;
}

static bool fail(const tune_progress *p)
{
    fprintf(stderr, "oclora-tune: %s could not be written\n", p->path);
    return false;
}

/* The folders above the file, where they are not there yet. */
static void make_parents(const char *path)
{
    char part[4096];
    for (const char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/'))
        if (snprintf(part, sizeof part, "%.*s", (int)(at - path), path) < (int)sizeof part)
            mkdir(part, 0700);
}

/* The file as it is known now, in one piece. */
static bool rewrite(const tune_progress *p)
{
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s.new", p->path);
    if (length < 0 || (size_t)length >= sizeof path) return fail(p);
    make_parents(path);
    FILE *out = fopen(path, "w");
    if (!out) return fail(p);
    bool ok = fprintf(out, "%s\n", p->identity) > 0;
    for (size_t i = 0; ok && i < p->count; i++) ok = write_line(out, &p->steps[i]);
    return finish(out, ok) && rename(path, p->path) == 0 ? true : fail(p);
}

bool tune_progress_open(tune_progress *out, const char *path, const char *identity, bool anew,
                        uint32_t device_class)
{
    *out = (tune_progress){0};
    if (!path) return true;
    out->path = strdup(path);
    out->identity = strdup(identity);
    if (!out->path || !out->identity) return false;
    FILE *in = anew ? NULL : fopen(path, "r");
    if (in && !read_file(out, in, device_class)) {
        fprintf(stderr, "oclora-tune: %s is of another device or run; it is begun anew\n", path);
        out->count = 0;
    }
    if (in) fclose(in);
    return rewrite(out);
}

void tune_progress_close(tune_progress *progress)
{
    free(progress->path);
    free(progress->identity);
    free(progress->steps);
    *progress = (tune_progress){0};
}

const tune_step *tune_progress_find(const tune_progress *progress, uint32_t param, uint32_t value,
                                    uint32_t against)
{
    for (size_t i = 0; i < progress->count; i++) {
        const tune_step *step = &progress->steps[i];
        if (step->param == param && step->value == value && step->against == against) return step;
    }
    return NULL;
}

bool tune_progress_add(tune_progress *progress, const tune_step *step)
{
    if (!remember(progress, step)) return false;
    if (!progress->path) return true;
    FILE *out = fopen(progress->path, "a");
    if (!out) return fail(progress);
    return finish(out, write_line(out, step)) ? true : fail(progress);
}
