/* main.c - oclora-tune: how kernels are best launched on one device. */
#include "tools/tune/tune.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct option long_options[] = {
    {"device", required_argument, NULL, 'd'},
    {"class", required_argument, NULL, 'c'},
    {"param", required_argument, NULL, 'p'},
    {"state", required_argument, NULL, 's'},
    {"quick", no_argument, NULL, 'q'},
    {"dry-run", no_argument, NULL, 'n'},
    {"restart", no_argument, NULL, 'r'},
    {"reset", no_argument, NULL, 'R'},
    {"list", no_argument, NULL, 'l'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static void print_help(void)
{
    fputs("usage: oclora-tune [options]\n"
          "Finds how kernels are best launched on one device, and keeps it in the cache folder,\n"
          "where every program of oclora finds it. No value changes a result: each is first\n"
          "compared bit by bit with the table's, which is compared with double precision.\n"
          "\n"
          "  --device D     a part of \"platform / name\", or its number\n"
          "  --class C      cpu or gpu: whose kernels (the device's own)\n"
          "  --param NAME   only this parameter\n"
          "  --list         parameters, their values here, where from and why\n"
          "  --dry-run      name the steps and measure nothing\n"
          "  --quick        few rounds: shows that it works, not what is fast\n"
          "  --restart      measure again what was measured before\n"
          "  --reset        forget what was found; the table holds again\n"
          "  --state FILE   where progress is kept (the cache folder)\n"
          "  --json         the result as one JSON object\n"
          "  --help, --version\n"
          "\n"
          "A run that was killed goes on where it was when it is started again.\n"
          "Exit status: 0 done, 1 a value gave wrong results (it is not used), 2 usage,\n"
          "3 no device, or a file cannot be written.\n",
          stdout);
}

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "oclora-tune: %s \"%s\" (see --help)\n", what, value);
    return TUNE_EXIT_USAGE;
}

static int take(tune_options *o, int option, const char *value)
{
    switch (option) {
    case 'd':
        o->device = value;
        break;
    case 'p':
        o->param = value;
        if (oclora_tune_of_name(value, strlen(value)) == OCLORA_TUNE_COUNT)
            return usage("no parameter is called", value);
        break;
    case 'c':
        if (strcmp(value, "cpu") != 0 && strcmp(value, "gpu") != 0)
            return usage("no class is called", value);
        o->device_class = value[0] == 'c' ? OCLORA_CLASS_CPU : OCLORA_CLASS_GPU;
        break;
    case 's':
        o->state = value;
        break;
    case 'q':
        o->quick = true;
        break;
    case 'n':
        o->dry_run = true;
        break;
    case 'r':
        o->restart = true;
        break;
    case 'R':
        o->reset = true;
        break;
    case 'l':
        o->list = true;
        break;
    case 'j':
        o->json = true;
        break;
    case 'h':
        print_help();
        return TUNE_EXIT_OK;
    case 'V':
        printf("oclora-tune %s\n", OCLORA_VERSION);
        return TUNE_EXIT_OK;
    default:
        return TUNE_EXIT_USAGE;
    }
    return TUNE_PARSED;
}

int tune_options_parse(tune_options *out, int argc, char **argv)
{
    *out = (tune_options){.device = NULL};
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        const int status = take(out, option, optarg);
        if (status != TUNE_PARSED) return status;
    }
    return optind < argc ? usage("unexpected argument", argv[optind]) : TUNE_PARSED;
}

int main(int argc, char **argv)
{
    tune_options options;
    const int status = tune_options_parse(&options, argc, argv);
    return status == TUNE_PARSED ? tune_run(&options) : status;
}
