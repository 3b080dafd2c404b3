/* main.c - oclora-flora-cost: when FLoRA costs less than LoRA, measured. */
#include "tools/flora-cost/cost.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "Usage: oclora-flora-cost [options]\n\n"
    "Serves one layer for a batch whose examples all have their own adapters: segmented LoRA (one\n"
    "call), LoRA with one call for each example, and FLoRA, in turns; and prints the times beside "
    "the\n"
    "condition of arXiv 2312.05677, 2 c1 / (d c2) + 1 / r >= 1, with the measured c1 / c2.\n\n"
    "      --width D        inputs and outputs of the layer, 16 to 8192 (512)\n"
    "      --examples N     examples in the batch, 1 to 256 (8)\n"
    "      --tokens N       rows of each example, 1 to 1024 (16)\n"
    "      --ranks LIST     up to 16 ranks with commas between (1,2,4,8)\n"
    "      --repeats N      turns; the shortest counts (5)\n"
    "      --device D       OpenCL device: its number or a part of \"platform / name\"\n"
    "      --class C        kernels for a cpu or a gpu (auto)\n"
    "      --json           one JSON object\n"
    "  -h, --help           this text\n"
    "      --version        name and version\n\n"
    "Exit status: 0 measured, 1 the two ways of LoRA disagree, 2 usage, 3 no device.\n";

enum {
    OPT_WIDTH = 256,
    OPT_EXAMPLES,
    OPT_TOKENS,
    OPT_RANKS,
    OPT_REPEATS,
    OPT_DEVICE,
    OPT_CLASS,
    OPT_JSON,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"width", required_argument, NULL, OPT_WIDTH},
    {"examples", required_argument, NULL, OPT_EXAMPLES},
    {"tokens", required_argument, NULL, OPT_TOKENS},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"repeats", required_argument, NULL, OPT_REPEATS},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"class", required_argument, NULL, OPT_CLASS},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool whole(const char *flag, const char *text, unsigned long least, unsigned long most,
                  uint32_t *out, const char **rest)
{
    char *end = NULL;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    const bool ends = *end == '\0' || (rest != NULL && *end == ',');
    if (errno == 0 && end != text && ends && *text >= '0' && *text <= '9' && value >= least &&
        value <= most) {
        *out = (uint32_t)value;
        if (rest != NULL) *rest = *end == ',' ? end + 1 : end;
        return true;
    }
    fprintf(stderr, "oclora-flora-cost: %s wants a whole number from %lu to %lu, not \"%s\"\n",
            flag, least, most, text);
    return false;
}

static bool parse_ranks(oclora_cost_options *o, const char *text)
{
    o->n_ranks = 0;
    while (*text != '\0' || o->n_ranks == 0) {
        if (o->n_ranks == OCLORA_COST_RANKS_MAX) {
            fputs("oclora-flora-cost: --ranks takes 16 at most\n", stderr);
            return false;
        }
        if (!whole("--ranks", text, 1, 255, &o->ranks[o->n_ranks++], &text)) return false;
    }
    return true;
}

static bool parse_option(oclora_cost_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_WIDTH:
        return whole("--width", text, 16, 8192, &o->width, NULL);
    case OPT_EXAMPLES:
        return whole("--examples", text, 1, 256, &o->examples, NULL);
    case OPT_TOKENS:
        return whole("--tokens", text, 1, 1024, &o->tokens, NULL);
    case OPT_RANKS:
        return parse_ranks(o, text);
    case OPT_REPEATS:
        return whole("--repeats", text, 1, 1000, &o->repeats, NULL);
    case OPT_DEVICE:
        o->device = text;
        return true;
    case OPT_CLASS:
        if (oclora_class_parse(text, &o->device_class)) return true;
        fprintf(stderr, "oclora-flora-cost: --class knows auto, cpu and gpu, not \"%s\"\n", text);
        return false;
    case OPT_JSON:
        o->json = true;
        return true;
    default:
        return false;
    }
}

/* @return false when the program ends with *status. */
static bool parse(oclora_cost_options *o, int argc, char **argv, int *status)
{
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h' || option == OPT_VERSION) {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("oclora-flora-cost %s\n", OCLORA_VERSION);
            return false;
        }
        if (!parse_option(o, option, optarg)) *status = OCLORA_TOOL_USAGE;
    }
    if (optind != argc) {
        fprintf(stderr, "oclora-flora-cost: \"%s\" is no option\n", argv[optind]);
        *status = OCLORA_TOOL_USAGE;
    }
    if (*status != OCLORA_TOOL_OK) fputs("Try \"oclora-flora-cost --help\".\n", stderr);
    return *status == OCLORA_TOOL_OK;
}

int main(int argc, char **argv)
{
    oclora_cost_options options = {.width = 512,
                                   .examples = 8,
                                   .tokens = 16,
                                   .repeats = 5,
                                   .ranks = {1, 2, 4, 8},
                                   .n_ranks = 4};
    oclora_cost cost = {.options = &options};
    oclora_error err = {0};
    int status = OCLORA_TOOL_OK;
    if (!parse(&options, argc, argv, &status)) return status;
    if (oclora_cost_measure(&cost, &err) != OCLORA_OK) {
        fprintf(stderr, "oclora-flora-cost: %s: %s\n", oclora_status_name(err.status), err.text);
        status = OCLORA_TOOL_SETUP;
    } else if (!oclora_cost_report(&cost)) {
        status = OCLORA_TOOL_FAILED;
    }
    oclora_layers_close(&cost.device);
    return status;
}
