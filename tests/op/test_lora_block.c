/* Adapters of many rows in blocks (cl/lora_block.cl), each variant by name: against double
 * precision, the same bits as tiles and as each row alone. */
#include "host/op/fused.h"
#include "support/lora_world.h"

#include <string.h>

typedef struct fused_variant {
    const char *defines;
    bool launched;
} fused_variant;

static void note_fused(void *user, const oclora_kernel_ref *kernel)
{
    fused_variant *variant = user;
    if (!strcmp(kernel->entry, "lora_fused") && !strcmp(kernel->defines, variant->defines))
        variant->launched = true;
}

/* Chunks that lora_fused does in blocks, whole and not, and rows that are left over. */
static void block_worlds(const oclora_test_device *device, uint32_t variant)
{
    static const uint32_t ranks[2][5] = {{71, 5, 130, 64, 1}, {512, 2, 65, 513, 3}};
    static const uint32_t runs[4][4] = {{33, 12, 8, 11}, {47, 17}, {32, 31, 1}, {64}};
    static const uint32_t with[5] = {0, WITH_BETA, WITH_C, 0, WITH_BETA | WITH_C};
    for (uint32_t i = 0; i < 8; i++) {
        if ((i + i / 4 + variant) % 2) continue; /* half of them, with all pairs of types */
        world w;
        world_open(&w, device, 1072, 272, 64);
        w.runs = runs[(i + i / 4) % 4];
        w.chunk_rows = 64;
        for (uint32_t k = 0; k < 5; k++)
            world_add(&w, ranks[i / 4][k], 1, i & 1 ? OCLORA_TYPE_F16 : OCLORA_TYPE_F32,
                      i & 2 ? OCLORA_TYPE_F16 : OCLORA_TYPE_F32, with[k]);
        world_check(&w);
    }
}

static void blocks(const oclora_test_device *device)
{
    static const oclora_tune_param params[] = {OCLORA_TUNE_FUSED_WORK, OCLORA_TUNE_VECTOR_SUMS,
                                               OCLORA_TUNE_MATMUL_AHEAD};
    oclora_error err = {0, ""};
    uint32_t was[3];
    for (int i = 0; i < 3; i++) was[i] = oclora_context_tuned(device->context, params[i]);
    if (!was[0]) { /* GPU class: no such variants */
        block_worlds(device, 0);
        return;
    }
    const bool prefetch = was[2] > OCLORA_TUNE_NO_AHEAD; /* else the compiler may have none */
    fused_variant variants[4] = {
        {"", false}, {"-DSUMS=8", false}, {"-DPREFETCH", false}, {"-DSUMS=8 -DPREFETCH", false}};
    for (uint32_t v = 0; v < (prefetch ? 4u : 2u); v++) {
        const uint32_t now[3] = {1u << 24, v & 1 ? 8 : 16,
                                 v & 2 ? was[2] : (uint32_t)OCLORA_TUNE_NO_AHEAD};
        for (int i = 0; i < 3; i++)
            CHECK_OK(oclora_context_tune(device->context, params[i], now[i], &err), &err);
        block_worlds(device, v);
        oclora_stream_each_kernel(device->stream, note_fused, &variants[v]);
        CHECK(variants[v].launched);
    }
    for (int i = 0; i < 3; i++)
        CHECK_OK(oclora_context_tune(device->context, params[i], was[i], &err), &err);
}

static void test_blocks(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, blocks);
}

int main(void)
{
    static const oclora_test tests[] = {{"blocks", test_blocks}};
    return oclora_test_main("op_lora_block", tests, sizeof tests / sizeof tests[0]);
}
