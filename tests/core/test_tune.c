/* The tuning table and what may override it: order of lookup, limits, records that were damaged or
 * written by somebody else, the environment. */
#include "host/core/cache.h"
#include "host/core/tune.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const oclora_device radeon = {.name = "gfx1030",
                                     .vendor = "Advanced Micro Devices, Inc.",
                                     .platform = "AMD Accelerated Parallel Processing",
                                     .driver = "3590.0",
                                     .architecture = "gfx1030",
                                     .type = OCLORA_DEVICE_GPU,
                                     .device_class = OCLORA_CLASS_GPU};

enum { WIDTH = OCLORA_TUNE_ROW_WIDTH, SPAN = OCLORA_TUNE_ROW_SPAN };

static uint32_t found(const oclora_tune_row *rows, const oclora_device *device)
{
    const oclora_tune_row *row = oclora_tune_find(rows, device, OCLORA_CLASS_GPU, WIDTH);
    return row ? row->value : 0;
}

static void test_order(void)
{
    static const oclora_tune_row rows[] = {
        {OCLORA_CLASS_GPU, "amd", "", "gfx1030", WIDTH, 5, "device, however its row is placed"},
        {OCLORA_CLASS_GPU, "", "", "", WIDTH, 1, "default"},
        {OCLORA_CLASS_GPU, "amd", "gfx10", "", WIDTH, 3, "architecture"},
        {OCLORA_CLASS_GPU, "amd", "", "", WIDTH, 2, "vendor"},
        {OCLORA_CLASS_GPU, "nvidia", "", "", WIDTH, 9, "another vendor"},
        {OCLORA_CLASS_CPU, "amd", "gfx1030", "", WIDTH, 8, "another class"},
        {OCLORA_CLASS_GPU, "amd", "gfx1030", "gfx1030", SPAN, 7, "another parameter"},
        {0, "", "", "", 0, 0, NULL}};
    oclora_device device = radeon;
    CHECK_INT(found(rows, &device), 5);
    strcpy(device.name, "gfx1010:xnack-");
    CHECK_INT(found(rows, &device), 3);
    strcpy(device.architecture, "gfx906");
    CHECK_INT(found(rows, &device), 2);
    strcpy(device.vendor, "Imagination");
    CHECK_INT(found(rows, &device), 1);
    CHECK_INT(found(rows + 7, &device), 0);
}

static void test_vendors(void)
{
    static const struct {
        const char *vendor, *platform, *name;
        uint32_t type;
    } of[] = {{"Advanced Micro Devices, Inc.", "AMD", "amd", OCLORA_DEVICE_GPU},
              {"AMD", "rusticl", "amd", OCLORA_DEVICE_GPU},
              {"NVIDIA Corporation", "NVIDIA CUDA", "nvidia", OCLORA_DEVICE_GPU},
              {"Intel(R) Corporation", "Intel(R) OpenCL Graphics", "intel", OCLORA_DEVICE_GPU},
              {"Intel(R) Corporation", "Intel(R) OpenCL", "intel-cpu", OCLORA_DEVICE_CPU},
              {"AuthenticAMD", "Portable Computing Language", "pocl", OCLORA_DEVICE_CPU},
              {"someone", "something", "", OCLORA_DEVICE_CPU}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        oclora_device device = {.type = of[i].type};
        strcpy(device.vendor, of[i].vendor);
        strcpy(device.platform, of[i].platform);
        CHECK(!strcmp(oclora_tune_vendor(&device), of[i].name));
    }
}

/* Every parameter has a default in each of its classes, every row is allowed, and no two rows speak
 * of the same. */
