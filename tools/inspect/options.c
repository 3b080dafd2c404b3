/* options.c - the command line of oclora-inspect. */
#include "tools/inspect/inspect.h"
#include "tools/shared/layers.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "Usage: oclora-inspect ADAPTER [options]\n\n"
    "Lists kind, modules, ranks, bytes and hash of an adapter: a PEFT folder (FOLDER#task=N for "
    "one\n"
    "of several), a GGUF LoRA file or a compact file. With a base it finds intruder dimensions: "
    "of\n"
    "the k leading left singular vectors of W + dW those that no left singular vector of W "
    "resembles.\n\n"
    "      --base MODEL           the base's weights: GGUF or safetensors\n"
    "      --k N                  leading singular vectors to look at (10)\n"
    "      --epsilon E            an intruder's similarity to the base is below E (0.5)\n"
    "      --write-mitigated DIR  write a plain LoRA of the same ranks, intruders scaled by "
    "lambda\n"
    "      --lambda L             what intruders' singular values are scaled by (0.75)\n"
    "      --json                 one JSON object\n"
    "  -h, --help                 this text\n"
    "      --version              name and version\n\n"
    "Exit status: 0 done, 1 the adapter is refused, does not fit the base, or the program was "
    "built\n"
    "without LAPACKE, 2 usage, 3 a file is missing or unreadable.\n";

enum { OPT_BASE = 256, OPT_K, OPT_EPSILON, OPT_LAMBDA, OPT_WRITE, OPT_JSON, OPT_VERSION };

static const struct option long_options[] = {
    {"base", required_argument, NULL, OPT_BASE},
    {"k", required_argument, NULL, OPT_K},
    {"epsilon", required_argument, NULL, OPT_EPSILON},
    {"lambda", required_argument, NULL, OPT_LAMBDA},
    {"write-mitigated", required_argument, NULL, OPT_WRITE},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool number(const char *flag, const char *text, double least, double most, double *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    if (errno == 0 && end != text && *end == '\0' && *out >= least && *out <= most) return true;
    fprintf(stderr, "oclora-inspect: %s wants a number from %g to %g, not \"%s\"\n", flag, least,
            most, text);
    return false;
}

static bool parse_option(oclora_inspect_options *o, int option, const char *text)
{
    double value = 0.0;
    switch (option) {
    case OPT_BASE:
        o->base = text;
        return true;
    case OPT_K:
        if (!number("--k", text, 1, 1 << 20, &value)) return false;
        o->k = (uint32_t)value;
        return true;
    case OPT_EPSILON:
        return number("--epsilon", text, 0, 1, &o->epsilon);
    case OPT_LAMBDA:
        return number("--lambda", text, 0, 1, &o->lambda);
    case OPT_WRITE:
        o->folder = text;
        return true;
    case OPT_JSON:
        o->json = true;
        return true;
    default:
        return false;
    }
}

static bool usage(int *status)
{
    fputs("Try \"oclora-inspect --help\".\n", stderr);
    *status = OCLORA_TOOL_USAGE;
    return false;
}

bool oclora_inspect_options_parse(oclora_inspect_options *out, int argc, char **argv, int *status)
{
    int option;
    *out = (oclora_inspect_options){.k = 10, .epsilon = 0.5, .lambda = 0.75};
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h' || option == OPT_VERSION) {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("oclora-inspect %s\n", OCLORA_VERSION);
            *status = OCLORA_TOOL_OK;
            return false;
        }
        if (!parse_option(out, option, optarg)) return usage(status);
    }
    if (argc - optind != 1) {
        fputs("oclora-inspect: give one adapter\n", stderr);
        return usage(status);
    }
    if (out->folder != NULL && out->base == NULL) {
        fputs("oclora-inspect: --write-mitigated needs --base\n", stderr);
        return usage(status);
    }
    out->adapter = argv[optind];
    return true;
}
