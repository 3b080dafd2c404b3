/* Where tensors end and meet, also when their numbers are nonsense. */
#include "host/graph/memory.h"
#include "support/harness.h"

static oclora_tensor tensor(uint64_t offset, uint64_t ne0, uint64_t ne1, uint64_t nb1)
{
    const oclora_tensor t = {.offset = offset,
                             .type = OCLORA_TYPE_F32,
                             .ne = {ne0, ne1, 1, 1},
                             .nb = {4, nb1, nb1, nb1}};
    return t;
}

static void test_ends(void)
{
    const oclora_tensor plain = tensor(100, 8, 3, 40), empty = tensor(100, 8, 0, 40);
    oclora_tensor blocks = {
        .offset = 10, .type = OCLORA_TYPE_Q8_0, .ne = {64, 2, 1, 1}, .nb = {34, 68, 136, 136}};
    CHECK_INT(oclora_tensor_end(&plain), 100 + 2 * 40 + 32);
    CHECK_INT(oclora_tensor_end(&empty), 100);
    CHECK_INT(oclora_tensor_end(&blocks), 10 + 136);
    const oclora_tensor wrapping[4] = {
        tensor(100, 8, 3, UINT64_MAX / 2 + 1), tensor(UINT64_MAX - 8, 8, 3, 40),
        tensor(0, UINT64_MAX / 2, 3, 40), tensor(0, 8, UINT64_MAX, UINT64_MAX)};
    for (int i = 0; i < 4; i++) CHECK(oclora_tensor_end(&wrapping[i]) == UINT64_MAX);
}

static void test_meetings(void)
{
    const oclora_tensor a = tensor(0, 8, 4, 32), behind = tensor(128, 8, 4, 32);
    const oclora_tensor last = tensor(124, 1, 1, 4), same = a, narrow = tensor(0, 4, 4, 32);
    CHECK(!oclora_tensors_overlap(&a, &behind) && !oclora_tensors_overlap(&behind, &a));
    CHECK(oclora_tensors_overlap(&a, &last) && oclora_tensors_overlap(&last, &a));
    CHECK(oclora_tensors_apart_or_same(&a, &same) && oclora_tensors_apart_or_same(&a, &behind));
    CHECK(!oclora_tensors_apart_or_same(&a, &last) && !oclora_tensors_apart_or_same(&a, &narrow));
}

int main(void)
{
    static const oclora_test tests[] = {{"ends", test_ends}, {"meetings", test_meetings}};
    return oclora_test_main("graph memory", tests, sizeof tests / sizeof *tests);
}
