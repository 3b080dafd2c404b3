/* Quirks: version ranges, matching, lifting, the record's file, and what a context makes of them.
 */
#include "host/core/quirks.h"
#include "support/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const oclora_device adreno = {.name = "QUALCOMM Adreno(TM) 730",
                                     .vendor = "QUALCOMM",
                                     .platform = "QUALCOMM Snapdragon(TM)",
                                     .driver = "OpenCL 3.0 QUALCOMM build: Compiler E031.38.11.14",
                                     .type = OCLORA_DEVICE_GPU};

static const oclora_quirk *find(const char *id)
{
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id; quirk++)
        if (!strcmp(quirk->id, id)) return quirk;
    CHECK_CONTAINS("no such quirk", id);
    return oclora_quirks;
}

static void test_versions(void)
{
    CHECK(oclora_driver_compare("E031.38.11", "E031.45") < 0);
    CHECK(oclora_driver_compare("E031.38.11", "E031.38") > 0);
    CHECK(oclora_driver_compare("440.64", "440.64") == 0);
    CHECK(oclora_driver_compare("440.118.02", "440.64") > 0);
    CHECK(oclora_driver_compare("", "1") < 0);
    CHECK(oclora_driver_compare("", "none") == 0);
}

static void test_matching(void)
{
    oclora_device device = adreno;
    CHECK(oclora_quirk_matches(find("adreno-q6k-matmul"), &device));
    CHECK(oclora_quirk_matches(find("adreno-730-gqa"), &device));
    CHECK(!oclora_quirk_matches(find("adreno-850-attention"), &device));
    CHECK(!oclora_quirk_matches(find("adreno-subgroup-build"), &device));
    CHECK(!oclora_quirk_matches(find("nvidia-440"), &device));
    strcpy(device.driver, "OpenCL 3.0 QUALCOMM build: Compiler E031.45.02");
    CHECK(!oclora_quirk_matches(find("adreno-q6k-matmul"), &device));
    const oclora_device old_nvidia = {
        .platform = "NVIDIA CUDA", .vendor = "NVIDIA Corporation", .driver = "440.33.01"};
    const oclora_device new_nvidia = {
        .platform = "NVIDIA CUDA", .vendor = "NVIDIA Corporation", .driver = "580.65.06"};
    CHECK(oclora_quirk_matches(find("nvidia-440"), &old_nvidia));
    CHECK(!oclora_quirk_matches(find("nvidia-440"), &new_nvidia));
}

static void test_covering(void)
{
    CHECK(oclora_quirk_covers("norm", "norm", "-DX=1"));
    CHECK(!oclora_quirk_covers("norm", "normal", ""));
    CHECK(!oclora_quirk_covers("normal", "norm", ""));
    CHECK(oclora_quirk_covers("matmul_plain:A_TYPE=1", "matmul_plain", "-DNT=4 -DA_TYPE=1"));
    CHECK(!oclora_quirk_covers("matmul_plain:A_TYPE=1", "matmul_plain", "-DA_TYPE=10 -DNT=4"));
    CHECK(!oclora_quirk_covers("matmul_panel:TYPE=1", "matmul_panel", "-DA_TYPE=1"));
}

static void test_ignoring(void)
{
    CHECK(!oclora_quirk_ignored(NULL, "nvidia-440"));
    CHECK(!oclora_quirk_ignored("", "nvidia-440"));
    CHECK(!oclora_quirk_ignored("0", "nvidia-440"));
    CHECK(oclora_quirk_ignored("1", "nvidia-440"));
    CHECK(oclora_quirk_ignored("1", "")); /* all of them */
    CHECK(oclora_quirk_ignored("beignet,nvidia-440", "nvidia-440"));
    CHECK(!oclora_quirk_ignored("beignet", "nvidia-440"));
    CHECK(!oclora_quirk_ignored("neo-4gib-hd", "neo-4gib"));
    CHECK(!oclora_quirk_ignored("beignet", ""));
}

