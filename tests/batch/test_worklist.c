#include "host/batch/batch.h"
#include "support/harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 70, MAX_ENTRIES = 4 };

static uint32_t starts[MAX_ROWS + 1], adapters[MAX_ROWS * MAX_ENTRIES];
static float weights[MAX_ROWS * MAX_ENTRIES];
static uint32_t instances[MAX_ROWS];

static oclora_batch random_batch(uint32_t n_rows, uint32_t n_adapters)
{
    uint32_t n = 0;
    for (uint32_t row = 0; row < n_rows; row++) {
        starts[row] = n;
        instances[row] = 7 * (oclora_test_random() % 4);
        for (uint32_t e = oclora_test_random() % (MAX_ENTRIES + 1); e; e--) {
            adapters[n] = oclora_test_random() % n_adapters;
            weights[n++] = oclora_test_random() % 4 ? oclora_test_uniform() : 0.0f;
        }
    }
    starts[n_rows] = n;
    oclora_batch batch = {n_rows, n_adapters, starts, adapters, weights, NULL};
    if (oclora_test_random() % 2) batch.instance = instances;
    return batch;
}

/* The kept entries of `row`, in order; compared with slot (chunk, i). */
static bool slot_is_row(const oclora_worklist *list, const oclora_chunk *chunk, uint32_t i,
                        const oclora_batch *batch, uint32_t row)
{
    uint32_t e = 0;
    for (uint32_t at = batch->row_start[row]; at < batch->row_start[row + 1]; at++) {
        if (batch->weight[at] == 0.0f) continue;
        if (e >= chunk->n_entries || list->entries[chunk->entry_first + e] != batch->adapter[at] ||
            list->weights[chunk->hidden_first + i * chunk->n_entries + e] != batch->weight[at])
            return false;
        e++;
    }
    return e && e == chunk->n_entries;
}

static bool has_entries(const oclora_batch *batch, uint32_t row)
{
    for (uint32_t at = batch->row_start[row]; at < batch->row_start[row + 1]; at++)
        if (batch->weight[at] != 0.0f) return true;
    return false;
}

static void check_list(const oclora_worklist *list, const oclora_batch *batch, uint32_t chunk_rows)
{
    uint32_t seen[MAX_ROWS] = {0}, hidden = 0, position = 0, entry = 0;
    for (uint32_t c = 0; c < list->n_chunks; c++) {
        const oclora_chunk *chunk = &list->chunks[c];
        CHECK_INT(chunk->row_first, position);
        CHECK_INT(chunk->hidden_first, hidden);
        CHECK_INT(chunk->entry_first, entry);
        CHECK(chunk->n_rows >= 1 && chunk->n_rows <= chunk_rows && chunk->n_entries >= 1);
        for (uint32_t i = 0; i < chunk->n_rows; i++) {
            uint32_t row = list->rows[chunk->row_first + i];
            CHECK(row < batch->n_rows && slot_is_row(list, chunk, i, batch, row));
            seen[row]++;
        }
        position += chunk->n_rows;
        hidden += chunk->n_rows * chunk->n_entries;
        entry += chunk->n_entries;
    }
    CHECK_INT(list->n_positions, position);
    CHECK_INT(list->n_hidden, hidden);
    CHECK_INT(list->n_entries, entry);
    for (uint32_t row = 0; row < batch->n_rows; row++)
        CHECK_INT(seen[row], has_entries(batch, row) ? 1 : 0);
}

/* The rows of one instance and one tuple, in row order: what a position's peers must be. */
static void check_peers(const oclora_worklist *list, const oclora_batch *batch)
{
    CHECK((list->peers != NULL) == (batch->instance != NULL));
    if (list->peers == NULL) return;
    uint32_t slot_row[MAX_ROWS * MAX_ENTRIES], chunk_of[MAX_ROWS];
    for (uint32_t c = 0; c < list->n_chunks; c++) {
        const oclora_chunk *chunk = &list->chunks[c];
        for (uint32_t i = 0; i < chunk->n_rows; i++) chunk_of[chunk->row_first + i] = c;
        for (uint32_t i = 0; i < chunk->n_rows * chunk->n_entries; i++)
            slot_row[chunk->hidden_first + i] = list->rows[chunk->row_first + i / chunk->n_entries];
    }
    for (uint32_t p = 0; p < list->n_positions; p++) {
        const oclora_chunk *own = &list->chunks[chunk_of[p]];
        uint32_t n = 0;
        for (uint32_t q = 0; q < list->n_positions; q++) {
            const oclora_chunk *other = &list->chunks[chunk_of[q]];
            if (instances[list->rows[q]] != instances[list->rows[p]] ||
                other->n_entries != own->n_entries ||
                memcmp(list->entries + other->entry_first, list->entries + own->entry_first,
                       own->n_entries * sizeof *list->entries) != 0)
                continue;
            const uint32_t slot = list->peers[p].hidden_first + n++ * own->n_entries;
            CHECK(slot < list->n_hidden && slot_row[slot] == list->rows[q]);
        }
        CHECK_INT(list->peers[p].count, n);
    }
}

