/* json.h - how much memory a JSON text from a stranger may take. */
#ifndef OCLORA_FILE_JSON_H
#define OCLORA_FILE_JSON_H

#include <stdbool.h>
#include <stdint.h>

/* Whether reading the text takes no more than `file_bytes` + 15 MiB. A tree takes many times the
 * memory of dense text such as "[0,0,0"; real headers are far from that. */
bool oclora_json_is_modest(const void *text, uint64_t length, uint64_t file_bytes);

#endif
