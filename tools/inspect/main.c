/* main.c - oclora-inspect: what an adapter holds, and its intruder dimensions over a base. */
#include "host/adapter/bind.h"
#include "tools/inspect/inspect.h"
#include "tools/shared/layers.h"

#include <stdio.h>
#include <stdlib.h>

static oclora_status audit_module(oclora_audit *out, oclora_adapter_image *image, size_t index,
                                  const oclora_base_file *base, const oclora_inspect_options *o,
                                  oclora_error *err)
{
    oclora_module *module = &image->modules[index];
    float *w = NULL;
    uint32_t d_out = 0, d_in = 0;
    OCLORA_TRY(oclora_base_file_weight(base, module->name, image->naming, &w, &d_out, &d_in, err));
    oclora_status status = oclora_module_bind(image, module, d_in, d_out, err);
    if (status == OCLORA_OK && oclora_module_needs_norms(module))
        status = oclora_dora_resolve(image, module, w, 0, d_out, err);
    if (status == OCLORA_OK)
        status = oclora_audit_module(out, module, w, o, o->folder != NULL, err);
    free(w);
    return status;
}

static oclora_status audit(oclora_audit *audits, oclora_adapter_image *image,
                           const oclora_inspect_options *o, oclora_error *err)
{
    oclora_base_file base = {0};
    oclora_status status = oclora_base_file_open(&base, o->base, err);
    if (status != OCLORA_OK) oclora_error_prefix(err, status, "base %s", o->base);
    for (size_t i = 0; i < image->n_modules && status == OCLORA_OK; i++)
        status = audit_module(&audits[i], image, i, &base, o, err);
    oclora_base_file_close(&base);
    if (status == OCLORA_OK && o->folder != NULL)
        status = oclora_write_repaired(o->folder, image, audits, err);
    return status;
}

static oclora_status inspect(const oclora_inspect_options *o, oclora_error *err)
{
    const oclora_env env = {0};
    oclora_adapter_image *image = NULL;
    oclora_audit *audits = NULL;
    OCLORA_TRY(oclora_adapter_load(&image, &env, o->adapter, OCLORA_STORE_AUTO, err));
    const size_t count = image->n_modules;
    oclora_status status = OCLORA_OK;
    if (o->base != NULL) {
        audits = calloc(count, sizeof *audits);
        status = audits != NULL ? audit(audits, image, o, err)
                                : oclora_fail_memory(err, count * sizeof *audits, "audits");
    }
    if (status == OCLORA_OK) oclora_inspect_report(image, audits, o);
    for (size_t i = 0; i < count && audits != NULL; i++) oclora_audit_free(&audits[i]);
    free(audits);
    oclora_adapter_image_destroy(image);
    return status;
}

/* What the machine or the build lacks, against what is wrong with the adapter. */
static bool is_setup(oclora_status status)
{
    return status == OCLORA_FILE_NOT_FOUND || status == OCLORA_FILE_READ ||
           status == OCLORA_OUT_OF_HOST_MEMORY;
}

int main(int argc, char **argv)
{
    oclora_inspect_options options;
    oclora_error err = {0};
    int status = OCLORA_TOOL_OK;
    if (!oclora_inspect_options_parse(&options, argc, argv, &status)) return status;
    const oclora_status done = inspect(&options, &err);
    if (done == OCLORA_OK) return OCLORA_TOOL_OK;
    fprintf(stderr, "oclora-inspect: %s: %s\n", oclora_status_name(done), err.text);
    return is_setup(done) ? OCLORA_TOOL_SETUP : OCLORA_TOOL_FAILED;
}
