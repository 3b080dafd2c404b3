/* An adapter is not served on a base weight that took the place of the one it was loaded for. */
#include "world.h"

static const oclora_api *api;

enum { N_ROWS = 4 };

static oclora_status run(world *w, oclora_weight_t *weight, oclora_batch_t *batch,
                         oclora_message *msg)
{
    float x[N_ROWS * DOWN_IN] = {0}, y[N_ROWS * DOWN_OUT];
    oclora_linear_args args = world_call(w, batch, x, y, N_ROWS);
    args.weight = weight;
    return api->linear(&args, msg);
}

static void replaced_on(uint32_t device, uint32_t device_class)
{
    world w;
    oclora_message msg = {sizeof msg, ""};
    oclora_batch_t *batch = NULL, *other = NULL;
    oclora_adapter_t again = 7;
    if (!world_open(&w, api, device, device_class)) return;
    WANT_OK(world_batch(&w, N_ROWS, &batch, &msg));
    WANT_OK(run(&w, w.q, batch, &msg));
    api->weight_destroy(w.q);
    WANT_OK(run(&w, w.down, batch, &msg)); /* the other weight is the one it was loaded for */
    WANT_OK(world_weight(&w, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &w.q, &msg));
    WANT(run(&w, w.q, batch, &msg), OCLORA_WRONG_STATE);
    CHECK_CONTAINS(msg.text, "q_proj");
    WANT_OK(run(&w, w.q, NULL, &msg));
    WANT(world_batch(&w, N_ROWS, &other, &msg), OCLORA_WRONG_STATE);
    CHECK_CONTAINS(msg.text, "'lora'");
    WANT(world_load(&w, "lora", GOLDEN "lora", &again, &msg), OCLORA_WRONG_STATE);
    CHECK(other == NULL && again == 7);
    api->batch_destroy(batch);
    WANT_OK(api->adapter_unload(w.pool, w.adapter, &msg));
    WANT_OK(world_load(&w, "lora", GOLDEN "lora", &w.adapter, &msg));
    WANT_OK(world_batch(&w, N_ROWS, &batch, &msg));
    WANT_OK(run(&w, w.q, batch, &msg));
    api->batch_destroy(batch);
    world_close(&w);
}

static void test_replaced(void)
{
    native_each(api, 0, replaced_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"a weight that was made anew", test_replaced}};
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_changed", tests, 1);
    dlclose(library);
    return status;
}
