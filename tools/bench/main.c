/* main.c - oclora-bench: oclora beside its peers, in one run. */
#include "tools/bench/device.h"
#include "tools/bench/onednn.h"
#include "tools/bench/process.h"
#include "tools/bench/suites.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PINNED_SECONDS = 300 };

/* Threads of the CPU runtimes stay where they are put; otherwise both may share one core beside
 * another library's threads. */
static void keep_threads_apart(void)
{
    setenv("POCL_AFFINITY", "1", 0);
    setenv("DPCPP_CPU_PLACES", "cores", 0);
    setenv("DPCPP_CPU_CU_AFFINITY", "spread", 0);
}

/* oneDNN's threads get places of their own, since two that wait for each other on one core take
 * time slices of its scheduler, and do not spin into the other contender's round. OpenMP reads its
 * settings when it is loaded, so the program begins once more with them; then this thread may go
 * anywhere again, since the threads it makes inherit its place, and the settings go, since programs it
 * starts would put their first thread on one CPU, and all others with it. */
static void place_openmp(char **argv)
{
    static const char marker[] = "OCLORA_BENCH_PLACED";
    if (!bench_dnn_built()) return;
    if (getenv(marker)) {
        unsetenv(marker);
        unsetenv("OMP_PROC_BIND");
        unsetenv("OMP_PLACES");
        unsetenv("GOMP_SPINCOUNT");
    } else if (!getenv("OMP_PROC_BIND") && setenv(marker, "1", 1) == 0 &&
               setenv("OMP_PROC_BIND", "true", 1) == 0 && setenv("OMP_PLACES", "cores", 1) == 0 &&
               setenv("GOMP_SPINCOUNT", "20000", 0) == 0) {
        execv("/proc/self/exe", argv);
    }
    bench_unpin();
}

void bench_pinned_again(bench_report *report, const bench_case *c)
{
    char err[4096], cpu[24], path[] = "/tmp/oclora-bench-XXXXXX";
    const bench_options *o = report->options;
    snprintf(cpu, sizeof cpu, "%ld", sysconf(_SC_NPROCESSORS_ONLN) - 1);
    int file = mkstemp(path);
    if (file < 0) {
        bench_report_missing(report, c, "no temporary file could be made");
        return;
    }
    close(file);
    const char *args[] = {"/proc/self/exe", "--suite", c->suite, "--case", c->name, "--pin", cpu,
                          "--json",         path,      NULL,     NULL,     NULL,    NULL};
    size_t n = 9;
    if (o->quick) args[n++] = "--quick";
    if (o->device) {
        args[n++] = "--device";
        args[n++] = o->device;
    }
    char *argv[sizeof args / sizeof args[0]];
    memcpy(argv, args, sizeof argv);
    bench_progress("%s: %s (on CPU %s)", c->suite, c->name, cpu);
    int status = bench_process_run(argv, PINNED_SECONDS, err, sizeof err);
    json_t *rows = status == 0 ? json_load_file(path, 0, NULL) : NULL;
    if (json_array_size(rows) > 0)
        bench_report_adopt(report, json_array_get(rows, 0));
    else
        bench_report_missing(report, c, "the pinned run ended with %d", status);
    json_decref(rows);
    unlink(path);
}

static void print_head(void)
{
    char date[32] = "", cpu[128] = "", line[256];
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info && !cpu[0] && fgets(line, sizeof line, info))
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            snprintf(cpu, sizeof cpu, "%s", strchr(line, ':') + 2);
            cpu[strcspn(cpu, "\n")] = '\0';
        }
    if (info) fclose(info);
    printf("oclora-bench %s, %s, %ld CPUs: %s\n", OCLORA_VERSION, date,
           sysconf(_SC_NPROCESSORS_ONLN), cpu);
}

static void list(const bench_options *options)
{
    bench_kernels_list(options);
    bench_system_list(options);
    bench_scale_list(options);
    bench_files_list(options);
}

static bool suite_wanted(const bench_options *options, const char *suite)
{
    return !options->suite || strcmp(options->suite, suite) == 0;
}

static int run(const bench_options *options)
{
    static const struct {
        const char *name;
        int (*run)(bench_report *report);
    } suites[] = {{"kernels", bench_kernels},
                  {"system", bench_system},
                  {"scale", bench_scale},
                  {"files", bench_files}};
    bench_report report;
    int status = BENCH_EXIT_OK;
    if (!bench_report_open(&report, options)) return BENCH_EXIT_ENVIRONMENT;
    print_head();
    for (size_t i = 0; i < sizeof suites / sizeof suites[0] && status == BENCH_EXIT_OK; i++)
        if (suite_wanted(options, suites[i].name)) status = suites[i].run(&report);
    int closed = bench_report_close(&report);
    return status != BENCH_EXIT_OK ? status : closed;
}

int main(int argc, char **argv)
{
    bench_options options;
    int status = bench_options_parse(&options, argc, argv);
    if (status != BENCH_EXIT_OK) return status == BENCH_EXIT_STOP ? BENCH_EXIT_OK : status;
    if (options.list) {
        list(&options);
        return BENCH_EXIT_OK;
    }
    keep_threads_apart();
    place_openmp(argv);
    if (options.pin >= 0 && !bench_pin(options.pin)) {
        fprintf(stderr, "oclora-bench: CPU %d is not there\n", options.pin);
        return BENCH_EXIT_USAGE;
    }
    return run(&options);
}
