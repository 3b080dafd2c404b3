/* quirks.h - what is known to be wrong with a driver, as data. Each entry is a fact with its
 * source, and a way to retest it; a passing self-test of clinfo-bench on the very device lifts it,
 * a failing one disables the kernel without any entry. No OpenCL here. */
#ifndef OCLORA_CORE_QUIRKS_H
#define OCLORA_CORE_QUIRKS_H

#include "host/core/device.h"
#include "host/core/record.h"

enum {
    OCLORA_QUIRK_FEATURE = 1, /* a feature is not used; subject: fp16, fp64, subgroups, ... */
    OCLORA_QUIRK_KERNEL =
        2, /* a kernel is not launched; subject: "file" or "file:part of defines" */
    OCLORA_QUIRK_REFUSE = 3, /* no context is made on the device */
    OCLORA_QUIRK_ALLOC = 4,  /* the largest allocation is `limit` bytes */
    OCLORA_QUIRK_BINARIES =
        5 /* built kernels are not kept on disk; holds also where quirks are ignored */
};

typedef struct oclora_quirk {
    const char *id;
    const char *platform; /* parts of the device's own texts, case ignored; "" = any */
    const char *vendor;
    const char *device;
    uint32_t type;           /* OCLORA_DEVICE_*, 0 = any */
    const char *driver_from; /* first driver that has it, "" = all before */
    const char *driver_to;   /* first driver that has it no more, "" = all after */
    uint32_t effect;         /* OCLORA_QUIRK_* */
    const char *subject;
    uint64_t limit;
    const char *citation;
    const char *retest; /* the item of clinfo-bench that lifts it: "probe NAME", "kernel FILE",
                           "device" (everything passes); "by hand: ..." says how where no
                           item does */
} oclora_quirk;

/* Ends with an entry whose id is NULL. */
extern const oclora_quirk oclora_quirks[];

/* Orders two driver versions by the numbers in them: "E031.38.11" < "E031.45". <0, 0, >0. */
int oclora_driver_compare(const char *a, const char *b);

bool oclora_quirk_matches(const oclora_quirk *quirk, const oclora_device *device);
/* Whether the device's own self-test says otherwise. `record` may be NULL. */
bool oclora_quirk_lifted(const oclora_quirk *quirk, const oclora_record *record,
                         uint32_t device_class);

/* OCLORA_FEATURE_* of a name, 0 if there is none. */
uint32_t oclora_feature_of_name(const char *name);
const char *oclora_quirk_effect_name(uint32_t effect); /* "kernel disabled"; never NULL */

/* Whether OCLORA_IGNORE_QUIRKS, whose value is `list` (NULL = unset), names the quirk: "1" (or any
 * other text without an id in it) ignores all, a list of ids with commas only those, "" and "0"
 * none. `id` "": whether all are ignored. */
bool oclora_quirk_ignored(const char *list, const char *id);

/* Whether `subject` ("file" or "file:part") speaks of this kernel file and defines. */
bool oclora_quirk_covers(const char *subject, const char *file, const char *defines);

#endif