static void test_random(void)
{
    for (int i = 0; i < 300; i++) {
        uint32_t chunk_rows = 1 + oclora_test_random() % 9;
        oclora_batch batch =
            random_batch(oclora_test_random() % (MAX_ROWS + 1), 1 + oclora_test_random() % 5);
        oclora_worklist list;
        memset(&list, 0, sizeof list);
        oclora_error err = {0, ""};
        CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), &batch, chunk_rows, &err), &err);
        check_list(&list, &batch, chunk_rows);
        check_peers(&list, &batch);
        oclora_worklist_free(&list);
    }
    CHECK_INT(oclora_test_live_allocations(), 0);
}

/* Rows of one adapter, scattered, end up in as few chunks as their number needs. */
static void test_chunks(void)
{
    oclora_worklist list;
    oclora_error err = {0, ""};
    for (uint32_t row = 0; row < 40; row++) {
        starts[row] = row;
        adapters[row] = row % 3;
        weights[row] = 1.0f;
    }
    starts[40] = 40;
    oclora_batch batch = {40, 3, starts, adapters, weights, NULL};
    CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), &batch, 8, &err), &err);
    CHECK_INT(list.n_chunks, 6); /* 14, 13 and 13 rows */
    for (uint32_t c = 0; c + 1 < list.n_chunks; c++)
        CHECK(list.entries[list.chunks[c].entry_first] <=
              list.entries[list.chunks[c + 1].entry_first]);
    oclora_worklist_free(&list);
    oclora_worklist_free(&list);
}

/* Chunks of one tuple are about as long as each other, in whole fours but for the last. */
static void test_chunk_lengths(void)
{
    static const uint32_t rows[] = {33, 32, 40, 65, 1, 70};
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (uint32_t chunk_rows = 1; chunk_rows <= 33; chunk_rows++) {
            oclora_worklist list;
            oclora_error err = {0, ""};
            uint32_t least = rows[i], most = 0;
            for (uint32_t row = 0; row < rows[i]; row++) {
                starts[row] = row;
                adapters[row] = 0;
                weights[row] = 1.0f;
            }
            starts[rows[i]] = rows[i];
            oclora_batch batch = {rows[i], 1, starts, adapters, weights, NULL};
            CHECK_OK(oclora_worklist_build(&list, oclora_test_env(), &batch, chunk_rows, &err),
                     &err);
            CHECK_INT(list.n_chunks, (rows[i] + chunk_rows - 1) / chunk_rows);
            for (uint32_t c = 0; c < list.n_chunks; c++) {
                const uint32_t n = list.chunks[c].n_rows;
                if (chunk_rows % 4 == 0 && c + 1 < list.n_chunks) CHECK_INT(n % 4, 0);
                if (n < least) least = n;
                if (n > most) most = n;
            }
            CHECK(most <= chunk_rows && most - least < (chunk_rows % 4 ? 2u : 8u));
            oclora_worklist_free(&list);
        }
}

static void test_refusals(void)
{
    uint32_t start[3] = {0, 1, 2}, adapter[2] = {0, 1};
    float weight[2] = {1.0f, 1.0f};
    oclora_batch batch = {2, 2, start, adapter, weight, NULL};
    oclora_worklist list;
    oclora_error err = {0, ""};
    CHECK_STATUS(oclora_worklist_build(&list, oclora_test_env(), &batch, 0, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    adapter[1] = 2;
    CHECK_STATUS(oclora_worklist_build(&list, oclora_test_env(), &batch, 4, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_CONTAINS(err.text, "row 1 names adapter 2");
    adapter[1] = 1;
    weight[1] = (float)NAN;
    CHECK_STATUS(oclora_worklist_build(&list, oclora_test_env(), &batch, 4, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    weight[1] = 1.0f;
    start[1] = 3;
    CHECK_STATUS(oclora_worklist_build(&list, oclora_test_env(), &batch, 4, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_CONTAINS(err.text, "row 0");
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"random", test_random},
                                        {"chunks", test_chunks},
                                        {"chunk_lengths", test_chunk_lengths},
                                        {"refusals", test_refusals}};
    return oclora_test_main("batch_worklist", tests, sizeof tests / sizeof tests[0]);
}
