#include "host/core/cl.h"
#include "host/core/quirks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static oclora_status disable(oclora_context *context, const char *subject, const char *reason,
                             oclora_error *err)
{
    OCLORA_TRY(oclora_reserve(&context->env, &context->disabled, &context->disabled_capacity,
                              context->n_disabled + 1, sizeof *context->disabled, err));
    oclora_disabled *d = &context->disabled[context->n_disabled++];
    snprintf(d->subject, sizeof d->subject, "%s", subject);
    snprintf(d->reason, sizeof d->reason, "%s", reason);
    return OCLORA_OK;
}

static oclora_status apply_quirk(oclora_context *context, const oclora_quirk *quirk,
                                 oclora_error *err)
{
    oclora_device *device = &context->device;
    char reason[200];
    oclora_log(&context->env, OCLORA_LOG_INFO, "quirk %s of '%s': %s %s (%s)", quirk->id,
               device->name, oclora_quirk_effect_name(quirk->effect), quirk->subject,
               quirk->citation);
    snprintf(reason, sizeof reason, "quirk %s, %s", quirk->id, quirk->citation);
    switch (quirk->effect) {
    case OCLORA_QUIRK_FEATURE:
        device->features &= ~oclora_feature_of_name(quirk->subject);
        return OCLORA_OK;
    case OCLORA_QUIRK_ALLOC:
        if (device->max_alloc_bytes > quirk->limit) device->max_alloc_bytes = quirk->limit;
        return OCLORA_OK;
    case OCLORA_QUIRK_BINARIES:
        context->no_binaries = true;
        return OCLORA_OK;
    case OCLORA_QUIRK_KERNEL:
        return disable(context, quirk->subject, reason, err);
    default:
        return oclora_fail(err, OCLORA_DEVICE_REFUSED,
                           "driver '%s' of device '%s' is refused: %s; update it, or run "
                           "clinfo-bench --full there, which lifts this if everything passes",
                           device->driver, device->name, reason);
    }
}

/* What failed on this very device needs no entry in the table. */
static oclora_status apply_record(oclora_context *context, const oclora_record *record,
                                  oclora_error *err)
{
    const char *own = context->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu";
    for (size_t i = 0; i < record->count; i++) {
        const oclora_record_entry *entry = &record->entries[i];
        if (entry->passed) continue;
        if (!strcmp(entry->class_name, "probe"))
            context->device.features &= ~oclora_feature_of_name(entry->name);
        if (strcmp(entry->class_name, own)) continue;
        oclora_log(
            &context->env, OCLORA_LOG_WARN,
            "kernel %s failed its self-test on '%s' and is not used; clinfo-bench tries again",
            entry->name, context->device.name);
        OCLORA_TRY(disable(context, entry->name, "it failed its self-test (clinfo-bench)", err));
    }
    return OCLORA_OK;
}

/* What only costs time is avoided always. */
static bool is_ignored(const oclora_quirk *quirk, bool ignore_all, const char *list)
{
    if (quirk->effect == OCLORA_QUIRK_BINARIES) return false;
    return ignore_all || oclora_quirk_ignored(list, quirk->id);
}

oclora_status oclora_context_apply_quirks(oclora_context *context, bool ignore_all,
                                          oclora_error *err)
{
    const char *list = getenv("OCLORA_IGNORE_QUIRKS");
    const bool ignore_record = ignore_all || oclora_quirk_ignored(list, "");
    const oclora_device reported = context->device;
    oclora_record record;
    oclora_record_load(&record, &context->env, context->cache_dir, &reported);
    oclora_status status = OCLORA_OK;
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id && !status; quirk++) {
        if (!oclora_quirk_matches(quirk, &reported) ||
            oclora_quirk_lifted(quirk, &record, context->device_class))
            continue;
        if (!is_ignored(quirk, ignore_all, list))
            status = apply_quirk(context, quirk, err);
        else if (!ignore_all)
            oclora_log(&context->env, OCLORA_LOG_WARN,
                       "OCLORA_IGNORE_QUIRKS is set: quirk %s of '%s' is not avoided (%s)",
                       quirk->id, reported.name, quirk->citation);
    }
    if (!status && !ignore_record) status = apply_record(context, &record, err);
    oclora_record_free(&record);
    return status;
}

const char *oclora_context_disabled_reason(const oclora_context *context, const char *file,
                                           const char *defines)
{
    for (size_t i = 0; i < context->n_disabled; i++)
        if (oclora_quirk_covers(context->disabled[i].subject, file, defines))
            return context->disabled[i].reason;
    return NULL;
}

bool oclora_context_kernel_enabled(const oclora_context *context, const char *file,
                                   const char *defines)
{
    return !oclora_context_disabled_reason(context, file, defines);
}
