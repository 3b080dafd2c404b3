/* What adapters have in common is on the device once: ten VeRA adapters over one projection, ten
 * ShareLoRA adapters over one A. */
#include "golden_case.h"

#include <math.h>

#define GOLDEN OCLORA_TEST_DATA "/golden/"
enum { ADAPTERS = 10 };

static void *library;
static const oclora_api *api;

typedef struct file {
    char *bytes;
    size_t size;
} file;

static file read_file(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) exit(1);
    fseek(stream, 0, SEEK_END);
    file out = {NULL, (size_t)ftell(stream)};
    rewind(stream);
    out.bytes = malloc(out.size);
    if (out.bytes == NULL || fread(out.bytes, 1, out.size, stream) != out.size) exit(1);
    fclose(stream);
    return out;
}

/* New values for every f32 tensor whose name holds one of `parts`, as another training would give.
 */
static void retrain(file *tensors, const char *const *parts)
{
    oclora_error err = {0};
    oclora_map map = {0};
    oclora_safetensors list;
    char path[] = "/tmp/oclora-shared-XXXXXX";
    const int fd = mkstemp(path);
    FILE *stream = fdopen(fd, "wb");
    if (stream == NULL || fwrite(tensors->bytes, 1, tensors->size, stream) != tensors->size)
        exit(1);
    fclose(stream);
    if (!CHECK_OK(oclora_map_open(&map, path, &err), &err) ||
        !CHECK_OK(oclora_safetensors_parse(&list, oclora_test_env(), &map, &err), &err))
        exit(1);
    for (size_t i = 0; i < list.count; i++) {
        const oclora_file_tensor *t = &list.tensors[i];
        for (int p = 0; parts[p] != NULL; p++) {
            if (strstr(t->name, parts[p]) == NULL) continue;
            const size_t at = (size_t)((const char *)t->data - (const char *)map.data);
            float *values = malloc((size_t)t->bytes);
            if (values == NULL) exit(1);
            oclora_test_fill(values, (size_t)t->bytes / 4);
            memcpy(tensors->bytes + at, values, (size_t)t->bytes);
            free(values);
        }
    }
    oclora_safetensors_free(&list);
    oclora_map_close(&map);
    remove(path);
}

/* Device bytes of the pool after each of ten adapters, and what one claims for itself. */
static void fill(golden_served *s, const char *folder, const char *const *own, uint64_t *used,
                 uint64_t *claimed)
{
    oclora_message msg = {sizeof msg, ""};
    file config = read_file(folder, "adapter_config.json");
    file tensors = read_file(folder, "adapter_model.safetensors");
    for (int i = 0; i < ADAPTERS; i++) {
        char name[16];
        oclora_adapter_t adapter = 0;
        oclora_pool_desc pool = {.struct_size = sizeof pool};
        oclora_adapter_desc desc = {.struct_size = sizeof desc};
        snprintf(name, sizeof name, "number %d", i);
        const oclora_adapter_memory_args args = {.struct_size = sizeof args,
                                                 .name = name,
                                                 .name_length = strlen(name),
                                                 .config = config.bytes,
                                                 .config_bytes = config.size,
                                                 .tensors = tensors.bytes,
                                                 .tensors_bytes = tensors.size,
                                                 .store = OCLORA_STORE_F32};
        WANT_OK(api->adapter_load_memory(s->pool, &args, &adapter, &msg));
        WANT_OK(api->adapter_pin(s->pool, adapter, &msg));
        WANT_OK(api->pool_query(s->pool, &pool, &msg));
        WANT_OK(api->adapter_query(s->pool, adapter, &desc, &msg));
        used[i] = pool.used_bytes;
        *claimed = desc.device_bytes;
        retrain(&tensors, own);
    }
    free(config.bytes);
    free(tensors.bytes);
}

/* `shared`: bytes that must not be there twice; `apart`: what an adapter has of its own, at least.
 */
static void check_shared(oclora_context_t *context, const char *name, const char *const *own,
                         uint64_t shared, uint64_t apart)
{
    golden_served s;
    char folder[512];
    uint64_t used[ADAPTERS] = {0}, claimed = 0;
    snprintf(folder, sizeof folder, GOLDEN "%s", name);
    if (golden_serve(&s, api, context, folder)) {
        fill(&s, folder, own, used, &claimed);
        const uint64_t each = used[1] - used[0];
        printf("  ten of %s: %llu bytes on the device; apart they would take %llu; shared %llu\n",
               name, (unsigned long long)used[ADAPTERS - 1],
               (unsigned long long)(ADAPTERS * claimed), (unsigned long long)shared);
        CHECK_INT(used[0], claimed);
        CHECK_INT(used[ADAPTERS - 1], used[0] + (ADAPTERS - 1) * each);
        CHECK(each >= apart && each + shared <= claimed);
    }
    golden_end(&s);
}

static void shared_on(uint32_t device, uint32_t device_class)
{
    static const char *const vera[] = {"vera_lambda", NULL};
    static const char *const share[] = {"lora_B", NULL};
    oclora_context_t *context = native_context(api, device, device_class);
    /* A [24, 160], its leading 96 columns for the narrower module, and B [96, 24], leading 80. */
    check_shared(context, "vera_two_modules_shared", vera, 4 * 24 * (160 + 96 + 96 + 80),
                 4 * (80 + 96 + 24 + 24));
    /* A [8, 96] of both q_proj and A [8, 160]; every adapter has three B. */
    check_shared(context, "sharelora", share, 4 * 8 * (96 + 160), 4 * 8 * (80 + 80 + 96));
    api->context_destroy(context);
}

static void test_shared(void)
{
    native_each(api, 0, shared_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"shared factors once", test_shared}};
    api = native_open(&library);
    const int status = oclora_test_main("plugin_shared", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
