/* The table of what lies on the device: found by key and confirmed by bytes, whatever shares a key;
 * beside a plain list. */
#include "host/adapter/pool_blobs.h"

#include "support/harness.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 1500, STEPS = 60000, CONTENTS = 900, BYTES = 24 };

typedef struct fixture {
    oclora_blob_table table;
    uint8_t contents[CONTENTS][BYTES];
    oclora_pool_part parts[PARTS];
    uint32_t content_of[PARTS];
    uint32_t users[CONTENTS]; /* parts attached */
} fixture;

/* Contents c of few keys; every third is a beginning of the one before. */
static oclora_pool_part part_of(fixture *f, uint32_t c)
{
    const uint32_t of = c % 3 == 2 ? c - 1 : c;
    const oclora_pool_part part = {
        .host = f->contents[of], .bytes = c % 3 == 2 ? BYTES / 2 : BYTES, .key = of / 3 % 150};
    return part;
}

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->table.env = *oclora_test_env();
    for (uint32_t c = 0; c < CONTENTS; c++) {
        memset(f->contents[c], (int)(c % 7), BYTES);
        memcpy(f->contents[c], &c, sizeof c);
    }
}

static uint32_t live_blobs(const fixture *f)
{
    uint32_t count = 0;
    for (uint32_t c = 0; c < CONTENTS; c++) count += f->users[c] > 0;
    return count;
}

static void attach(fixture *f, uint32_t i)
{
    oclora_error err = {0};
    const uint32_t c = oclora_test_random() % CONTENTS;
    f->parts[i] = part_of(f, c);
    f->content_of[i] = c;
    oclora_device_blob *blob = oclora_blob_find(&f->table, &f->parts[i]);
    CHECK((blob != NULL) == (f->users[c] > 0));
    if (blob != NULL) {
        CHECK_INT(blob->offset, 1000 + c);
        oclora_blob_attach(blob, &f->parts[i]);
    } else {
        CHECK_OK(oclora_blob_add(&f->table, &f->parts[i], 1000 + c, &err), &err);
    }
    f->users[c]++;
}

static void detach(fixture *f, uint32_t i)
{
    uint64_t offset = 5;
    const uint32_t c = f->content_of[i];
    const bool last = oclora_blob_detach(&f->table, &f->parts[i], &offset);
    f->users[c]--;
    CHECK(last == (f->users[c] == 0) && f->parts[i].blob == NULL);
    CHECK_INT(offset, last ? 1000 + c : 5);
    CHECK(!oclora_blob_detach(&f->table, &f->parts[i], &offset)); /* twice is once */
}

static void test_random(void)
{
    static fixture f;
    open_fixture(&f);
    for (int step = 0; step < STEPS; step++) {
        const uint32_t i = oclora_test_random() % PARTS;
        if (f.parts[i].blob != NULL)
            detach(&f, i);
        else
            attach(&f, i);
        if (step % 500 == 0) CHECK_INT(f.table.n_blobs, live_blobs(&f));
    }
    for (uint32_t i = 0; i < PARTS; i++)
        if (f.parts[i].blob != NULL) detach(&f, i);
    CHECK_INT(f.table.n_blobs, 0);
    CHECK(f.table.n_buckets > 256); /* grew on the way */
    oclora_blob_table_free(&f.table);
    CHECK_INT(oclora_test_live_allocations(), 0);
}

int main(void)
{
    static const oclora_test tests[] = {{"random parts of few keys", test_random}};
    return oclora_test_main("pool_blobs", tests, 1);
}
