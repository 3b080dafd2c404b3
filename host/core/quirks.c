#include "host/core/quirks.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    uint32_t bit;
} features[] = {
    {"fp16", OCLORA_FEATURE_FP16},
    {"fp64", OCLORA_FEATURE_FP64},
    {"subgroups", OCLORA_FEATURE_SUBGROUPS},
    {"int_dot", OCLORA_FEATURE_INT_DOT},
    {"integer_dot_product", OCLORA_FEATURE_INT_DOT},
    {"svm", OCLORA_FEATURE_SVM},
    {"out_of_order", OCLORA_FEATURE_OUT_OF_ORDER},
};

uint32_t oclora_feature_of_name(const char *name)
{
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        if (!strcmp(features[i].name, name)) return features[i].bit;
    return 0;
}

const char *oclora_quirk_effect_name(uint32_t effect)
{
    static const char *const names[] = {"no effect",           "feature off",
                                        "kernel disabled",     "device refused",
                                        "allocations limited", "built kernels not kept"};
    return effect < sizeof names / sizeof names[0] ? names[effect] : names[0];
}

/* The next number of a text and where it ends; -1 if there is none. */
static long next_number(const char **at)
{
    while (**at && !isdigit((unsigned char)**at)) (*at)++;
    if (!**at) return -1;
    char *end = NULL;
    long value = strtol(*at, &end, 10);
    *at = end;
    return value;
}

int oclora_driver_compare(const char *a, const char *b)
{
    while (true) {
        long x = next_number(&a), y = next_number(&b);
        if (x != y) return x < y ? -1 : 1;
        if (x < 0) return 0;
    }
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);
    if (!length) return true;
    for (; *text; text++)
        if (!strncasecmp(text, part, length)) return true;
    return false;
}

bool oclora_quirk_matches(const oclora_quirk *quirk, const oclora_device *device)
{
    if (!contains(device->platform, quirk->platform) || !contains(device->vendor, quirk->vendor) ||
        !contains(device->name, quirk->device))
        return false;
    if (quirk->type && quirk->type != device->type) return false;
    /* Qualcomm's driver text is long; its version begins at "E0". */
    const char *driver = strstr(device->driver, "E0");
    if (!driver) driver = device->driver;
    if (quirk->driver_from[0] && oclora_driver_compare(driver, quirk->driver_from) < 0)
        return false;
    return !quirk->driver_to[0] || oclora_driver_compare(driver, quirk->driver_to) < 0;
}

bool oclora_quirk_lifted(const oclora_quirk *quirk, const oclora_record *record,
                         uint32_t device_class)
{
    const char *retest = quirk->retest;
    if (!record || !retest[0]) return false;
    if (!strncmp(retest, "probe ", 6)) return oclora_record_find(record, "probe", retest + 6) == 1;
    if (!strncmp(retest, "kernel ", 7))
        return oclora_record_find(record, device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu",
                                  retest + 7) == 1;
    return !strcmp(retest, "device") && oclora_record_find(record, "device", "all") == 1;
}

static bool names_a_quirk(const char *list)
{
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id; quirk++)
        if (strstr(list, quirk->id)) return true;
    return false;
}

bool oclora_quirk_ignored(const char *list, const char *id)
{
    if (!list || !list[0] || !strcmp(list, "0")) return false;
    if (!names_a_quirk(list)) return true;
    const size_t length = strlen(id);
    for (const char *at = list; length && (at = strstr(at, id)); at += length) {
        const bool starts = at == list || at[-1] == ',';
        if (starts && (at[length] == ',' || !at[length])) return true;
    }
    return false;
}

bool oclora_quirk_covers(const char *subject, const char *file, const char *defines)
{
    size_t length = strcspn(subject, ":");
    if (strlen(file) != length || memcmp(subject, file, length)) return false;
    if (!subject[length]) return true;
    /* "TYPE=1" covers neither "A_TYPE=1" nor "TYPE=10". */
    const char *part = subject + length + 1;
    size_t part_length = strlen(part);
    for (const char *at = defines; (at = strstr(at, "-D")); at++)
        if (!strncmp(at + 2, part, part_length) &&
            (at[2 + part_length] == '\0' || at[2 + part_length] == ' '))
            return true;
    return false;
}
