/* apply.h - what oclora-apply does with a case: every output the case expects, computed through the
 * native ABI and compared. */
#ifndef OCLORA_APPLY_APPLY_H
#define OCLORA_APPLY_APPLY_H

#include "tools/shared/case.h"
#include "tools/shared/layers.h"

typedef struct oclora_apply_options {
    const char *folder;
    const char *adapter; /* in place of the case's own, or NULL */
    const char *output;  /* which output it is compared with */
    const char *device;
    uint32_t device_class;
    uint32_t store;
    bool json;
} oclora_apply_options;

/* One expected output. */
typedef struct oclora_apply_result {
    char module[160]; /* "" for the output of a whole network */
    char field[64];   /* "Y", "Y.task1", "rank_04.Y" */
    uint32_t rows;
    double error; /* max|d| / max|ref|; infinite when it could not be computed */
    double bound;
    char reason[512]; /* "" or why it could not be computed */
    char digest[65];  /* SHA-256 of the output's f32 values, "" when there are none */
} oclora_apply_result;

typedef struct oclora_apply {
    const oclora_apply_options *options;
    oclora_case file;
    oclora_layers layers;
    oclora_apply_result *results;
    size_t n_results;
    uint32_t kind; /* OCLORA_KIND_* of the adapters, 0 = none loaded */
    bool several;  /* they are of different kinds */
} oclora_apply;

/* Fills a zeroed options object; anything but OCLORA_TOOL_OK ends the program with *status. */
bool oclora_apply_options_parse(oclora_apply_options *out, int argc, char **argv, int *status);

/* Computes and compares all outputs of the open case. Errors of single outputs are results; a
 * status other than OK means that nothing could be run (OUT_OF_HOST_MEMORY, FILE_FORMAT). */
oclora_status oclora_apply_run(oclora_apply *apply, oclora_error *err);

/* What one output may differ by: the case's own tolerance for factors kept in f32, more for rounded
 * ones, and far more for those in a chain, where each layer enlarges the rounding before it. */
double oclora_apply_bound(const oclora_apply *apply, size_t layers);

/* Prints the results. @return whether all are within their bounds. */
bool oclora_apply_report(const oclora_apply *apply);

#endif
