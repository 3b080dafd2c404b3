/* compare.c - what changed between two reports, device by device. The driver is no part of what
 * makes two devices the same, so that an update of it can be looked at. */
#include "tools/clinfo-bench/report.h"

#include <math.h>
#include <string.h>

static const json_t *same_device(const json_t *report, const json_t *device)
{
    size_t i;
    json_t *other;
    json_array_foreach(
        json_object_get(report, "devices"), i,
        other) if (!strcmp(bench_text(other, "platform"), bench_text(device, "platform")) &&
                   !strcmp(bench_text(other, "device"), bench_text(device, "device"))) return other;
    return NULL;
}

/* Text of an old report, which may hold anything, is no more than text on a terminal: bytes that
 * could steer one become '?'. Cut to the room. */
typedef struct harmless {
    char text[201];
} harmless;

static harmless tame(const json_t *object, const char *key)
{
    harmless out;
    snprintf(out.text, sizeof out.text, "%s", bench_text(object, key));
    for (unsigned char *at = (unsigned char *)out.text; *at; at++) {
        const bool c1 = *at == 0xc2 && at[1] < 0xa0; /* U+0080 to U+009F */
        if (c1) at[1] = '?';
        if (*at < ' ' || *at == 0x7f || c1) *at = '?';
    }
    return out;
}

static void compare_text(FILE *out, const json_t *before, const json_t *now, const char *key)
{
    if (!strcmp(bench_text(before, key), bench_text(now, key))) return;
    fprintf(out, "  %s: %s -> %s\n", key, tame(before, key).text, tame(now, key).text);
}

/* @return true if a line was printed. */
static bool compare_item(FILE *out, const char *section, const json_t *before, const json_t *now)
{
    const char *a = bench_text(before, "status"), *b = bench_text(now, "status");
    if (strcmp(a, b)) {
        fprintf(out, "  %s %s: %s -> %s%s%s\n", section, tame(now, "name").text,
                tame(before, "status").text, tame(now, "status").text,
                bench_text(now, "detail")[0] ? "; " : "", tame(now, "detail").text);
        return true;
    }
    double x = bench_number(before, "value"), y = bench_number(now, "value");
    if (!(x > 0) || !(y > 0)) return false;
    double change = 100 * (y / x - 1);
    double noise =
        fmax(bench_number(before, "spread_percent"), bench_number(now, "spread_percent"));
    /* Twice as fast is as far as half as fast; the plain change of a fall never exceeds 100 %. */
    const double apart = 100 * (fmax(x, y) / fmin(x, y) - 1);
    if (apart <= fmax(10, 2 * noise)) return false;
    fprintf(out, "  %s %s: %.4g -> %.4g %s (%+.0f %%, noise %.0f %%)\n", section,
            tame(now, "name").text, x, y, tame(now, "unit").text, change, noise);
    return true;
}

static void compare_device(FILE *out, const json_t *before, const json_t *now)
{
    const char *name;
    json_t *section, *item;
    size_t i, changes = 0, same = 0;
    fprintf(out, "\n%s / %s\n", tame(now, "platform").text, tame(now, "device").text);
    compare_text(out, before, now, "driver");
    compare_text(out, before, now, "version");
    compare_text(out, before, now, "verdict");
    json_object_foreach(json_object_get(now, "sections"), name, section)
    {
        json_array_foreach(section, i, item)
        {
            const json_t *old_item = bench_find_item(before, name, bench_text(item, "name"));
            if (!old_item) continue;
            if (compare_item(out, name, old_item, item))
                changes++;
            else
                same++;
        }
    }
    fprintf(out, "  %zu items changed, %zu as before\n", changes, same);
}

void bench_compare(FILE *out, const json_t *old_report, const json_t *new_report)
{
    size_t i;
    json_t *device;
    fprintf(out, "\nAgainst the report of %s (clinfo-bench %s):\n",
            tame(old_report, "created").text, tame(old_report, "project_version").text);
    json_array_foreach(json_object_get(new_report, "devices"), i, device)
    {
        const json_t *before = same_device(old_report, device);
        if (before)
            compare_device(out, before, device);
        else
            fprintf(out, "\n%s / %s\n  is not in the old report\n", tame(device, "platform").text,
                    tame(device, "device").text);
    }
}
