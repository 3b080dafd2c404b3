/* The lives of the ggml plugin, in which every OpenCL call, allocation and system call fails, and
 * in which its device is lost, or lies about itself. */
#define _DEFAULT_SOURCE
#include "fault/ggml_life.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* In memory that children share, so that all find the same results. */
static ggml_life *one;

/* The plugin stays loaded for the life of a process, so each life has one. */
static void test_registry(void)
{
    static const int codes[4] = {-5, -6, -2, -1001};
    const fault_life life = ggml_registry_life(one);
    const bool full = fault_loop_full();
    const fault_effort calls = {full ? 1 : 23, full ? 3 : 69, 0, full ? 1 : 31};
    const fault_effort memory = {full ? 1 : 7, full ? 3 : 21, 0, full ? 1 : 10};
    fault_loop_children(&life, FAULT_CALL, codes, 4, &calls);
    fault_loop_children(&life, FAULT_FROM_MEMORY, codes, 1, &memory);
    fault_loop_children(&life, FAULT_FROM_SYSTEM, codes, 1, &memory);
}

/* A lost device stays lost until the process ends. The codes say so at once, and that of a dead
 * queue the second time. */
static void test_lost(void)
{
    static const int lost[2] = {-2, -9999}, dead_queue[1] = {-36};
    const fault_life life = ggml_whole_life(one);
    const bool full = fault_loop_full();
    const fault_effort some = {full ? 1 : 41, 0, 0, full ? 2 : 83};
    const fault_effort more = {full ? 1 : 7, 0, 0, full ? 2 : 13};
    const fault_effort forever = {0, 0, 0, full ? 2 : 41};
    fault_loop_children(&life, FAULT_CALL, lost, 2, &some);
    fault_loop_children(&life, FAULT_LATER, lost, 2, &more);
    fault_loop_children(&life, FAULT_SILENT, lost, 2, &more);
    fault_loop_children(&life, FAULT_CALL, dead_queue, 1, &forever);
    CHECK(fault_loop_lost() > 0);
}

static void test_lies(void)
{
    const fault_life life = ggml_whole_life(one);
    CHECK(one->known[0] && one->known[1]);
    one->loosely = true;
    CHECK(fault_loop_lies(&life) > 40);
    one->loosely = false;
}

static void test_session(void)
{
    static const int codes[3] = {-5, -4, -6}, no_memory[1] = {-4};
    const fault_life life = ggml_session_life(one);
    const fault_plan none = {0};
    const bool full = fault_loop_full();
    const fault_effort some = {full ? 1 : 5, full ? 1 : 15, full ? 200 : 5, full ? 1 : 31};
    const fault_effort more = {full ? 1 : 2, full ? 1 : 6, full ? 200 : 5, full ? 1 : 12};
    if (!ggml_life_open(one)) return;
    fault_life first = life;
    first.leaks = true; /* the device's context is made and stays, and the ends of its transfers */
    for (int i = 0; i < 10; i++) fault_loop_once(&first, FAULT_CALL, &none);
    CHECK(memcmp(one->expected[0], one->expected[1], sizeof one->expected[0]) != 0);
    fault_loop_run(&life, FAULT_CALL, codes, 3, &some);
    fault_loop_run(&life, FAULT_LATER, codes, 3, &more);
    fault_loop_run(&life, FAULT_SILENT, codes, 3, &more);
    fault_loop_run(&life, FAULT_HOLLOW, no_memory, 1, &more);
    fault_loop_run(&life, FAULT_FROM_MEMORY, codes, 1, &some);
    fault_loop_run(&life, FAULT_FROM_SYSTEM, codes, 1, &more);
    ggml_life_close(one);
}

/* For a debugger: "registry", "whole" or "session", the source, which calls are hit, the mode, the
 * code. */
static char **wanted;
static void test_once(void)
{
    const fault_plan plan = {.at = atol(wanted[3]),
                             .also = atol(wanted[4]),
                             .on = atoi(wanted[5]),
                             .code = atoi(wanted[6])};
    const fault_plan none = {0};
    fault_life life = wanted[1][0] == 'r'   ? ggml_registry_life(one)
                      : wanted[1][0] == 'w' ? ggml_whole_life(one)
                                            : ggml_session_life(one);
    if (wanted[1][0] == 's') {
        fault_life first = life;
        first.leaks = true;
        if (!ggml_life_open(one)) return;
        for (int i = 0; i < 10; i++) fault_loop_once(&first, FAULT_CALL, &none);
    }
    CHECK(fault_loop_once(&life, atoi(wanted[2]), &plan) > 0);
}

int main(int argc, char **argv)
{
    static const oclora_test tests[] = {{"everything fails under a registry", test_registry},
                                        {"the device is lost", test_lost},
                                        {"the device lies", test_lies},
                                        {"everything fails under a session", test_session}};
    static const oclora_test single[] = {{"one life", test_once}};
    if (fault_loop_layer() == NULL) {
        printf("skipped: this OpenCL loader knows no layers, or OPENCL_LAYERS is not set\n");
        return 77;
    }
    one = mmap(NULL, sizeof *one, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (one == MAP_FAILED) return 1;
    /* libcrypto 3.0 does not survive a lack of memory while it sets itself up. */
    unsigned char digest[32];
    if (!ggml_life_start(one) || EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL) != 1) return 1;
    wanted = argv;
    const int status = argc == 7
                           ? oclora_test_main("fault_ggml", single, 1)
                           : oclora_test_main("fault_ggml", tests, sizeof tests / sizeof *tests);
    fault_loop_summary("ggml plugin");
    ggml_life_finish();
    return status;
}