static void test_every_entry_is_whole(void)
{
    for (const oclora_quirk *quirk = oclora_quirks; quirk->id; quirk++) {
        bool named = quirk->platform && quirk->vendor && quirk->device && quirk->driver_from &&
                     quirk->driver_to && quirk->subject && quirk->citation && quirk->retest;
        CHECK(named);
        if (!named) continue;
        CHECK(quirk->citation[0] != '\0');
        CHECK(strlen(quirk->citation) < 160); /* an error's text holds it whole */
        CHECK(quirk->platform[0] || quirk->vendor[0]);
        CHECK(!strncmp(quirk->retest, "probe ", 6) || !strncmp(quirk->retest, "kernel ", 7) ||
              !strncmp(quirk->retest, "by hand: ", 9) || !strcmp(quirk->retest, "device"));
        if (quirk->effect == OCLORA_QUIRK_FEATURE)
            CHECK(oclora_feature_of_name(quirk->subject) != 0);
        if (quirk->effect == OCLORA_QUIRK_ALLOC) CHECK(quirk->limit > 0);
    }
}

static void remove_record(const char *dir, const oclora_device *device)
{
    char path[400];
    oclora_cache_key key;
    if (oclora_record_key(device, &key) && oclora_cache_path(dir, &key, path, sizeof path))
        unlink(path);
    rmdir(dir);
}

static void test_record(void)
{
    char dir[] = "/tmp/oclora-record-XXXXXX";
    oclora_error err = {0};
    oclora_record record;
    if (!CHECK_INT(mkdtemp(dir) != NULL, 1)) return;
    oclora_record_load(&record, oclora_test_env(), dir, &adreno);
    CHECK_INT(record.count, 0);
    CHECK_INT(oclora_record_find(&record, "gpu", "attention"), -1);
    CHECK(!oclora_quirk_lifted(find("adreno-730-gqa"), &record, OCLORA_CLASS_GPU));
    CHECK_OK(oclora_record_set(&record, "gpu", "attention", false, &err), &err);
    CHECK_OK(oclora_record_set(&record, "gpu", "attention", true, &err), &err);
    CHECK_OK(oclora_record_set(&record, "gpu", "matmul_plain", false, &err), &err);
    CHECK_STATUS(oclora_record_set(&record, "accelerator", "x", true, &err),
                 OCLORA_INVALID_ARGUMENT, &err);
    CHECK(oclora_record_store(&record, dir, &adreno));
    oclora_record_free(&record);

    oclora_record_load(&record, oclora_test_env(), dir, &adreno);
    CHECK_INT(record.count, 2);
    CHECK_INT(oclora_record_find(&record, "gpu", "attention"), 1);
    CHECK(oclora_quirk_lifted(find("adreno-730-gqa"), &record, OCLORA_CLASS_GPU));
    CHECK(!oclora_quirk_lifted(find("adreno-730-gqa"), &record, OCLORA_CLASS_CPU));
    CHECK(!oclora_quirk_lifted(find("adreno-q6k-matmul"), &record, OCLORA_CLASS_GPU));
    oclora_record_free(&record);

    oclora_device updated = adreno; /* another driver: nothing is known of it */
    strcpy(updated.driver, "OpenCL 3.0 QUALCOMM build: Compiler E031.38.11.15");
    oclora_record_load(&record, oclora_test_env(), dir, &updated);
    CHECK_INT(record.count, 0);
    oclora_record_free(&record);
    remove_record(dir, &adreno);
}

