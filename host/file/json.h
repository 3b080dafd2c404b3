/* json.h - JSON texts from strangers: how much memory they may take, and what is wrong with them.
 */
#ifndef OCLORA_FILE_JSON_H
#define OCLORA_FILE_JSON_H

#include "host/core/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether reading the text takes no more than `file_bytes` + 15 MiB. A tree takes many times the
 * memory of dense text such as "[0,0,0"; real headers are far from that. */
bool oclora_json_is_modest(const void *text, uint64_t length, uint64_t file_bytes);

/* The error of a text that could not be read: OUT_OF_HOST_MEMORY, or FILE_FORMAT with `what` it is.
 */
oclora_status oclora_fail_json(oclora_error *err, const json_error_t *problem, const char *what);

#endif
