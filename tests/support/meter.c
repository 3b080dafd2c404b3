#include "support/meter.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 64 }; /* keeps the alignment */

static oclora_meter *of_json; /* jansson's hooks take no argument */

static void *take(oclora_meter *meter, size_t size)
{
    char *block = aligned_alloc(HEAD, HEAD + (size + HEAD - 1) / HEAD * HEAD);
    if (block == NULL) return NULL;
    memcpy(block, &size, sizeof size);
    meter->live += size;
    if (meter->live > meter->peak) meter->peak = meter->live;
    return block + HEAD;
}

static void give(oclora_meter *meter, void *data)
{
    size_t size;
    if (data == NULL) return;
    memcpy(&size, (char *)data - HEAD, sizeof size);
    meter->live -= size;
    free((char *)data - HEAD);
}

static void *env_alloc(void *user, size_t size, size_t align)
{
    oclora_meter *meter = user;
    if (align > HEAD || (meter->failed && meter->fail_on)) return NULL;
    if (meter->fail_at != 0 && --meter->fail_at == 0) {
        meter->failed = true;
        return NULL;
    }
    return take(meter, size);
}

static void env_release(void *user, void *data)
{
    give(user, data);
}

static void *json_alloc(size_t size)
{
    return take(of_json, size);
}

static void json_release(void *data)
{
    give(of_json, data);
}

oclora_env oclora_meter_start(oclora_meter *meter)
{
    meter->peak = meter->live;
    of_json = meter;
    json_set_alloc_funcs(json_alloc, json_release);
    return (oclora_env){.alloc = env_alloc, .release = env_release, .alloc_user = meter};
}
