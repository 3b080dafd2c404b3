#include "host/core/tune.h"

#include <string.h>
#include <strings.h>

static bool contains(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; *text; text++)
        if (!strncasecmp(text, part, length)) return true;
    return !length;
}

const char *oclora_tune_vendor(const oclora_device *device)
{
    static const struct {
        const char *part, *name;
    } gpus[] = {{"Advanced Micro", "amd"}, {"AMD", "amd"}, {"NVIDIA", "nvidia"},
                {"Intel", "intel"},        {"ARM", "arm"}, {"QUALCOMM", "qualcomm"}};
    if (device->type == OCLORA_DEVICE_CPU) {
        if (contains(device->platform, "Portable Computing Language")) return "pocl";
        return contains(device->platform, "Intel") ? "intel-cpu" : "";
    }
    for (size_t i = 0; i < sizeof gpus / sizeof gpus[0]; i++)
        if (contains(device->vendor, gpus[i].part)) return gpus[i].name;
    return "";
}

/* How closely the row speaks of the device; -1: not at all. */
static int closeness(const oclora_tune_row *row, const oclora_device *device)
{
    if (row->vendor[0] && strcmp(row->vendor, oclora_tune_vendor(device))) return -1;
    if (strncmp(device->architecture, row->architecture, strlen(row->architecture))) return -1;
    if (!contains(device->name, row->device)) return -1;
    return (row->device[0] ? 4 : 0) + (row->architecture[0] ? 2 : 0) + (row->vendor[0] ? 1 : 0);
}

const oclora_tune_row *oclora_tune_find(const oclora_tune_row *rows, const oclora_device *device,
                                        uint32_t device_class, uint32_t param)
{
    const oclora_tune_row *found = NULL;
    int best = -1;
    for (const oclora_tune_row *row = rows; row->why; row++) {
        if (row->param != param || row->device_class != device_class) continue;
        const int close = closeness(row, device);
        if (close <= best) continue;
        best = close;
        found = row;
    }
    return found;
}

uint32_t oclora_tune_of_name(const char *name, size_t length)
{
    uint32_t i = 0;
    while (i < OCLORA_TUNE_COUNT && (strlen(oclora_tune_infos[i].name) != length ||
                                     memcmp(oclora_tune_infos[i].name, name, length)))
        i++;
    return i;
}

bool oclora_tune_valid(uint32_t device_class, uint32_t param, uint32_t value)
{
    if (param >= OCLORA_TUNE_COUNT) return false;
    const oclora_tune_info *info = &oclora_tune_infos[param];
    return (info->classes >> device_class & 1u) && value >= info->least && value <= info->most &&
           value % info->multiple == 0;
}
