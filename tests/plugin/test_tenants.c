/* No row is ever computed with another's adapter: every adapter's answer carries its mark. The base
 * is zero and adapter k adds mark k to every output, so that y says who served the row, exactly,
 * while several threads load under the same names, unload, evict and serve. */
#include "native.h"

#include <pthread.h>
#include <stdatomic.h>

#define MODULE "model.layers.0.self_attn.q_proj"
enum { D_IN = 32, D_OUT = 16, RANK = 4, THREADS = 4, NAMES = 8, ROWS = 6, MARKS = 1000 };

static const oclora_api *api;

typedef struct marked {
    oclora_adapter_t handle;
    float mark;
} marked;

/* The two files of a LoRA whose product is: output = mark * x[0]. */
typedef struct files {
    char config[128];
    uint64_t config_bytes;
    unsigned char tensors[1024 + 4 * RANK * (D_IN + D_OUT)];
    uint64_t tensors_bytes;
} files;

static void make_files(files *out, float mark)
{
    float a[RANK][D_IN] = {{0}}, b[D_OUT][RANK] = {{0}};
    char header[512];
    a[0][0] = 1.0f;
    for (int i = 0; i < D_OUT; i++) b[i][0] = mark;
    snprintf(out->config, sizeof out->config,
             "{\"peft_type\": \"LORA\", \"r\": %d, \"lora_alpha\": %d, \"target_modules\": "
             "[\"q_proj\"]}",
             RANK, RANK);
    out->config_bytes = strlen(out->config);
    snprintf(header, sizeof header,
             "{\"base_model.model." MODULE ".lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],"
             "\"data_offsets\":[0,%zu]},\"base_model.model." MODULE
             ".lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%zu,%zu]}}",
             RANK, D_IN, sizeof a, D_OUT, RANK, sizeof a, sizeof a + sizeof b);
    const uint64_t length = (strlen(header) + 7) / 8 * 8;
    memset(out->tensors, ' ', 8 + (size_t)length);
    memcpy(out->tensors, &length, sizeof length);
    memcpy(out->tensors + 8, header, strlen(header));
    memcpy(out->tensors + 8 + length, a, sizeof a);
    memcpy(out->tensors + 8 + length + sizeof a, b, sizeof b);
    out->tensors_bytes = 8 + length + sizeof a + sizeof b;
}

static oclora_status load_files(oclora_pool_t *pool, const char *name, const files *f,
                                oclora_adapter_t *out, oclora_message *msg)
{
    const oclora_adapter_memory_args args = {.struct_size = sizeof args,
                                             .name = name,
                                             .name_length = strlen(name),
                                             .config = f->config,
                                             .config_bytes = f->config_bytes,
                                             .tensors = f->tensors,
                                             .tensors_bytes = f->tensors_bytes};
    return api->adapter_load_memory(pool, &args, out, msg);
}

static oclora_status load(oclora_pool_t *pool, const char *name, float mark, oclora_adapter_t *out,
                          oclora_message *msg)
{
    files f;
    make_files(&f, mark);
    return load_files(pool, name, &f, out, msg);
}

typedef struct place {
    oclora_context_t *context;
    oclora_weight_t *weight;
    oclora_pool_t *pool;
    uint64_t each; /* device bytes of one adapter */
} place;

/* Room for `count` adapters. */
static bool open_place(place *p, oclora_context_t *context, uint64_t count)
{
    static const float zeros[D_IN * D_OUT] = {0};
    oclora_message msg = {sizeof msg, ""};
    oclora_adapter_t adapter = 0;
    oclora_adapter_desc desc = {.struct_size = sizeof desc};
    const oclora_weight_args wa = {.struct_size = sizeof wa,
                                   .name = MODULE,
                                   .name_length = strlen(MODULE),
                                   .data = zeros,
                                   .data_bytes = sizeof zeros,
                                   .type = OCLORA_TYPE_F32,
                                   .d_in = D_IN,
                                   .d_out = D_OUT};
    oclora_pool_args pa = {.struct_size = sizeof pa, .budget_bytes = 1 << 16};
    memset(p, 0, sizeof *p);
    p->context = context;
    if (!WANT_OK(api->weight_create(context, &wa, &p->weight, &msg)) ||
        !WANT_OK(api->pool_create(context, &pa, &p->pool, &msg)) ||
        !WANT_OK(load(p->pool, "probe", 1.0f, &adapter, &msg)) ||
        !WANT_OK(api->adapter_query(p->pool, adapter, &desc, &msg)))
        return false;
    api->pool_destroy(p->pool);
    p->each = desc.device_bytes;
    /* A and the scales are the same in all and on the device once, B is a page; 256 are the pool's.
     */
    pa.budget_bytes = 256 + p->each + (count - 1) * 256;
    p->pool = NULL;
    return WANT_OK(api->pool_create(context, &pa, &p->pool, &msg));
}

