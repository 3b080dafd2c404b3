/* Any bytes as the JSON of OCLORA_CONFIG. Text that does not begin as an object would name a file. */
#include "plugin/ggml/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    oclora_env env = {0};
    oclora_error err = {0};
    oclora_ggml_config *config = NULL;
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    if (size != 0) memcpy(text, data, size);
    text[size] = '\0';
    if (text[strspn(text, " \t\r\n")] == '{' &&
        oclora_ggml_config_read(&config, &env, text, &err) == OCLORA_OK)
        oclora_ggml_config_free(config);
    free(text);
    return 0;
}
