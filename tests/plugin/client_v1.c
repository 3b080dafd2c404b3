/* A complete program on liboclora.so: one base layer, one adapter, two equal rows of which only the
 * second is adapted. Compiled against version 1.0 and kept as it is: it must run with every later
 * library of major version 1. Usage: client_v1 ADAPTER_FOLDER */
#include <oclora.h>
#include <stdio.h>
#include <string.h>

#define Q "model.layers.0.self_attn.q_proj"
#define DOWN "model.layers.3.mlp.down_proj"
#define SIZE(a) .struct_size = sizeof(a)
#define TEXT(field, text) .field = (text), .field##_length = strlen(text)
#define DO(call) if (!bad && (call) != OCLORA_OK) bad = fprintf(stderr, "%s\n", msg.text)

int main(int argc, char **argv)
{
    static float w[80 * 96], v[96 * 160], x[2 * 96], y[2 * 80];
    oclora_message msg = {sizeof msg, ""};
    const oclora_api *api = oclora_get_api(OCLORA_MAJOR);
    oclora_context_t *context = NULL;
    oclora_weight_t *q = NULL, *down = NULL;
    oclora_pool_t *pool = NULL;
    oclora_adapter_t adapter = 0;
    oclora_batch_t *batch = NULL;
    int bad = argc != 2 || api == NULL;
    if (bad) return 2;
    for (int i = 0; i < 80 * 96; i++) w[i] = (float)(i % 7) * 0.125f - 0.375f;
    for (int i = 0; i < 2 * 96; i++) x[i] = (float)(i % 96 % 5) * 0.25f - 0.5f;

    /* Base weights [d_out, d_in], under the names the adapter uses for its modules. */
    oclora_weight_args wq = {SIZE(wq), TEXT(name, Q), .data = w, .data_bytes = sizeof w,
                             .type = OCLORA_TYPE_F32, .d_in = 96, .d_out = 80};
    oclora_weight_args wd = {SIZE(wd), TEXT(name, DOWN), .data = v, .data_bytes = sizeof v,
                             .type = OCLORA_TYPE_F32, .d_in = 160, .d_out = 96};
    oclora_pool_args pa = {SIZE(pa), .budget_bytes = 1 << 20};
    oclora_adapter_args aa = {SIZE(aa), TEXT(name, "mine"), TEXT(path, argv[1])};
    DO(api->context_create(NULL, &context, &msg));
    DO(api->weight_create(context, &wq, &q, &msg));
    DO(api->weight_create(context, &wd, &down, &msg));
    DO(api->pool_create(context, &pa, &pool, &msg));
    DO(api->adapter_load(pool, &aa, &adapter, &msg));

    /* Row 0: no entry, the base alone. Row 1: one entry, the adapter. */
    const uint32_t row_start[3] = {0, 0, 1};
    oclora_batch_args ba = {SIZE(ba), .row_start = row_start, .adapter = &adapter, .n_rows = 2};
    DO(api->batch_create(pool, &ba, &batch, &msg));
    oclora_linear_args la = {SIZE(la), .weight = q, .batch = batch, .x = x, .y = y, .n_rows = 2};
    DO(api->linear(&la, &msg));
    if (!bad) printf("base %.6f, adapted %.6f\n", (double)y[0], (double)y[80]);

    api->batch_destroy(batch);
    api->pool_destroy(pool);
    api->weight_destroy(down);
    api->weight_destroy(q);
    api->context_destroy(context);
    return bad || y[0] == y[80];
}