static void test_every_row_is_whole(void)
{
    const oclora_device nothing = {.type = OCLORA_DEVICE_GPU};
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        for (uint32_t c = OCLORA_CLASS_CPU; c <= OCLORA_CLASS_GPU; c++)
            CHECK_INT(oclora_tune_find(oclora_tune_rows, &nothing, c, i) != NULL,
                      oclora_tune_infos[i].classes >> c & 1);
    for (const oclora_tune_row *row = oclora_tune_rows; row->why; row++) {
        CHECK(oclora_tune_valid(row->device_class, row->param, row->value));
        CHECK(row->why[0] != '\0');
        CHECK(row->vendor[0] || !row->architecture[0] || !strncmp(row->architecture, "simd", 4));
        CHECK(row->device_class == OCLORA_CLASS_CPU || strstr(row->why, "predicted"));
        for (const oclora_tune_row *other = oclora_tune_rows; other < row; other++)
            CHECK(row->param != other->param || row->device_class != other->device_class ||
                  strcmp(row->vendor, other->vendor) ||
                  strcmp(row->architecture, other->architecture) ||
                  strcmp(row->device, other->device));
    }
}

static void test_limits(void)
{
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++) {
        const oclora_tune_info *info = &oclora_tune_infos[i];
        const uint32_t c = info->classes & OCLORA_TUNE_CPU ? OCLORA_CLASS_CPU : OCLORA_CLASS_GPU;
        CHECK(oclora_tune_valid(c, i, info->least) && oclora_tune_valid(c, i, info->most));
        CHECK(!oclora_tune_valid(c, i, info->least - info->multiple));
        CHECK(!oclora_tune_valid(c, i, info->most + info->multiple));
        CHECK(info->multiple == 1 || !oclora_tune_valid(c, i, info->least + 1));
        CHECK_INT(oclora_tune_of_name(info->name, strlen(info->name)), i);
    }
    CHECK(!oclora_tune_valid(OCLORA_CLASS_CPU, OCLORA_TUNE_COUNT, 1));
    CHECK(!oclora_tune_valid(OCLORA_CLASS_AUTO, SPAN, 1024));
    CHECK(!oclora_tune_valid(OCLORA_CLASS_GPU, SPAN, 1024));
    CHECK_INT(oclora_tune_of_name("row_spa", 7), OCLORA_TUNE_COUNT);
}

static bool parses(const char *text)
{
    oclora_tune_record record;
    const bool ok = oclora_tune_record_parse(&record, text, strlen(text));
    uint32_t sum = 0;
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        sum |= record.values[OCLORA_CLASS_CPU][i] | record.values[OCLORA_CLASS_GPU][i];
    CHECK(ok || sum == 0);
    return ok;
}

