/* A complete program on liboclora.so: one base layer, one adapter, two rows of which only the
 * second is adapted. Usage: client_v1 ADAPTER_FOLDER. Compiled against version 1.0 and kept as it
 * is: it must run with every later library of major version 1. */
#include <oclora.h>

#include <stdio.h>
#include <string.h>

enum { D_IN = 96, D_OUT = 80, D_HIDDEN = 160 };

static oclora_message msg = {sizeof msg, ""};

static int failed(const char *what, oclora_status status)
{
    if (status != OCLORA_OK) fprintf(stderr, "%s: %s\n", what, msg.text);
    return status != OCLORA_OK;
}

int main(int argc, char **argv)
{
    static float w[D_OUT * D_IN], v[D_IN * D_HIDDEN], x[2 * D_IN], y[2 * D_OUT];
    static const char q[] = "model.layers.0.self_attn.q_proj";
    static const char down[] = "model.layers.3.mlp.down_proj";
    const oclora_api *api = oclora_get_api(OCLORA_MAJOR);
    oclora_context_t *context = NULL;
    oclora_weight_t *weight = NULL, *other = NULL;
    oclora_pool_t *pool = NULL;
    oclora_batch_t *batch = NULL;
    oclora_adapter_t adapter = 0;
    if (argc != 2 || api == NULL) return 2;

    for (int i = 0; i < D_OUT * D_IN; i++) w[i] = (float)(i % 7) * 0.125f - 0.375f;
    for (int i = 0; i < 2 * D_IN; i++) x[i] = (float)(i % D_IN % 5) * 0.25f - 0.5f; /* equal rows */

    oclora_weight_args wa = {.struct_size = sizeof wa,
                             .name = q,
                             .name_length = strlen(q),
                             .data = w,
                             .data_bytes = sizeof w,
                             .type = OCLORA_TYPE_F32,
                             .d_in = D_IN,
                             .d_out = D_OUT};
    oclora_weight_args wb = {.struct_size = sizeof wb,
                             .name = down,
                             .name_length = strlen(down),
                             .data = v,
                             .data_bytes = sizeof v,
                             .type = OCLORA_TYPE_F32,
                             .d_in = D_HIDDEN,
                             .d_out = D_IN};
    oclora_pool_args pa = {.struct_size = sizeof pa, .budget_bytes = 1 << 20};
    oclora_adapter_args aa = {.struct_size = sizeof aa,
                              .name = "mine",
                              .name_length = 4,
                              .path = argv[1],
                              .path_length = strlen(argv[1])};
    int bad = failed("context", api->context_create(NULL, &context, &msg)) ||
              failed("weight", api->weight_create(context, &wa, &weight, &msg)) ||
              failed("weight", api->weight_create(context, &wb, &other, &msg)) ||
              failed("pool", api->pool_create(context, &pa, &pool, &msg)) ||
              failed("adapter", api->adapter_load(pool, &aa, &adapter, &msg));

    const uint32_t row_start[3] = {0, 0, 1}; /* row 0: the base alone; row 1: one entry */
    oclora_batch_args ba = {
        .struct_size = sizeof ba, .row_start = row_start, .adapter = &adapter, .n_rows = 2};
    bad = bad || failed("batch", api->batch_create(pool, &ba, &batch, &msg));
    oclora_linear_args la = {
        .struct_size = sizeof la, .weight = weight, .batch = batch, .x = x, .y = y, .n_rows = 2};
    bad = bad || failed("linear", api->linear(&la, &msg));
    if (!bad) printf("base %.6f, adapted %.6f\n", (double)y[0], (double)y[D_OUT]);

    api->batch_destroy(batch);
    api->pool_destroy(pool);
    api->weight_destroy(other);
    api->weight_destroy(weight);
    api->context_destroy(context);
    return bad || y[0] == y[D_OUT];
}
