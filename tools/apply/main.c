/* main.c - oclora-apply: a golden-style case through the native ABI. */
#include "tools/apply/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The case's base on the device; a quantised base as it was quantised. */
static oclora_status add_weights(oclora_apply *a, oclora_error *err)
{
    for (size_t m = 0; m < a->file.n_modules; m++) {
        const char *name = oclora_case_module(&a->file, m);
        size_t dims[2] = {0}, bias_dims[2] = {0};
        float *w = oclora_case_values(&a->file, name, "W", dims);
        float *bias = oclora_case_values(&a->file, name, "bias", bias_dims);
        const oclora_file_tensor *packed = oclora_case_tensor(&a->file, name, "W_q4_0");
        oclora_status status = OCLORA_OK;
        if (w == NULL || (bias != NULL && bias_dims[1] != dims[0]))
            status = oclora_fail(err, OCLORA_FILE_FORMAT, "%s/case.safetensors: %s", name,
                                 w == NULL ? "no weight W in f32" : "the bias does not fit W");
        else if (packed == NULL)
            status = oclora_layers_add_f32(&a->layers, name, w, bias, (uint32_t)dims[0],
                                           (uint32_t)dims[1], err);
        else {
            const oclora_weight_args args = {.struct_size = sizeof args,
                                             .name = name,
                                             .name_length = strlen(name),
                                             .data = packed->data,
                                             .data_bytes = packed->bytes,
                                             .bias = bias,
                                             .type = OCLORA_TYPE_Q4_0,
                                             .d_in = (uint32_t)dims[1],
                                             .d_out = (uint32_t)dims[0]};
            status = oclora_layers_add(&a->layers, &args, NULL, err);
        }
        free(w);
        free(bias);
        OCLORA_TRY(status);
    }
    return OCLORA_OK;
}

static oclora_status prepare(oclora_apply *a, oclora_error *err)
{
    OCLORA_TRY(oclora_case_open(&a->file, a->options->folder, err));
    OCLORA_TRY(oclora_layers_open(&a->layers, a->options->device, a->options->device_class, err));
    OCLORA_TRY(add_weights(a, err));
    return oclora_apply_run(a, err);
}

int main(int argc, char **argv)
{
    oclora_apply_options options = {0};
    oclora_apply apply = {.options = &options};
    oclora_error err = {0};
    int status = OCLORA_TOOL_OK;
    if (!oclora_apply_options_parse(&options, argc, argv, &status)) return status;
    if (prepare(&apply, &err) != OCLORA_OK) {
        fprintf(stderr, "oclora-apply: %s: %s\n", oclora_status_name(err.status), err.text);
        status = OCLORA_TOOL_SETUP;
    } else if (!oclora_apply_report(&apply)) {
        status = OCLORA_TOOL_FAILED;
    }
    oclora_layers_close(&apply.layers);
    oclora_case_close(&apply.file);
    free(apply.results);
    return status;
}