static void close_place(const place *p)
{
    api->pool_destroy(p->pool);
    api->weight_destroy(p->weight);
}

/* Rows and what each must answer. */
typedef struct question {
    uint32_t n_rows, start[ROWS + 1];
    oclora_adapter_t adapter[2 * ROWS];
    float weight[2 * ROWS], answer[ROWS];
} question;

static oclora_status ask(const place *p, const question *q, oclora_batch_t **out,
                         oclora_message *msg)
{
    const oclora_batch_args args = {.struct_size = sizeof args,
                                    .row_start = q->start,
                                    .adapter = q->adapter,
                                    .weight = q->weight,
                                    .n_rows = q->n_rows};
    return api->batch_create(p->pool, &args, out, msg);
}

static void add_row(question *q, const marked *entries, const float *weights, uint32_t count)
{
    uint32_t n = q->start[q->n_rows];
    q->answer[q->n_rows] = 0.0f;
    for (uint32_t i = 0; i < count; i++, n++) {
        q->adapter[n] = entries[i].handle;
        q->weight[n] = weights[i];
        q->answer[q->n_rows] += weights[i] * entries[i].mark;
    }
    q->start[++q->n_rows] = n;
}

static oclora_linear_args layer(const place *p, const question *q, oclora_batch_t *batch, float *x,
                                float *y)
{
    for (uint32_t i = 0; i < ROWS * D_IN; i++) x[i] = i % D_IN == 0 ? 1.0f : -3.0f;
    oclora_test_poison(y, ROWS * D_OUT * sizeof *y);
    const oclora_linear_args args = {.struct_size = sizeof args,
                                     .weight = p->weight,
                                     .batch = batch,
                                     .x = x,
                                     .y = y,
                                     .n_rows = q->n_rows};
    return args;
}

/* Rows that were not answered by those whom they name. */
static uint32_t strangers(const question *q, const float *y)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < q->n_rows; t++) {
        bool own = true;
        for (uint32_t i = 0; i < D_OUT; i++) own = own && y[t * D_OUT + i] == q->answer[t];
        count += !own;
    }
    return count;
}

