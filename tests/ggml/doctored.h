/* doctored.h - ways in which a ggml may differ from the one the plugin knows. */
#ifndef OCLORA_TESTS_DOCTORED_H
#define OCLORA_TESTS_DOCTORED_H

#include <ggml-backend.h>

enum doctored_mode {
    DOCTORED_NOTHING,
    DOCTORED_VERSION,
    DOCTORED_TENSOR_SIZE,
    DOCTORED_FIELDS,
    DOCTORED_BLOCK,
    DOCTORED_NO_OPERATOR,
    DOCTORED_MOVED_OPERATOR,
    DOCTORED_PARAMETERS,
    DOCTORED_TABLE,
    DOCTORED_NO_CALL
};

/* Loads the plugin at `path` as a host would; NULL if it declines. */
ggml_backend_reg_t doctored_load(const char *path, enum doctored_mode mode);

#endif
