#include "support/harness.h"

#include <string.h>

static void test_texts(void)
{
    CHECK(!strcmp(oclora_status_name(OCLORA_POOL_FULL), "OCLORA_POOL_FULL"));
    CHECK(!strcmp(oclora_status_text(OCLORA_OK), "success"));
    CHECK(oclora_status_name(-5) && oclora_status_text(12345));
    CHECK(!strcmp(oclora_cl_error_name(-5), "CL_OUT_OF_RESOURCES"));
    CHECK(!strcmp(oclora_cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR"));
    CHECK_CONTAINS(oclora_cl_error_name(77), "unknown");
}

static void test_fail(void)
{
    oclora_error err = {0};
    CHECK_INT(oclora_fail(NULL, OCLORA_BUSY, "x"), OCLORA_BUSY);
    CHECK_INT(oclora_fail(&err, OCLORA_BUSY, "slot %d", 7), OCLORA_BUSY);
    CHECK_INT(err.status, OCLORA_BUSY);
    CHECK(!strcmp(err.text, "slot 7"));
    CHECK_INT(oclora_error_prefix(&err, OCLORA_INTERNAL, "pool %s", "p"), OCLORA_BUSY);
    CHECK(!strcmp(err.text, "pool p: slot 7"));
    CHECK_INT(oclora_error_prefix(NULL, OCLORA_INTERNAL, "x"), OCLORA_INTERNAL);
}

/* Texts longer than the field are cut, never written past it. */
static void test_long_texts(void)
{
    struct {
        oclora_error err;
        char guard[16];
    } room;
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(&room, 0x55, sizeof room);
    oclora_fail(&room.err, OCLORA_OPENCL, "%s", text);
    CHECK_INT(strlen(room.err.text), sizeof room.err.text - 1);
    oclora_error_prefix(&room.err, OCLORA_OPENCL, "%s", text);
    CHECK_INT(strlen(room.err.text), sizeof room.err.text - 1);
    oclora_fail_cl(&room.err, -4, "clCreateBuffer", "%s", text);
    CHECK_INT(strlen(room.err.text), sizeof room.err.text - 1);
    CHECK_CONTAINS(room.err.text, "clCreateBuffer returned CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)");
    oclora_fail_cl(&room.err, -4, text, "x");
    CHECK_INT(strlen(room.err.text), sizeof room.err.text - 1);
    for (size_t i = 0; i < sizeof room.guard; i++) CHECK_INT(room.guard[i], 0x55);
}

static void test_cl_codes(void)
{
    static const struct {
        int cl_code;
        oclora_status status;
    } cases[] = {
        {-4, OCLORA_OUT_OF_DEVICE_MEMORY},
        {-5, OCLORA_OUT_OF_DEVICE_MEMORY},
        {-6, OCLORA_OUT_OF_HOST_MEMORY},
        {-2, OCLORA_DEVICE_LOST},
        {-9999, OCLORA_DEVICE_LOST},
        {-11, OCLORA_BUILD_FAILED},
        {-36, OCLORA_OPENCL},
        {-54, OCLORA_OPENCL},
        {12345, OCLORA_OPENCL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_INT(oclora_fail_cl(NULL, cases[i].cl_code, "cl", "x"), cases[i].status);
}

int main(void)
{
    const oclora_test tests[] = {
        {"every code has a name and a text", test_texts},
        {"fail and prefix", test_fail},
        {"long texts are cut", test_long_texts},
        {"OpenCL codes become statuses", test_cl_codes},
    };
    return oclora_test_main("error", tests, sizeof tests / sizeof tests[0]);
}