/* A failed self-test disables that kernel, and nothing else, in the next context. */
static void disable_on(const oclora_test_device *test)
{
    char dir[] = "/tmp/oclora-record-XXXXXX";
    oclora_error err = {0};
    oclora_record record;
    oclora_context *context = NULL;
    oclora_stream *stream = NULL;
    const char *own = test->device->device_class == OCLORA_CLASS_GPU ? "gpu" : "cpu";
    if (!CHECK_INT(mkdtemp(dir) != NULL, 1)) return;
    oclora_record_load(&record, oclora_test_env(), dir, test->device);
    CHECK_OK(oclora_record_set(&record, own, "probe:PROBE_WIDTH=4", false, &err), &err);
    CHECK_OK(oclora_record_set(&record, "probe", "fp64", false, &err), &err);
    CHECK(oclora_record_store(&record, dir, test->device));
    oclora_record_free(&record);

    oclora_context_options options = {.cache_dir = dir};
    const oclora_kernel_ref bad = {"probe", "probe_fill", "-DPROBE_WIDTH=4"};
    const oclora_kernel_ref good = {"probe", "probe_fill", "-DPROBE_WIDTH=16"};
    const size_t global = 1;
    oclora_buffer *buffer = NULL;
    oclora_env quiet = *oclora_test_env();
    quiet.log = NULL;
    if (CHECK_OK(oclora_context_create(&context, &quiet, test->device, &options, &err), &err) &&
        CHECK_OK(oclora_stream_create(&stream, context, &err), &err) &&
        CHECK_OK(oclora_buffer_create(&buffer, context, 64, &err), &err)) {
        const oclora_arg args[] = {oclora_arg_buffer(buffer), oclora_arg_u64(0), oclora_arg_f32(1)};
        CHECK(!oclora_context_kernel_enabled(context, "probe", "-DPROBE_WIDTH=4"));
        CHECK(oclora_context_kernel_enabled(context, "probe", "-DPROBE_WIDTH=16"));
        CHECK(!(oclora_context_device(context)->features & OCLORA_FEATURE_FP64));
        CHECK_STATUS(oclora_stream_launch(stream, &bad, args, 3, 1, &global, NULL, &err),
                     OCLORA_NOT_SUPPORTED, &err);
        CHECK_CONTAINS(err.text, "is disabled");
        CHECK_OK(oclora_stream_launch(stream, &good, args, 3, 1, &global, NULL, &err), &err);
    }
    oclora_buffer_destroy(buffer);
    oclora_stream_destroy(stream);
    oclora_context_destroy(context);

    options.ignore_quirks = 1;
    context = NULL;
    if (CHECK_OK(oclora_context_create(&context, &quiet, test->device, &options, &err), &err))
        CHECK(oclora_context_kernel_enabled(context, "probe", "-DPROBE_WIDTH=4"));
    oclora_context_destroy(context);
    remove_record(dir, test->device);
}

/* A refused driver, on the first device whose entry in the list is made to look like it. */
static void refuse_on(const oclora_test_device *test)
{
    oclora_error err = {0};
    oclora_context *context = NULL;
    oclora_device device = *test->device;
    const oclora_context_options options = {.cache_dir = ""};
    strcpy(device.platform, "NVIDIA CUDA");
    strcpy(device.vendor, "NVIDIA Corporation");
    strcpy(device.driver, "440.33.01");
    CHECK_STATUS(oclora_context_create(&context, oclora_test_env(), &device, &options, &err),
                 OCLORA_DEVICE_REFUSED, &err);
    CHECK(context == NULL);
    CHECK_CONTAINS(err.text, "nvidia-440");
    CHECK_CONTAINS(err.text, "clinfo-bench");
}

static void test_failed_kernel_is_disabled(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, disable_on);
}

static void test_refused_driver(void)
{
    oclora_test_each_device(OCLORA_TEST_OWN_CLASS, refuse_on);
}

int main(void)
{
    static const oclora_test tests[] = {
        {"versions", test_versions},
        {"matching", test_matching},
        {"covering", test_covering},
        {"every entry is whole", test_every_entry_is_whole},
        {"quirks are ignored all or by name", test_ignoring},
        {"record", test_record},
        {"failed kernel is disabled", test_failed_kernel_is_disabled},
        {"refused driver", test_refused_driver},
    };
    return oclora_test_main("quirks", tests, sizeof tests / sizeof tests[0]);
}
