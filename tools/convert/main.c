/* main.c - oclora-convert: adapters from one form of file to another. */
#include "tools/convert/convert.h"
#include "tools/shared/layers.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help[] =
    "Usage: oclora-convert IN OUT [options]\n\n"
    "IN is a PEFT folder (FOLDER#task=N for one of several), a GGUF LoRA file or a compact "
    "file.\n\n"
    "      --to W          compact: one file that is served from where it lies (the default)\n"
    "                      peft: a folder, for kinds that PEFT has: LoRA and its relatives, DoRA,\n"
    "                      VeRA, HiRA, IA3\n"
    "      --store W       type of the factors: auto (as they are), f32, f16 or q8_0\n"
    "  -h, --help          this text\n"
    "      --version       name and version\n\n"
    "What is there at OUT is replaced. With --store auto the converted adapter gives bit by bit "
    "the\n"
    "same results.\n\n"
    "Exit status: 0 written, 1 the adapter is refused, 2 usage, 3 a file cannot be read or "
    "written.\n";

enum { OPT_TO = 256, OPT_STORE, OPT_VERSION };

static const struct option long_options[] = {
    {"to", required_argument, NULL, OPT_TO},
    {"store", required_argument, NULL, OPT_STORE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool usage(int *status)
{
    fputs("Try \"oclora-convert --help\".\n", stderr);
    *status = OCLORA_TOOL_USAGE;
    return false;
}

static bool parse_option(oclora_convert_options *o, int option, const char *text)
{
    if (option == OPT_TO) {
        o->to_peft = strcmp(text, "peft") == 0;
        if (o->to_peft || strcmp(text, "compact") == 0) return true;
        fprintf(stderr, "oclora-convert: --to knows compact and peft, not \"%s\"\n", text);
        return false;
    }
    if (option != OPT_STORE) return false;
    if (oclora_store_parse(text, &o->store)) return true;
    fprintf(stderr, "oclora-convert: --store knows auto, f32, f16 and q8_0, not \"%s\"\n", text);
    return false;
}

bool oclora_convert_options_parse(oclora_convert_options *out, int argc, char **argv, int *status)
{
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h' || option == OPT_VERSION) {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("oclora-convert %s\n", OCLORA_VERSION);
            *status = OCLORA_TOOL_OK;
            return false;
        }
        if (!parse_option(out, option, optarg)) return usage(status);
    }
    if (argc - optind != 2) {
        fputs("oclora-convert: give an adapter and where to write it\n", stderr);
        return usage(status);
    }
    out->in = argv[optind];
    out->out = argv[optind + 1];
    return true;
}

static oclora_status convert(const oclora_convert_options *o, oclora_error *err)
{
    const oclora_env env = {0};
    oclora_adapter_image *image = NULL;
    OCLORA_TRY(oclora_adapter_load(&image, &env, o->in, o->store, err));
    const oclora_status status = o->to_peft ? oclora_write_peft(o->out, image, err)
                                            : oclora_write_compact(o->out, image, err);
    oclora_adapter_image_destroy(image);
    return status;
}

int main(int argc, char **argv)
{
    oclora_convert_options options = {0};
    oclora_error err = {0};
    int status = OCLORA_TOOL_OK;
    if (!oclora_convert_options_parse(&options, argc, argv, &status)) return status;
    const oclora_status done = convert(&options, &err);
    if (done == OCLORA_OK) return OCLORA_TOOL_OK;
    fprintf(stderr, "oclora-convert: %s: %s\n", oclora_status_name(done), err.text);
    return done == OCLORA_FILE_NOT_FOUND || done == OCLORA_FILE_READ ? OCLORA_TOOL_SETUP
                                                                     : OCLORA_TOOL_FAILED;
}
