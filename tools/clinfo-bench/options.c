/* options.c - the command line of clinfo-bench. */
#include "tools/clinfo-bench/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPT_DEVICE = 256,
    OPT_JSON,
    OPT_MARKDOWN,
    OPT_SVG,
    OPT_COMPARE,
    OPT_QUICK,
    OPT_FULL,
    OPT_LIST,
    OPT_LIMIT,
    OPT_ONLY,
    OPT_STEP,
    OPT_STEP_DEVICE,
    OPT_STEP_FROM,
    OPT_STEP_MODE,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    {"device", required_argument, NULL, OPT_DEVICE},
    {"json", required_argument, NULL, OPT_JSON},
    {"markdown", optional_argument, NULL, OPT_MARKDOWN},
    {"svg", required_argument, NULL, OPT_SVG},
    {"compare", required_argument, NULL, OPT_COMPARE},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"full", no_argument, NULL, OPT_FULL},
    {"list", no_argument, NULL, OPT_LIST},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"only", required_argument, NULL, OPT_ONLY},
    {"step", required_argument, NULL, OPT_STEP},
    {"step-device", required_argument, NULL, OPT_STEP_DEVICE},
    {"step-from", required_argument, NULL, OPT_STEP_FROM},
    {"step-mode", required_argument, NULL, OPT_STEP_MODE},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

void bench_print_usage(FILE *out)
{
    fputs(
        "usage: clinfo-bench [options]\n"
        "Says what an OpenCL device is, what of its claims is true, whether every kernel of "
        "oclora\n"
        "computes the right numbers on it, and how fast it is.\n\n"
        "  --device D       only devices whose \"platform / name\" contains D, or number D\n"
        "  --list           list the devices and stop\n"
        "  --quick          about a minute a device; not sufficient to verify correctness\n"
        "  --full           every case, long measurements, large allocations\n"
        "  --only TEXTS     only items whose name contains one of TEXTS (with commas)\n"
        "  --json FILE      write the report (tools/clinfo-bench/schema.json)\n"
        "  --markdown[=F]   the page as Markdown for a bug report, to F or the terminal\n"
        "  --svg FILE       roofline picture\n"
        "  --compare OLD    what changed since the report OLD\n"
        "  --limit SECONDS  longest time for one item before it is ended\n"
        "  --help, --version\n\n"
        "Exit status: 0 pass, 1 degraded (something failed and must not be used), 2 unusable (no\n"
        "device, or the basic kernels fail), 3 tool error (usage, unknown device, file).\n",
        out);
}

static bool take(bench_options *o, int option, const char *value)
{
    switch (option) {
    case OPT_DEVICE:
        o->device = value;
        return true;
    case OPT_JSON:
        o->json = value;
        return true;
    case OPT_MARKDOWN:
        o->markdown = value ? value : "-";
        return true;
    case OPT_SVG:
        o->svg = value;
        return true;
    case OPT_COMPARE:
        o->compare = value;
        return true;
    case OPT_QUICK:
        o->mode = BENCH_QUICK;
        return true;
    case OPT_FULL:
        o->mode = BENCH_FULL;
        return true;
    case OPT_LIST:
        o->list = true;
        return true;
    case OPT_LIMIT:
        o->limit_s = strtod(value, NULL);
        return o->limit_s > 0;
    case OPT_ONLY:
        o->only = value;
        return true;
    case OPT_STEP:
        o->step = value;
        return true;
    case OPT_STEP_DEVICE:
        o->step_device = (uint32_t)strtoul(value, NULL, 10);
        return true;
    case OPT_STEP_FROM:
        o->step_from = (uint32_t)strtoul(value, NULL, 10);
        return true;
    case OPT_STEP_MODE:
        o->mode = (int)strtoul(value, NULL, 10);
        return true;
    default:
        return false;
    }
}

int bench_parse_options(bench_options *o, int argc, char **argv)
{
    int option;
    memset(o, 0, sizeof *o);
    o->mode = BENCH_STANDARD;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPT_HELP) {
            bench_print_usage(stdout);
            return 0;
        }
        if (option == OPT_VERSION) {
            printf("clinfo-bench %s, report format %d\n", OCLORA_VERSION, BENCH_FORMAT_VERSION);
            return 0;
        }
        if (!take(o, option, optarg)) {
            if (option != '?') fprintf(stderr, "clinfo-bench: '%s' is not a valid value\n", optarg);
            fprintf(stderr, "Try 'clinfo-bench --help'.\n");
            return BENCH_EXIT_TOOL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "clinfo-bench: '%s' is no option; try --help\n", argv[optind]);
        return BENCH_EXIT_TOOL;
    }
    return -1;
}
