/* wave.c - several requests decoded together, one sequence each. */
#include "tools/generate/wave.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct entry {
    int32_t token;
    int32_t pos;
    int32_t seq;
    bool output;
} entry;

typedef struct wave {
    oclora_runtime *runtime;
    oclora_request **rows;
    int32_t count;
    int32_t limit;
    entry *entries;
    int32_t n_entries;
    struct llama_batch batch;
    int32_t capacity; /* tokens the batch holds */
    double start_ms;
} wave;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int64_t launches(const oclora_runtime *runtime)
{
    oclora_ggml_stats stats = {.struct_size = sizeof stats};
    if (!runtime->api || runtime->api->stats(NULL, &stats, NULL) != OCLORA_OK) return 0;
    return (int64_t)stats.launches;
}

static void keep_top(oclora_request *r, const float *logits, int32_t n_vocab, int32_t n_top)
{
    r->n_top = 0;
    for (int32_t i = 0; i < n_vocab; ++i) {
        int32_t at = r->n_top;
        if (at == n_top && logits[i] <= r->top_logits[at - 1]) continue;
        if (at == n_top) --at;
        while (at > 0 && logits[i] > r->top_logits[at - 1]) {
            r->top_logits[at] = r->top_logits[at - 1];
            r->top_ids[at] = r->top_ids[at - 1];
            --at;
        }
        r->top_logits[at] = logits[i];
        r->top_ids[at] = i;
        if (r->n_top < n_top) ++r->n_top;
    }
}

enum { BLOCK = 256 };

/* Integers in the order of the floats. Of these compilers make vectors; a scan float by float takes
 * as long as a layer of the model. */
