#include "tools/bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_SUITE = 256,
    OPT_CASE,
    OPT_DEVICE,
    OPT_JSON,
    OPT_SVG,
    OPT_PIN,
    OPT_WORK,
    OPT_QUICK,
    OPT_STRICT,
    OPT_LIST,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"suite", required_argument, NULL, OPT_SUITE},   {"case", required_argument, NULL, OPT_CASE},
    {"device", required_argument, NULL, OPT_DEVICE}, {"json", required_argument, NULL, OPT_JSON},
    {"svg", required_argument, NULL, OPT_SVG},       {"pin", required_argument, NULL, OPT_PIN},
    {"work", required_argument, NULL, OPT_WORK},     {"model", required_argument, NULL, 'm'},
    {"quick", no_argument, NULL, OPT_QUICK},         {"strict", no_argument, NULL, OPT_STRICT},
    {"list", no_argument, NULL, OPT_LIST},           {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},     {NULL, 0, NULL, 0},
};

static void print_help(void)
{
    fputs("usage: oclora-bench [options]\n"
          "Measures oclora beside its peers in the same run: both alternate, round by round.\n"
          "\n"
          "  --suite S      kernels, system, scale or files (all)\n"
          "  --case TEXT    only cases whose name contains TEXT\n"
          "  --list         name the cases, their \"must\" and \"aim\", and stop\n"
          "  --device D     OpenCL device: a part of \"platform / name\", or its number\n"
          "  -m, --model F  the model of system and scale ($OCLORA_MODEL)\n"
          "  --pin CPU      run on this CPU only, peers too\n"
          "  --quick        few rounds: shows that it works, not how fast it is\n"
          "  --json FILE    one object per row\n"
          "  --svg DIR      pictures: time against adapters, rank and rows, beside the bound\n"
          "  --work DIR     where synthetic adapters are kept (oclora-bench.work)\n"
          "  --strict       exit status 1 if a \"must\" is not met\n"
          "  --help, --version\n"
          "\n"
          "ratio = how many times faster than the peer: the median over rounds, and of the\n"
          "fastest rounds; noise = half of the median's 95 % interval. Peers that are not\n"
          "installed are counted as missing.\n"
          "Exit status: 0 ran, 1 a \"must\" was missed (--strict), 2 usage, 3 environment.\n",
          stdout);
}

static int usage(const char *text, const char *value)
{
    fprintf(stderr, "oclora-bench: %s \"%s\" (see --help)\n", text, value);
    return BENCH_EXIT_USAGE;
}

static int parse_pin(bench_options *o, const char *text)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > 1023)
        return usage("--pin wants a CPU, not", text);
    o->pin = (int)value;
    return BENCH_EXIT_OK;
}

static int parse_suite(bench_options *o, const char *text)
{
    static const char *const suites[] = {"kernels", "system", "scale", "files"};
    o->suite = text;
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        if (strcmp(text, suites[i]) == 0) return BENCH_EXIT_OK;
    return usage("no suite is called", text);
}

static int take(bench_options *o, int option, const char *value)
{
    switch (option) {
    case OPT_SUITE:
        return parse_suite(o, value);
    case OPT_PIN:
        return parse_pin(o, value);
    case OPT_CASE:
        o->name = value;
        break;
    case OPT_DEVICE:
        o->device = value;
        break;
    case OPT_JSON:
        o->json = value;
        break;
    case OPT_SVG:
        o->svg = value;
        break;
    case OPT_WORK:
        o->work = value;
        break;
    case 'm':
        o->model = value;
        break;
    case OPT_QUICK:
        o->quick = true;
        break;
    case OPT_STRICT:
        o->strict = true;
        break;
    case OPT_LIST:
        o->list = true;
        break;
    case 'h':
        print_help();
        return BENCH_EXIT_STOP;
    case OPT_VERSION:
        printf("oclora-bench %s\n", OCLORA_VERSION);
        return BENCH_EXIT_STOP;
    default:
        return BENCH_EXIT_USAGE;
    }
    return BENCH_EXIT_OK;
}

int bench_options_parse(bench_options *out, int argc, char **argv)
{
    *out = (bench_options){.program = argv[0],
                           .pin = -1,
                           .model = getenv("OCLORA_MODEL"),
                           .work = "oclora-bench.work"};
    int option;
    while ((option = getopt_long(argc, argv, "m:h", long_options, NULL)) != -1) {
        int status = take(out, option, optarg);
        if (status != BENCH_EXIT_OK) return status;
    }
    return optind < argc ? usage("unexpected argument", argv[optind]) : BENCH_EXIT_OK;
}

bool bench_wanted(const bench_options *options, const char *suite, const char *name)
{
    if (options->suite && strcmp(options->suite, suite) != 0) return false;
    return !options->name || strstr(name, options->name);
}