#define HEAD "oclora-tuning 1\n"
static void test_text(void)
{
    static const char *const bad[] = {"",
                                      "oclora-tuning 2\n",
                                      HEAD "cpu row_span 512",
                                      HEAD "cpu row_span 0512x\n",
                                      HEAD "cpu row_span -512\n",
                                      HEAD "cpu row_span 4294967808\n",
                                      HEAD "cpu row_span 99999999999999999999\n",
                                      HEAD "cpu row_span 500\n",
                                      HEAD "cpu row_span \n",
                                      HEAD "cpu row_span  512\n",
                                      HEAD "cpu row_span 512 \n",
                                      HEAD "cpu row_span 512\ncpu row_span 512\n",
                                      HEAD "gpu row_span 512\n",
                                      HEAD "auto row_span 512\n",
                                      HEAD "cpu slices 4\n",
                                      HEAD "cpu row_span 512\n\n",
                                      HEAD "cpu\n",
                                      HEAD "../../etc/passwd 1 1\n"};
    CHECK(parses(HEAD));
    CHECK(parses(HEAD "cpu row_span 512\ngpu row_width 128\ncpu chunk_rows 8\n"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!CHECK(!parses(bad[i]))) printf("accepted: %s\n", bad[i]);
    static const char zeros[] = HEAD "cpu row_span 51\0\n";
    oclora_tune_record record;
    CHECK(!oclora_tune_record_parse(&record, zeros, sizeof zeros - 1));
    /* Whatever a text holds, nothing but allowed values comes out. */
    for (int n = 0; n < 20000; n++) {
        char text[] = HEAD "cpu row_span 512\ngpu row_width 128\n";
        text[oclora_test_random() % (sizeof text - 1)] = (char)oclora_test_random();
        (void)oclora_tune_record_parse(&record, text, oclora_test_random() % sizeof text);
        for (uint32_t c = OCLORA_CLASS_CPU; c <= OCLORA_CLASS_GPU; c++)
            for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
                if (record.values[c][i]) CHECK(oclora_tune_valid(c, i, record.values[c][i]));
    }
}

typedef struct folder {
    char path[64], file[512];
} folder;

/* The one file of the folder is the record. */
static bool find_file(folder *f)
{
    char command[128];
    snprintf(command, sizeof command, "ls %s/*.bin", f->path);
    FILE *list = popen(command, "r");
    const bool ok = list && fgets(f->file, sizeof f->file, list);
    if (list) pclose(list);
    f->file[strcspn(f->file, "\n")] = '\0';
    return ok;
}

static void write_byte(const folder *f, long at, int value)
{
    FILE *file = fopen(f->file, "r+b");
    if (!CHECK(file != NULL)) return;
    CHECK(fseek(file, at, SEEK_SET) == 0 && fputc(value, file) != EOF);
    fclose(file);
}

static void load(oclora_tuning *out, const char *dir, const oclora_device *device)
{
    oclora_env quiet = *oclora_test_env();
    quiet.log = NULL;
    oclora_tuning_load(out, &quiet, dir, device, device->device_class);
}

static void test_record(void)
{
    folder f = {"/tmp/oclora-tune-XXXXXX", ""};
    oclora_tune_record record = {{{0}}}, back;
    oclora_tuning tuning;
    if (!CHECK(mkdtemp(f.path) != NULL)) return;
    load(&tuning, f.path, &radeon);
    CHECK_INT(tuning.values[WIDTH], 64);
    CHECK_INT(tuning.values[SPAN], 0);
    record.values[OCLORA_CLASS_GPU][WIDTH] = 192;
    record.values[OCLORA_CLASS_CPU][SPAN] = 512;
    CHECK(oclora_tune_record_store(&record, oclora_test_env(), f.path, &radeon));
    CHECK_INT(oclora_tune_record_load(&back, oclora_test_env(), f.path, &radeon), OCLORA_TUNE_READ);
    CHECK(!memcmp(&back, &record, sizeof back));
    load(&tuning, f.path, &radeon);
    CHECK_INT(tuning.values[WIDTH], 192);
    CHECK_INT(tuning.sources[WIDTH], OCLORA_TUNE_FROM_CACHE);
    CHECK_INT(tuning.values[SPAN], 0); /* of the other class */
    CHECK_INT(tuning.sources[OCLORA_TUNE_CHUNK_ROWS], OCLORA_TUNE_FROM_TABLE);

    oclora_device updated = radeon;
    strcpy(updated.driver, "3602.0");
    load(&tuning, f.path, &updated);
    CHECK_INT(tuning.values[WIDTH], 64);

    /* Its bytes changed, or another device's file put in its place. */
    if (CHECK(find_file(&f))) {
        write_byte(&f, 120, 'x');
        CHECK_INT(oclora_tune_record_load(&back, oclora_test_env(), f.path, &radeon),
                  OCLORA_TUNE_REFUSED);
        load(&tuning, f.path, &radeon);
        CHECK_INT(tuning.values[WIDTH], 64);
        char own[512], command[1100];
        strcpy(own, f.file);
        unlink(own);
        CHECK(oclora_tune_record_store(&record, oclora_test_env(), f.path, &updated));
        if (CHECK(find_file(&f))) {
            snprintf(command, sizeof command, "mv %s %s", f.file, own);
            CHECK_INT(system(command), 0);
            CHECK_INT(oclora_tune_record_load(&back, oclora_test_env(), f.path, &radeon),
                      OCLORA_TUNE_REFUSED);
        }
        unlink(own);
    }
    rmdir(f.path);
}

/* Somebody who can write the folder can make the sum right, too: the values are checked all the
 * same. */
static void test_hostile_record(void)
{
    char dir[] = "/tmp/oclora-tune-XXXXXX", command[64];
    oclora_tune_record record = {{{0}}}, back;
    oclora_tuning tuning;
    if (!CHECK(mkdtemp(dir) != NULL)) return;
    static const uint32_t values[] = {0xffffffffu, 1, 100, 4000000};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        record.values[OCLORA_CLASS_GPU][WIDTH] = values[i];
        record.values[OCLORA_CLASS_GPU][OCLORA_TUNE_CHUNK_ROWS] = 8;
        CHECK(oclora_tune_record_store(&record, oclora_test_env(), dir, &radeon));
        CHECK_INT(oclora_tune_record_load(&back, oclora_test_env(), dir, &radeon),
                  OCLORA_TUNE_REFUSED);
        load(&tuning, dir, &radeon);
        CHECK_INT(tuning.values[WIDTH], 64);
        CHECK_INT(tuning.values[OCLORA_TUNE_CHUNK_ROWS], 16);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    CHECK_INT(system(command), 0);
}

static void test_environment(void)
{
    static const char *const bad[] = {"row_width",          "row_width=",    "row_width=1",
                                      "row_width=96;",      "row_span=512",  "nothing=1",
                                      "row_width=96,bad=1", ",row_width=96", "row_width=96 "};
    oclora_tuning tuning;
    setenv("OCLORA_TUNE", "row_width=96,chunk_rows=8", 1);
    load(&tuning, NULL, &radeon);
    CHECK_INT(tuning.values[WIDTH], 96);
    CHECK_INT(tuning.values[OCLORA_TUNE_CHUNK_ROWS], 8);
    CHECK_INT(tuning.sources[WIDTH], OCLORA_TUNE_FROM_ENVIRONMENT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("OCLORA_TUNE", bad[i], 1);
        load(&tuning, NULL, &radeon);
        CHECK_INT(tuning.values[WIDTH], 64);
    }
    unsetenv("OCLORA_TUNE");
}

static void tune_on(const oclora_test_device *test)
{
    oclora_error err = {0};
    const uint32_t was = oclora_context_tuned(test->context, OCLORA_TUNE_CHUNK_ROWS);
    CHECK(was >= 4);
    CHECK_OK(oclora_context_tune(test->context, OCLORA_TUNE_CHUNK_ROWS, 8, &err), &err);
    CHECK_INT(oclora_context_tuned(test->context, OCLORA_TUNE_CHUNK_ROWS), 8);
    CHECK_STATUS(oclora_context_tune(test->context, OCLORA_TUNE_CHUNK_ROWS, 0, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK_INT(oclora_context_tuned(test->context, OCLORA_TUNE_CHUNK_ROWS), 8);
    for (uint32_t i = 0; i < OCLORA_TUNE_COUNT; i++)
        CHECK_INT(oclora_context_tuned(test->context, (oclora_tune_param)i) != 0,
                  oclora_tune_infos[i].classes >> test->device_class & 1);
}

static void test_contexts(void)
{
    oclora_test_each_device(OCLORA_TEST_BOTH_CLASSES, tune_on);
}

int main(void)
{
    static const oclora_test tests[] = {{"order of lookup", test_order},
                                        {"vendors", test_vendors},
                                        {"every row is whole", test_every_row_is_whole},
                                        {"limits", test_limits},
                                        {"text of a record", test_text},
                                        {"record", test_record},
                                        {"hostile record", test_hostile_record},
                                        {"environment", test_environment},
                                        {"contexts", test_contexts}};
    return oclora_test_main("core_tune", tests, sizeof tests / sizeof tests[0]);
}
