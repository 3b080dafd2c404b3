#include "tools/bench/blas.h"

#include "tools/bench/device.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool find(void *library, const char *name, void *slot)
{
    void *symbol = dlsym(library, name);
    memcpy(slot, &symbol, sizeof symbol);
    return symbol;
}

/* A CPU younger than the library is taken for an old one; its widest kernels are chosen by name,
 * also where the environment asks for others: a peer is measured at its best. */
static void choose_kernels(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f")) setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
#endif
}

/* Its own threads get the CPUs behind the first, so that no two of them wait on one core; the
 * caller's is put on the first while it runs, see bench_place_first. */
static void place_threads(bench_openblas *blas)
{
    const int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (!find(blas->library, "openblas_setaffinity", &blas->set_affinity)) return;
    for (int cpu = 1; cpu < cpus && cpu < 1024; cpu++) {
        bench_place place = {{0}};
        const size_t bits = 8 * sizeof place.cpus[0];
        place.cpus[(size_t)cpu / bits] = 1ul << (size_t)cpu % bits;
        blas->set_affinity(cpu - 1, sizeof place, &place);
    }
}

bool bench_openblas_open(bench_openblas *out)
{
    memset(out, 0, sizeof *out);
    choose_kernels();
    /* Its idle threads spin for long by default, on the other contender's time. */
    setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
    out->library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!out->library || !find(out->library, "cblas_sgemm", &out->sgemm) ||
        !find(out->library, "cblas_sgemv", &out->sgemv) ||
        !find(out->library, "openblas_set_num_threads", &out->set_threads) ||
        !find(out->library, "openblas_get_config", &out->config))
        return false;
    place_threads(out);
    return true;
}

bool bench_clblast_open(bench_clblast *out)
{
    memset(out, 0, sizeof *out);
    out->library = dlopen("libclblast.so.1", RTLD_NOW | RTLD_LOCAL);
    return out->library && find(out->library, "CLBlastSgemv", &out->sgemv) &&
           find(out->library, "CLBlastSgemmBatched", &out->sgemm_batched);
}
