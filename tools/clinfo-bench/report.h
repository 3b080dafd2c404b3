/* report.h - the report: made item by item, judged, written with a checksum, read back. The format
 * is schema.json; tools/check-report checks a file against it. */
#ifndef OCLORA_TOOLS_CLINFO_BENCH_REPORT_H
#define OCLORA_TOOLS_CLINFO_BENCH_REPORT_H

#include "tools/clinfo-bench/bench.h"

const char *bench_mode_name(int mode);

/* Everything but the devices. NULL on lack of memory. */
json_t *bench_report_new(const bench_options *options);
/* A device of the report, from a line of the list step; borrowed by the report. */
json_t *bench_report_add_device(json_t *report, const json_t *listed);
/* The section's items; made if it is not there. */
json_t *bench_device_section(json_t *device, const char *name);

bool bench_status_is_bad(const char *status); /* fail, error, crash, timeout */

/* Sets the device's verdict, its failed kernels, and each kernel's share of the measured limits. */
void bench_judge_device(json_t *device);
/* Sets the report's verdict: the worst of its devices. @return the program's exit status. */
int bench_judge_report(json_t *report);

/* As text that ends in a line feed, checksum included; freed by the caller. NULL on lack of memory.
 */
char *bench_report_text(json_t *report);
/* @return false with a message on stderr. */
bool bench_write_file(const char *path, const char *text);
/* A report of this format whose checksum is right; NULL with a message on stderr. What else is in it
 * has any shape. */
json_t *bench_report_load(const char *path);
/* The same from memory. FILE_FORMAT: why it is refused. */
oclora_status bench_report_parse(json_t **out, const char *text, size_t length, oclora_error *err);
/* Where the 64 digits of the last checksum begin; 0: there is none. */
size_t bench_checksum_place(const char *text, size_t length);
/* What belongs there: the SHA-256 of the text with zeros in that place. */
bool bench_checksum(const char *text, size_t length, size_t place, char hex[65]);

/* Finds the item of a section by name; NULL if absent. */
const json_t *bench_find_item(const json_t *device, const char *section, const char *name);
/* A text or number of an object; "" and 0 where absent. */
const char *bench_text(const json_t *object, const char *key);
double bench_number(const json_t *object, const char *key);

/* Leaves what was found to the engine (keep.c): failures always; passes, which lift quirks, only of
 * a run that is sufficient and whole. */
void bench_keep_findings(const bench_options *options, json_t *device);

/* Output (page.c, picture.c, compare.c). */
void bench_print_device(FILE *out, const json_t *device);
char *bench_markdown(const json_t *report);
char *bench_svg(const json_t *report);
void bench_compare(FILE *out, const json_t *old_report, const json_t *new_report);

#endif
