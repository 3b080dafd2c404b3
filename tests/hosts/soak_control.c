/* soak_control.c - the plugin's control table inside an unmodified llama-server, for soak.py. It is
 * preloaded (LD_PRELOAD) and answers lines on the UNIX socket $OCLORA_SOAK_SOCKET, one thread for
 * each connection:
 *   load NAME PATH | unload NAME | map SEQ [NAME WEIGHT]... | stats
 * The answer is "STATUS text", or for stats "OCLORA_OK adapters resident used_bytes uploads
 * evictions refusals". */
#include "abi/oclora_ggml.h"

#include <ggml-backend.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE = 8192, MIXTURE = 16 };

static const oclora_ggml_api *find_api(void)
{
    for (size_t i = 0; i < ggml_backend_reg_count(); i++) {
        ggml_backend_reg_t reg = ggml_backend_reg_get(i);
        void *address = ggml_backend_reg_get_proc_address(reg, OCLORA_GGML_GET_API);
        oclora_ggml_get_api_fn get;
        memcpy(&get, &address, sizeof get);
        if (address != NULL) return get(OCLORA_GGML_MAJOR);
    }
    return NULL;
}

static oclora_status map(const oclora_ggml_api *api, char *rest, oclora_ggml_message *message)
{
    oclora_ggml_adapter use[MIXTURE];
    uint32_t count = 0;
    char *save = NULL, *seq = strtok_r(rest, " ", &save);
    for (char *name; count < MIXTURE && (name = strtok_r(NULL, " ", &save)) != NULL; count++) {
        const char *weight = strtok_r(NULL, " ", &save);
        use[count] =
            (oclora_ggml_adapter){name, strlen(name), weight ? strtof(weight, NULL) : 1, 0};
    }
    return api->map(NULL, seq ? (uint32_t)strtoul(seq, NULL, 10) : 0, use, count, message);
}

static oclora_status stats(const oclora_ggml_api *api, oclora_ggml_message *message)
{
    oclora_ggml_stats now = {.struct_size = sizeof now};
    oclora_status status = api->stats(NULL, &now, message);
    snprintf(message->text, sizeof message->text, "%llu %llu %llu %llu %llu %llu",
             (unsigned long long)now.adapters, (unsigned long long)now.resident,
             (unsigned long long)now.pool_used_bytes, (unsigned long long)now.uploads,
             (unsigned long long)now.evictions, (unsigned long long)now.refusals);
    return status;
}

static oclora_status obey(const oclora_ggml_api *api, char *line, oclora_ggml_message *message)
{
    char *save = NULL, *verb = strtok_r(line, " \n", &save), *rest = strtok_r(NULL, "\n", &save);
    if (verb != NULL && strcmp(verb, "stats") == 0) return stats(api, message);
    if (verb == NULL || rest == NULL) return OCLORA_INVALID_ARGUMENT;
    if (strcmp(verb, "map") == 0) return map(api, rest, message);
    if (strcmp(verb, "unload") == 0) return api->adapter_unload(NULL, rest, strlen(rest), message);
    char *path = strchr(rest, ' ');
    if (strcmp(verb, "load") != 0 || path == NULL) return OCLORA_INVALID_ARGUMENT;
    *path++ = '\0';
    return api->adapter_load(NULL, rest, strlen(rest), path, strlen(path), message);
}

static void *serve(void *argument)
{
    FILE *stream = argument;
    const oclora_ggml_api *api = find_api();
    char line[LINE];
    while (api != NULL && fgets(line, sizeof line, stream) != NULL) {
        oclora_ggml_message message = {.struct_size = sizeof message};
        oclora_status status = obey(api, line, &message);
        (void)dprintf(fileno(stream), "%s %s\n", api->status_name(status), message.text);
    }
    fclose(stream);
    return NULL;
}

static void *listen_on(void *argument)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    snprintf(place.sun_path, sizeof place.sun_path, "%s", (const char *)argument);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&place, sizeof place) != 0 || listen(fd, 64) != 0) {
        fprintf(stderr, "soak_control: no socket %s\n", place.sun_path);
        return NULL;
    }
    for (int client; (client = accept(fd, NULL, NULL)) >= 0;) {
        FILE *stream = fdopen(client, "r");
        pthread_t thread;
        if (stream == NULL || pthread_create(&thread, NULL, serve, stream) != 0)
            close(client);
        else
            pthread_detach(thread);
    }
    return NULL;
}

__attribute__((constructor)) static void start(void)
{
    pthread_t thread;
    char *place = getenv("OCLORA_SOAK_SOCKET");
    if (place != NULL && pthread_create(&thread, NULL, listen_on, place) == 0)
        pthread_detach(thread);
}