static struct {
    place p;
    pthread_mutex_t mutex;
    marked table[NAMES];
    long rounds; /* of each thread at least; more until enough has happened */
    atomic_uint next_mark;
    atomic_long rows, stale, full, reloads, in_use, wrong;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void wrong(const char *what, const oclora_message *msg)
{
    if (atomic_fetch_add(&shared.wrong, 1) < 10)
        fprintf(stderr, "  wrong: %s %s\n", what, msg->text);
}

static uint32_t next(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Other contents under the same name: the old handle must be refused from then on. */
static void reload(uint32_t i)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_batch_t *batch = NULL;
    char name[8];
    marked made = {0, (float)(1 + atomic_fetch_add(&shared.next_mark, 1) % MARKS)};
    question q = {0};
    const float one = 1.0f;
    snprintf(name, sizeof name, "n%u", i);
    pthread_mutex_lock(&shared.mutex);
    const marked old = shared.table[i];
    pthread_mutex_unlock(&shared.mutex);
    const oclora_status status = api->adapter_unload(shared.p.pool, old.handle, &msg);
    if (status == OCLORA_ADAPTER_IN_USE) atomic_fetch_add(&shared.in_use, 1);
    if (status != OCLORA_OK) {
        if (status != OCLORA_ADAPTER_IN_USE && status != OCLORA_STALE_HANDLE) wrong("unload", &msg);
        return;
    }
    add_row(&q, &old, &one, 1);
    if (ask(&shared.p, &q, &batch, &msg) != OCLORA_STALE_HANDLE) wrong("an unloaded adapter", &msg);
    if (load(shared.p.pool, name, made.mark, &made.handle, &msg) != OCLORA_OK) {
        wrong("reload", &msg);
        return;
    }
    if (ask(&shared.p, &q, &batch, &msg) != OCLORA_STALE_HANDLE) wrong("a reloaded name", &msg);
    atomic_fetch_add(&shared.reloads, 1);
    pthread_mutex_lock(&shared.mutex);
    shared.table[i] = made;
    pthread_mutex_unlock(&shared.mutex);
}

static void serve(uint32_t *state)
{
    static const float weights[4] = {0.5f, 1.0f, 2.0f, 0.0f};
    oclora_message msg = {sizeof msg, ""};
    question q = {0};
    oclora_batch_t *batch = NULL;
    oclora_event_t *event = NULL;
    float x[ROWS * D_IN], y[ROWS * D_OUT];
    marked table[NAMES];
    pthread_mutex_lock(&shared.mutex);
    memcpy(table, shared.table, sizeof table);
    pthread_mutex_unlock(&shared.mutex);
    for (uint32_t n = 1 + next(state) % ROWS; n > 0; n--) {
        const marked entries[2] = {table[next(state) % NAMES], table[next(state) % NAMES]};
        const float w[2] = {weights[next(state) % 4], weights[next(state) % 4]};
        add_row(&q, entries, w, next(state) % 3);
    }
    oclora_status status = ask(&shared.p, &q, &batch, &msg);
    if (status != OCLORA_OK) {
        if (status == OCLORA_STALE_HANDLE) atomic_fetch_add(&shared.stale, 1);
        if (status == OCLORA_POOL_FULL) atomic_fetch_add(&shared.full, 1);
        if (status != OCLORA_STALE_HANDLE && status != OCLORA_POOL_FULL) wrong("batch", &msg);
        return;
    }
    const oclora_linear_args args = layer(&shared.p, &q, batch, x, y);
    const bool early = next(state) % 2 == 0; /* the batch goes while its work is in flight */
    status = api->linear_submit(&args, &event, &msg);
    if (early) api->batch_destroy(batch);
    if (status == OCLORA_OK) status = api->event_wait(event, &msg);
    if (!early) api->batch_destroy(batch);
    api->event_destroy(event);
    if (status != OCLORA_OK) wrong("layer", &msg);
    if (status == OCLORA_OK && strangers(&q, y) > 0) wrong("a row has a stranger's answer", &msg);
    atomic_fetch_add(&shared.rows, q.n_rows);
}

/* A few of everything: how threads meet is the machine's choice. */
static bool much_happened(void)
{
    oclora_message msg = {sizeof msg, ""};
    oclora_pool_desc desc = {.struct_size = sizeof desc};
    if (api->pool_query(shared.p.pool, &desc, &msg) != OCLORA_OK) wrong("pool_query", &msg);
    return shared.rows > 100 && shared.reloads > 20 && desc.evictions > 20;
}

static void *work(void *user)
{
    uint32_t state = 0x9e3779b9u * (1 + *(const uint32_t *)user);
    for (long n = 0; n < shared.rounds || (n < 100 * shared.rounds && !much_happened()); n++) {
        if (next(&state) % 3 == 0) reload(next(&state) % NAMES);
        serve(&state);
    }
    return NULL;
}

static void threads_on(uint32_t device, uint32_t device_class)
{
    oclora_context_t *context = native_context(api, device, device_class);
    oclora_message msg = {sizeof msg, ""};
    oclora_pool_desc desc = {.struct_size = sizeof desc};
    pthread_t threads[THREADS];
    uint32_t numbers[THREADS];
    const char *full = getenv("OCLORA_TEST_FULL");
    shared.rounds = full != NULL && full[0] == '1' ? 5000 : 150;
    shared.rows = shared.stale = shared.full = shared.reloads = shared.in_use = shared.wrong = 0;
    if (!open_place(&shared.p, context, 6)) return;
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[8];
        snprintf(name, sizeof name, "n%u", i);
        shared.table[i].mark = (float)(1 + atomic_fetch_add(&shared.next_mark, 1) % MARKS);
        WANT_OK(load(shared.p.pool, name, shared.table[i].mark, &shared.table[i].handle, &msg));
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    WANT_OK(api->pool_query(shared.p.pool, &desc, &msg));
    printf("  %ld rows, each by its own; %ld reloads, %llu evictions; refused: %ld stale, %ld for "
           "room, %ld unloads in use\n",
           shared.rows, shared.reloads, (unsigned long long)desc.evictions, shared.stale,
           shared.full, shared.in_use);
    CHECK_INT(shared.wrong, 0);
    CHECK(much_happened());
    close_place(&shared.p);
    api->context_destroy(context);
}

/* Room for two of three. While work of two is in flight they are neither evicted nor unloaded, not
 * even once the host has destroyed the batch. */
static void flight_on(uint32_t device, uint32_t device_class)
{
    static const float ones[2] = {1.0f, 1.0f};
    static const char *const names[3] = {"a", "b", "c"};
    oclora_context_t *context = native_context(api, device, device_class);
    oclora_message msg = {sizeof msg, ""};
    oclora_batch_t *batch = NULL, *other = NULL;
    oclora_event_t *event = NULL;
    oclora_adapter_t again = 0;
    float x[ROWS * D_IN], y[ROWS * D_OUT];
    marked m[3] = {{0, 3.0f}, {0, 5.0f}, {0, 7.0f}};
    question q = {0}, third = {0};
    place p;
    if (!open_place(&p, context, 2)) return;
    for (int i = 0; i < 3; i++) WANT_OK(load(p.pool, names[i], m[i].mark, &m[i].handle, &msg));
    add_row(&q, &m[0], ones, 1);
    add_row(&q, &m[1], ones, 1);
    add_row(&q, m, ones, 2);
    add_row(&q, m, ones, 0);
    add_row(&third, &m[2], ones, 1);
    WANT_OK(ask(&p, &q, &batch, &msg));
    const oclora_linear_args args = layer(&p, &q, batch, x, y);
    WANT_OK(api->linear_submit(&args, &event, &msg));
    api->batch_destroy(batch);
    WANT(ask(&p, &third, &other, &msg), OCLORA_POOL_FULL);
    WANT(api->adapter_unload(p.pool, m[0].handle, &msg), OCLORA_ADAPTER_IN_USE);
    WANT(load(p.pool, "a", 9.0f, &again, &msg), OCLORA_ALREADY_EXISTS);
    WANT_OK(api->event_wait(event, &msg));
    CHECK_INT(strangers(&q, y), 0);
    api->event_destroy(event);
    WANT_OK(ask(&p, &third, &other, &msg)); /* evicts one of the two */
    const oclora_linear_args last = layer(&p, &third, other, x, y);
    WANT_OK(api->linear(&last, &msg));
    CHECK_INT(strangers(&third, y), 0);
    api->batch_destroy(other);
    WANT_OK(api->adapter_unload(p.pool, m[0].handle, &msg));
    WANT_OK(load(p.pool, "a", 9.0f, &again, &msg));
    WANT(ask(&p, &q, &batch, &msg), OCLORA_STALE_HANDLE);
    close_place(&p);
    api->context_destroy(context);
}

/* A load that fails midway leaves nothing, and the others answer as before. */
static void midway_on(uint32_t device, uint32_t device_class)
{
    static const float one = 1.0f;
    oclora_context_t *context = native_context(api, device, device_class);
    oclora_message msg = {sizeof msg, ""};
    oclora_pool_desc before = {.struct_size = sizeof before}, after = {.struct_size = sizeof after};
    oclora_batch_t *batch = NULL;
    float x[ROWS * D_IN], y[ROWS * D_OUT];
    marked good = {0, 11.0f};
    question q = {0};
    files f;
    place p;
    if (!open_place(&p, context, 2)) return;
    WANT_OK(load(p.pool, "good", good.mark, &good.handle, &msg));
    add_row(&q, &good, &one, 1);
    WANT_OK(ask(&p, &q, &batch, &msg));
    WANT_OK(api->pool_query(p.pool, &before, &msg));
    for (int kind = 0; kind < 4; kind++) {
        const uint32_t nan = 0x7fc00000u;
        oclora_adapter_t made = 77;
        make_files(&f, 2.0f);
        if (kind == 0) f.tensors_bytes -= 4;
        if (kind == 1) memcpy(f.tensors + f.tensors_bytes - 4, &nan, sizeof nan);
        if (kind == 2) f.config[f.config_bytes - 1] = ' ';
        if (kind == 3) memcpy(strstr((char *)f.tensors + 8, "lora_B"), "lora_C", 6);
        CHECK(load_files(p.pool, "bad", &f, &made, &msg) != OCLORA_OK);
        CHECK(made == 77 && msg.text[0] != 0);
        WANT(api->adapter_find(p.pool, "bad", 3, &made, &msg), OCLORA_ADAPTER_NOT_LOADED);
        WANT_OK(api->pool_query(p.pool, &after, &msg));
        CHECK(memcmp(&before, &after, sizeof before) == 0);
        const oclora_linear_args args = layer(&p, &q, batch, x, y);
        WANT_OK(api->linear(&args, &msg));
        CHECK_INT(strangers(&q, y), 0);
    }
    api->batch_destroy(batch);
    close_place(&p);
    api->context_destroy(context);
}

static void test_threads(void)
{
    native_each(api, 0, threads_on);
}
static void test_flight(void)
{
    native_each(api, 1, flight_on);
}
static void test_midway(void)
{
    native_each(api, 0, midway_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"every row by its own adapter, whatever other threads do", test_threads},
        {"neither evicted nor unloaded while in flight", test_flight},
        {"loads that fail midway", test_midway},
    };
    void *library = NULL;
    api = native_open(&library);
    const int status = oclora_test_main("plugin_tenants", tests, sizeof tests / sizeof *tests);
    dlclose(library);
    return status;
}
