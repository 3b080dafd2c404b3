/* A program of others on ggml and the installed plugin's header. Usage: ggml_host PLUGIN */
#include <ggml-backend.h>
#include <oclora_ggml.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    ggml_backend_reg_t reg = argc == 2 ? ggml_backend_load(argv[1]) : NULL;
    oclora_ggml_get_api_fn get =
        reg ? (oclora_ggml_get_api_fn)ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API)
            : NULL;
    const oclora_ggml_api *api = get ? get(OCLORA_GGML_MAJOR) : NULL;
    if (api == NULL) return 1;
    printf("%s with %zu devices, control table %u.%u\n", ggml_backend_reg_name(reg),
           ggml_backend_reg_dev_count(reg), (unsigned)api->major, (unsigned)api->minor);
    return ggml_backend_reg_dev_count(reg) == 0;
}
