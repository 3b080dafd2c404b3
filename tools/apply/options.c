/* options.c - the command line of oclora-apply. */
#include "tools/apply/apply.h"

#include <getopt.h>
#include <stdio.h>

static const char help[] =
    "Usage: oclora-apply CASE_DIR [options]\n\n"
    "Serves a golden-style case (case.json, case.safetensors and its adapters) through the native\n"
    "ABI and compares every expected output.\n\n"
    "      --adapter PATH    this adapter in place of the case's own, on every row of every "
    "module\n"
    "      --output NAME     what it is compared with (Y)\n"
    "      --device D        OpenCL device: its number or a part of \"platform / name\"\n"
    "      --class C         kernels for a cpu or a gpu (auto: what the device is)\n"
    "      --store W         factors in device memory: auto, f32, f16 or q8_0 (auto)\n"
    "      --json            results as one JSON object\n"
    "  -h, --help            this text\n"
    "      --version         name and version\n\n"
    "Allowed max|d| / max|ref|: the case's tolerance_fp32 with auto and f32; 2e-3 with f16 and "
    "3e-2\n"
    "with q8_0; 2e-2 and 5e-1 for layers in a chain, each of which enlarges the rounding before "
    "it.\n\n"
    "Exit status: 0 all within tolerance, 1 not so or an adapter was refused, 2 usage, 3 no "
    "device\n"
    "or no readable case.\n";

enum { OPT_ADAPTER = 256, OPT_OUTPUT, OPT_DEVICE, OPT_CLASS, OPT_STORE, OPT_JSON, OPT_VERSION };

static const struct option long_options[] = {
    {"adapter", required_argument, NULL, OPT_ADAPTER},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"class", required_argument, NULL, OPT_CLASS},
    {"store", required_argument, NULL, OPT_STORE},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool parse_option(oclora_apply_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_ADAPTER:
        o->adapter = text;
        return true;
    case OPT_OUTPUT:
        o->output = text;
        return true;
    case OPT_DEVICE:
        o->device = text;
        return true;
    case OPT_CLASS:
        if (oclora_class_parse(text, &o->device_class)) return true;
        fprintf(stderr, "oclora-apply: --class knows auto, cpu and gpu, not \"%s\"\n", text);
        return false;
    case OPT_STORE:
        if (oclora_store_parse(text, &o->store)) return true;
        fprintf(stderr, "oclora-apply: --store knows auto, f32, f16 and q8_0, not \"%s\"\n", text);
        return false;
    case OPT_JSON:
        o->json = true;
        return true;
    default:
        return false;
    }
}

static bool usage(int *status)
{
    fputs("Try \"oclora-apply --help\".\n", stderr);
    *status = OCLORA_TOOL_USAGE;
    return false;
}

bool oclora_apply_options_parse(oclora_apply_options *out, int argc, char **argv, int *status)
{
    int option;
    out->output = "Y";
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h' || option == OPT_VERSION) {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("oclora-apply %s\n", OCLORA_VERSION);
            *status = OCLORA_TOOL_OK;
            return false;
        }
        if (!parse_option(out, option, optarg)) return usage(status);
    }
    if (argc - optind != 1) {
        fputs("oclora-apply: give one folder, that of a case\n", stderr);
        return usage(status);
    }
    out->folder = argv[optind];
    return true;
}
