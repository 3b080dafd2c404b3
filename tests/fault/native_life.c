#include "fault/native_life.h"

enum { QUERY = 14 };

static void begin(void *user)
{
    native_life *l = user;
    l->w = (world){.api = l->w.api};
    l->other = 0;
    l->done = 0;
}

static oclora_status make_context(native_life *l, oclora_message *msg)
{
    const oclora_callbacks callbacks = {
        .struct_size = sizeof callbacks, .alloc = fault_host_alloc, .release = fault_host_release};
    const oclora_context_args args = {.struct_size = sizeof args,
                                      .callbacks = l->callbacks ? &callbacks : NULL,
                                      .device = l->cl[0] != NULL ? NULL : l->device,
                                      .device_length = l->cl[0] != NULL ? 0 : strlen(l->device),
                                      .cache_dir = OCLORA_BUILD_DIR "/test-cache",
                                      .cache_dir_length = strlen(OCLORA_BUILD_DIR "/test-cache"),
                                      .cl_context = l->cl[0],
                                      .cl_device = l->cl[1],
                                      .cl_queue = l->cl[2]};
    return l->w.api->context_create(&args, &l->w.context, msg);
}

static oclora_status make_batch(native_life *l, oclora_adapter_t adapter, oclora_message *msg)
{
    const uint32_t starts[LIFE_ROWS + 1] = {0, 0, 1, 1, 2};
    const oclora_adapter_t entries[2] = {adapter, adapter};
    const oclora_batch_args args = {
        .struct_size = sizeof args, .row_start = starts, .adapter = entries, .n_rows = LIFE_ROWS};
    return l->w.api->batch_create(l->w.pool, &args, &l->batch, msg);
}

static oclora_status check_result(native_life *l, int which)
{
    if (!l->known[which]) {
        memcpy(l->expected[which], l->y, sizeof l->y);
        l->known[which] = true;
    }
    CHECK_INT(memcmp(l->y, l->expected[which], sizeof l->y), 0);
    oclora_test_poison(l->y, sizeof l->y);
    return OCLORA_OK;
}

/* Where all goes on failing there may be no batch, and without one a layer is the base alone. */
static oclora_status lacking(oclora_message *msg)
{
    snprintf(msg->text, sizeof msg->text, "an earlier step failed");
    return OCLORA_WRONG_STATE;
}

static oclora_status run_now(native_life *l, int which, oclora_message *msg)
{
    oclora_linear_args call = world_call(&l->w, l->batch, l->x, l->y, LIFE_ROWS);
    if (l->batch == NULL) return lacking(msg);
    call.x_mem = l->cl[3];
    if (call.x_mem != NULL) call.x = NULL;
    const oclora_status status = l->w.api->linear(&call, msg);
    return status == OCLORA_OK ? check_result(l, which) : status;
}

static oclora_status run_later(native_life *l, int which, oclora_message *msg)
{
    const oclora_api *api = l->w.api;
    const oclora_linear_args call = world_call(&l->w, l->batch, l->x, l->y, LIFE_ROWS);
    uint32_t done = 0;
    if (l->batch == NULL) return lacking(msg);
    oclora_status status = api->linear_submit(&call, &l->event, msg);
    if (status == OCLORA_OK) status = api->event_done(l->event, &done, msg);
    if (status == OCLORA_OK) status = api->event_wait(l->event, msg);
    api->event_destroy(l->event);
    l->event = NULL;
    return status == OCLORA_OK ? check_result(l, which) : status;
}

static oclora_status end_batch(native_life *l)
{
    l->w.api->batch_destroy(l->batch);
    l->batch = NULL;
    return OCLORA_OK;
}

static oclora_status query(native_life *l, oclora_message *msg)
{
    oclora_pool_desc desc = {.struct_size = sizeof desc};
    OCLORA_TRY(l->w.api->pool_query(l->w.pool, &desc, msg));
    const uint32_t before = (1u << QUERY) - 1;
    if ((l->done & before) != before) return OCLORA_OK; /* where all goes on failing */
    CHECK_INT(desc.n_adapters, 2);
    if (l->w.api->context_health(l->w.context, NULL) == OCLORA_OK) CHECK_INT(desc.n_resident, 1);
    return OCLORA_OK;
}

/* The pool has room for one adapter. */
static oclora_status do_step(native_life *l, int number, oclora_message *msg)
{
    world *w = &l->w;
    const oclora_pool_args pool = {.struct_size = sizeof pool, .budget_bytes = 16 * 1024};
    switch (number) {
    case 0:
        return make_context(l, msg);
    case 1:
        return world_weight(w, "model.layers.0.self_attn.q_proj", Q_IN, Q_OUT, &w->q, msg);
    case 2:
        return world_weight(w, "model.layers.3.mlp.down_proj", DOWN_IN, DOWN_OUT, &w->down, msg);
    case 3:
        return w->api->pool_create(w->context, &pool, &w->pool, msg);
    case 4:
        return world_load(w, "lora", GOLDEN "lora", &w->adapter, msg);
    case 5:
        return world_load(w, "rslora", GOLDEN "rslora", &l->other, msg);
    case 6:
        return make_batch(l, w->adapter, msg);
    case 7:
        return run_now(l, 0, msg);
    case 8:
        return end_batch(l);
    case 9:
        return make_batch(l, l->other, msg); /* evicts the first */
    case 10:
        return run_later(l, 1, msg);
    case 11:
        return end_batch(l);
    case 12:
        return make_batch(l, w->adapter, msg); /* and back */
    case 13:
        return run_now(l, 0, msg);
    case QUERY:
        return query(l, msg);
    case 15:
        return end_batch(l);
    case 16:
        return w->api->adapter_pin(w->pool, l->other, msg);
    default:
        return w->api->adapter_unload(w->pool, w->adapter, msg);
    }
}

static oclora_status step(void *user, int number, char *text)
{
    oclora_message msg = {sizeof msg, ""};
    const oclora_status status = do_step(user, number, &msg);
    memcpy(text, msg.text, sizeof msg.text);
    if (status == OCLORA_OK) ((native_life *)user)->done |= 1u << number;
    return status;
}

static bool is_lost(void *user)
{
    const native_life *l = user;
    return l->w.context != NULL &&
           l->w.api->context_health(l->w.context, NULL) == OCLORA_DEVICE_LOST;
}

static void end(void *user)
{
    native_life *l = user;
    l->w.api->event_destroy(l->event);
    l->event = NULL;
    (void)end_batch(l);
    world_close(&l->w);
}

fault_life native_life_of(native_life *l)
{
    const fault_life life = {.name = l->cl[0] != NULL ? "native, host's context" : "native",
                             .steps = LIFE_STEPS,
                             .begin = begin,
                             .step = step,
                             .is_lost = is_lost,
                             .end = end,
                             .user = l};
    return life;
}
