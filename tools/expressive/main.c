/* main.c - oclora-expressive-power: error against rank, on the device. */
#include "tools/expressive/expressive.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: oclora-expressive-power [options]\n\n"
    "Builds the adapters that turn a frozen network into another, as arXiv 2310.17513 constructs\n"
    "them, runs the adapted network on the device in f32, and shows error against rank.\n\n"
    "      --network W        linear, relu or transformer (linear)\n"
    "      --width D          inputs and outputs of every layer, 2 to 512 (32; transformer 16)\n"
    "      --depth L          layers of the frozen network; blocks of a transformer (4, 4, 2)\n"
    "      --target-depth l   layers of a ReLU target, at most L (2)\n"
    "      --rank R|all       one rank, or all up to one over the threshold (all)\n"
    "      --seed N           another frozen network, target and inputs (1)\n"
    "      --device D         OpenCL device: its number or a part of \"platform / name\"\n"
    "      --svg FILE         draw it\n"
    "      --json             one JSON object\n"
    "  -h, --help             this text\n"
    "      --version          name and version\n\n"
    "Frozen weights are random orthogonal, targets random. A linear network's error is the "
    "spectral\n"
    "norm of product - target over sigma_1, which the theory puts at sigma_{RL+1} / sigma_1; "
    "others\n"
    "have the relative rms error over random inputs. The threshold rank is D / L, D l / L, or D / "
    "2.\n\n"
    "Exit status: 0 as the theory says (below 1e-4 from the threshold on, over 100 times more one\n"
    "rank below), 1 not so, 2 usage, 3 no device.\n";

enum {
    OPT_NETWORK = 256,
    OPT_WIDTH,
    OPT_DEPTH,
    OPT_TARGET,
    OPT_RANK,
    OPT_SEED,
    OPT_DEVICE,
    OPT_SVG,
    OPT_JSON,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"network", required_argument, NULL, OPT_NETWORK},
    {"width", required_argument, NULL, OPT_WIDTH},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"target-depth", required_argument, NULL, OPT_TARGET},
    {"rank", required_argument, NULL, OPT_RANK},
    {"seed", required_argument, NULL, OPT_SEED},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"svg", required_argument, NULL, OPT_SVG},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static bool whole(const char *flag, const char *text, unsigned long least, unsigned long most,
                  uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && text[0] != '-' && value >= least &&
        value <= most) {
        *out = (uint32_t)value;
        return true;
    }
    fprintf(stderr,
            "oclora-expressive-power: %s wants a whole number from %lu to %lu, not \"%s\"\n", flag,
            least, most, text);
    return false;
}

static bool parse_network(oclora_expressive_options *o, const char *text)
{
    static const char *const words[] = {"linear", "relu", "transformer"};
    for (uint32_t i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0) {
            o->network = i;
            return true;
        }
    fprintf(stderr,
            "oclora-expressive-power: --network knows linear, relu and transformer, not "
            "\"%s\"\n",
            text);
    return false;
}

static bool parse_option(oclora_expressive_options *o, int option, const char *text)
{
    switch (option) {
    case OPT_NETWORK:
        return parse_network(o, text);
    case OPT_WIDTH:
        return whole("--width", text, 2, 512, &o->width);
    case OPT_DEPTH:
        return whole("--depth", text, 1, 32, &o->depth);
    case OPT_TARGET:
        return whole("--target-depth", text, 1, 32, &o->target_depth);
    case OPT_RANK:
        o->rank = 0;
        return strcmp(text, "all") == 0 || whole("--rank", text, 1, 512, &o->rank);
    case OPT_SEED:
        return whole("--seed", text, 0, 1u << 30, &o->seed);
    case OPT_DEVICE:
        o->device = text;
        return true;
    case OPT_SVG:
        o->svg = text;
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
    fputs("Try \"oclora-expressive-power --help\".\n", stderr);
    *status = OCLORA_TOOL_USAGE;
    return false;
}

static bool complete(oclora_expressive_options *o)
{
    const bool transformer = o->network == OCLORA_NET_TRANSFORMER;
    if (o->width == 0) o->width = transformer ? 16 : 32;
    if (o->depth == 0) o->depth = transformer ? 2 : 4;
    if (o->target_depth == 0) o->target_depth = o->depth < 2 ? 1 : 2;
    if (o->network == OCLORA_NET_RELU && o->target_depth > o->depth)
        fputs("oclora-expressive-power: the target is deeper than the frozen network\n", stderr);
    else if (o->rank > o->width)
        fputs("oclora-expressive-power: the rank is over the width\n", stderr);
    else
        return true;
    return false;
}

bool oclora_expressive_options_parse(oclora_expressive_options *out, int argc, char **argv,
                                     int *status)
{
    int option;
    *out = (oclora_expressive_options){.seed = 1};
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h' || option == OPT_VERSION) {
            if (option == 'h')
                fputs(help, stdout);
            else
                printf("oclora-expressive-power %s\n", OCLORA_VERSION);
            *status = OCLORA_TOOL_OK;
            return false;
        }
        if (!parse_option(out, option, optarg)) return usage(status);
    }
    if (optind != argc) {
        fprintf(stderr, "oclora-expressive-power: \"%s\" is no option\n", argv[optind]);
        return usage(status);
    }
    return complete(out) || usage(status);
}

static oclora_status run(oclora_experiment *e, oclora_error *err)
{
    OCLORA_TRY(oclora_layers_open(&e->device, e->options->device, OCLORA_CLASS_AUTO, err));
    switch (e->options->network) {
    case OCLORA_NET_LINEAR:
        return oclora_run_linear(e, err);
    case OCLORA_NET_RELU:
        return oclora_run_relu(e, err);
    default:
        return oclora_run_transformer(e, err);
    }
}

int main(int argc, char **argv)
{
    oclora_expressive_options options;
    oclora_experiment experiment = {.options = &options};
    oclora_error err = {0};
    int status = OCLORA_TOOL_OK;
    if (!oclora_expressive_options_parse(&options, argc, argv, &status)) return status;
    oclora_status done = run(&experiment, &err);
    if (done == OCLORA_OK && !oclora_expressive_report(&experiment)) status = OCLORA_TOOL_FAILED;
    if (done == OCLORA_OK && options.svg != NULL) done = oclora_expressive_plot(&experiment, &err);
    if (done != OCLORA_OK) {
        fprintf(stderr, "oclora-expressive-power: %s: %s\n", oclora_status_name(done), err.text);
        status = OCLORA_TOOL_SETUP;
    }
    oclora_layers_close(&experiment.device);
    free(experiment.points);
    return status;
}