static int32_t order_of(const float *value)
{
    int32_t bits;
    memcpy(&bits, value, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

/* Raises `*most` to the largest of a block. @return not 0 if one is not finite. */
static int32_t scan_block(const float *values, int32_t *most)
{
    const int32_t largest = 0x7f7fffff; /* finite; its negative is the smallest */
    int32_t high = *most, bad = 0;
    for (int32_t i = 0; i < BLOCK; ++i) {
        const int32_t order = order_of(values + i);
        high = order > high ? order : high;
        bad |= (order > largest) | (order < ~largest);
    }
    *most = high;
    return bad;
}

/* The largest logit; the smaller id on a tie; -1 if any is not finite. */
static int32_t best(const float *logits, int32_t n_vocab)
{
    float last[BLOCK];
    int32_t most = INT32_MIN, i = 0;
    for (; i + BLOCK <= n_vocab; i += BLOCK)
        if (scan_block(logits + i, &most)) return -1;
    for (int32_t k = 0; k < BLOCK; ++k) last[k] = logits[i + k < n_vocab ? i + k : n_vocab - 1];
    if (scan_block(last, &most)) return -1;
    for (i = 0; order_of(logits + i) != most;) ++i;
    return i;
}

/* Takes one row of logits: the next token of `r`. */
static void take(const wave *w, oclora_request *r, const float *logits)
{
    const oclora_runtime *rt = w->runtime;
    int32_t id = logits ? best(logits, rt->n_vocab) : -1;
    if (id < 0) {
        oclora_request_fail(r, "OCLORA_NOT_FINITE: the logits of token %d are not finite",
                            (int)r->n_ids);
        r->done = true;
        return;
    }
    if (r->n_ids == 0) keep_top(r, logits, rt->n_vocab, rt->options->top);
    if (r->logits && !w->limit &&
        fwrite(logits, sizeof *logits, (size_t)rt->n_vocab, r->logits) != (size_t)rt->n_vocab) {
        oclora_request_fail(r, "its logits could not be written");
    }
    r->ids[r->n_ids] = id;
    r->next = r->golden ? r->golden[r->n_ids] : id;
    ++r->n_ids;
    bool ends = !r->golden && !rt->options->ignore_eos &&
                llama_vocab_is_eog(llama_model_get_vocab(rt->model), id);
    r->done = ends || r->n_ids == r->n_max || r->n_ids == w->limit;
    if (r->done) r->ms = now_ms() - w->start_ms;
}

static void fail_all(const wave *w, int32_t code)
{
    char text[OCLORA_ERROR_MAX - 64];
    const oclora_ggml_api *api = w->runtime->api;
    oclora_ggml_message message = {.struct_size = sizeof message};
    oclora_status status = api ? api->last_error(NULL, &message) : OCLORA_OK;
    if (status != OCLORA_OK) {
        snprintf(text, sizeof text, "%s: %s", api->status_name(status), message.text);
    } else {
        snprintf(text, sizeof text, "llama_decode returned %d: %s", (int)code,
                 oclora_runtime_last_log());
    }
    for (int32_t i = 0; i < w->count; ++i) {
        if (!w->rows[i]->done) oclora_request_fail(w->rows[i], "%s", text);
        w->rows[i]->done = true;
    }
}

/* Sends the entries in pieces the context takes, and hands each row its logits. */
static bool send(wave *w, int64_t *calls)
{
    for (int32_t begin = 0; begin < w->n_entries; begin += w->capacity) {
        int32_t n = w->n_entries - begin < w->capacity ? w->n_entries - begin : w->capacity;
        const entry *part = w->entries + begin;
        for (int32_t i = 0; i < n; ++i) {
            w->batch.token[i] = part[i].token;
            w->batch.pos[i] = part[i].pos;
            w->batch.n_seq_id[i] = 1;
            w->batch.seq_id[i][0] = part[i].seq;
            w->batch.logits[i] = part[i].output;
        }
        w->batch.n_tokens = n;
        oclora_runtime_forget_log();
        int32_t code = llama_decode(w->runtime->context, w->batch);
        ++*calls;
        if (code != 0) {
            fail_all(w, code);
            return false;
        }
        for (int32_t i = 0; i < n; ++i) {
            oclora_request *r = w->rows[part[i].seq];
            if (part[i].output) take(w, r, llama_get_logits_ith(w->runtime->context, i));
        }
    }
    return true;
}

static void add_entry(wave *w, int32_t token, int32_t pos, int32_t seq, bool output)
{
    w->entries[w->n_entries++] = (entry){token, pos, seq, output};
}

static void add_prompts(wave *w)
{
    int32_t longest = 0;
    for (int32_t i = 0; i < w->count; ++i) {
        if (w->rows[i]->n_prompt > longest) longest = w->rows[i]->n_prompt;
    }
    bool reversed = w->runtime->options->order == OCLORA_ORDER_REVERSED;
    bool interleaved = w->runtime->options->order == OCLORA_ORDER_INTERLEAVED;
    int32_t outer = interleaved ? longest : w->count;
    int32_t inner = interleaved ? w->count : longest;
    for (int32_t a = 0; a < outer; ++a) {
        for (int32_t b = 0; b < inner; ++b) {
            int32_t seq = interleaved ? b : reversed ? w->count - 1 - a : a;
            int32_t pos = interleaved ? a : b;
            const oclora_request *r = w->rows[seq];
            if (pos < r->n_prompt) {
                add_entry(w, r->prompt[pos], pos, seq, pos + 1 == r->n_prompt);
            }
        }
    }
}

static void add_step(wave *w, int32_t seq)
{
    oclora_request *r = w->rows[seq];
    if (r->pos >= w->runtime->n_ctx_seq) return;
    add_entry(w, r->next, r->pos, seq, !r->done);
    ++r->pos;
}

/* One token for every unfinished row. llama.cpp decodes only neighbouring sequences in one graph,
 * so a finished row between two unfinished ones goes on with its last token; its logits are not
 * read. */
static bool add_steps(wave *w)
{
    int32_t low = 0, high = w->count - 1;
    while (low <= high && w->rows[low]->done) ++low;
    while (high >= low && w->rows[high]->done) --high;
    int32_t n = high - low + 1;
    w->n_entries = 0;
    for (int32_t i = 0; i < n; ++i) {
        int32_t seq = low + i;
        if (w->runtime->options->order == OCLORA_ORDER_REVERSED) seq = high - i;
        if (w->runtime->options->order == OCLORA_ORDER_INTERLEAVED) {
            seq = low + (i < (n + 1) / 2 ? 2 * i : 2 * (i - (n + 1) / 2) + 1);
        }
        add_step(w, seq);
    }
    return n > 0;
}

static void run(wave *w, oclora_timing *timing)
{
    int64_t calls = 0, before = launches(w->runtime);
    double start = now_ms();
    add_prompts(w);
    timing->prompt_tokens += w->n_entries;
    if (!send(w, &calls)) return;
    timing->prompt_ms += now_ms() - start;
    int64_t middle = launches(w->runtime);
    timing->prompt_launches += middle - before;
    for (int32_t i = 0; i < w->count; ++i) {
        w->rows[i]->pos = w->rows[i]->n_prompt;
        timing->new_tokens -= w->rows[i]->n_ids;
    }
    start = now_ms();
    while (add_steps(w) && send(w, &timing->steps)) {
    }
    timing->decode_ms += now_ms() - start;
    timing->decode_launches += launches(w->runtime) - middle;
    for (int32_t i = 0; i < w->count; ++i) timing->new_tokens += w->rows[i]->n_ids;
}

void oclora_wave_decode(oclora_runtime *runtime, oclora_request **rows, int32_t count,
                        int32_t limit, oclora_timing *timing)
{
    wave w = {
        .runtime = runtime, .rows = rows, .count = count, .limit = limit, .start_ms = now_ms()};
    size_t total = (size_t)count;
    for (int32_t i = 0; i < count; ++i) {
        total += (size_t)rows[i]->n_prompt;
        rows[i]->n_ids = 0;
        rows[i]->pos = 0;
        rows[i]->done = false;
    }
    w.capacity = (int32_t)llama_n_batch(runtime->context);
    w.batch = llama_batch_init(w.capacity, 0, 1);
    w.entries = malloc(total * sizeof *w.entries);
    ++timing->waves;
    if (w.entries && w.batch.token) {
        llama_memory_clear(llama_get_memory(runtime->context), false);
        run(&w, timing);
    } else {
        for (int32_t i = 0; i < count; ++i) oclora_request_fail(rows[i], "out of memory");
    }
    free(w.entries);
    llama_batch_free(w.batch);
}
