/* convert.h - any adapter to one compact file, or to a PEFT folder where PEFT has the kind. */
#ifndef OCLORA_CONVERT_CONVERT_H
#define OCLORA_CONVERT_CONVERT_H

#include "host/adapter/load.h"
#include "tools/shared/tensors.h"

typedef struct oclora_convert_options {
    const char *in;
    const char *out;
    uint32_t store;
    bool to_peft;
} oclora_convert_options;

bool oclora_convert_options_parse(oclora_convert_options *out, int argc, char **argv, int *status);

/* Writes a file as host/adapter/compact.h describes it. Errors: FILE_READ (cannot be written),
 * OUT_OF_HOST_MEMORY. */
oclora_status oclora_write_compact(const char *path, const oclora_adapter_image *image,
                                   oclora_error *err);

/* Writes a PEFT folder from which the same terms are read again, bit by bit. Errors: NOT_SUPPORTED
 * (PEFT has no such kind, or cannot hold these values; named), and those above. */
oclora_status oclora_write_peft(const char *folder, const oclora_adapter_image *image,
                                oclora_error *err);

#endif
