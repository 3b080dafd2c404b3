/* The ggml plugin loaded, used and unloaded again and again. It stays mapped, as drivers may have
 * threads and exit handlers in it, with one context for each device; sessions, backends, buffers
 * and adapters leave no thread, no file and no memory behind. Usage: ggml_reload [exact], with a
 * driver whose memory is malloc's and whose kernels do nothing. */
#include "fault/memory.h"
#include "ggml/golden_model.h"
#include "support/usage.h"

#include <stdlib.h>
#include <string.h>

enum { TIMES = 60, WARM = 20 };

static bool fake;

/* A row of the base and all others of the adapter: their results. */
static float *serve(model *m)
{
    const layer *l = &m->layers[0];
    float *y = calloc(l->rows * l->d_out, sizeof *y);
    mapping map = {0};
    for (size_t t = 0; t < l->rows; t++) {
        map.seq[t] = (uint32_t)t;
        map.count[t] = t > 0;
        snprintf(map.adapter[t][0], sizeof map.adapter[t][0], "it");
        map.weight[t][0] = 1.0f;
    }
    map_rows(m, &map, l->rows);
    CHECK(y != NULL && compute(m, l, &map, y));
    return y;
}

static void once(float **expected)
{
    model m;
    if (!open_model(&m, "lora")) return;
    const size_t bytes = m.layers[0].rows * m.layers[0].d_out * sizeof(float);
    CHECK(load(&m, "it", ""));
    float *y = serve(&m);
    if (*expected == NULL) {
        *expected = y;
        y = NULL;
    }
    CHECK(fake || y == NULL || memcmp(*expected, y, bytes) == 0);
    free(y);
    close_model(&m);
}

static void test_reload(void)
{
    usage early = usage_now();
    float *expected = NULL;
    long kept = 0;
    for (int i = 0; i < TIMES; i++) {
        if (!golden_start()) return;
        if (i == 0) CHECK(fault_memory_watch("libggml-oclora.so", true));
        fault_memory_arm(FAULT_MEMORY, 0, 0, false); /* counts calls, none fails */
        once(&expected);
        CHECK(fault_memory_calls() > 100);
        ggml_backend_unload(run.reg);
        run.reg = NULL;
        CHECK(ggml_backend_reg_by_name("OCLORA") == NULL);
        if (i == 0) kept = fault_memory_live(); /* the device's context, with its programs */
        CHECK_INT(fault_memory_live(), kept);
        if (i + 1 == WARM) early = usage_now();
    }
    const usage late = usage_settled(&early);
    CHECK(usage_is_flat("libggml-oclora", &early, &late, TIMES - WARM));
    free(expected);
}

static void keep_quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"loaded and unloaded", test_reload}};
    (void)argv;
    fake = argc > 1;
    ggml_log_set(keep_quiet, NULL);
    if (!golden_begin(OCLORA_TEST_DATA "/golden")) return 1;
    const int status = oclora_test_main("ggml_reload", tests, 1);
    golden_end();
    return status;
}
