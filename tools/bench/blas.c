#include "tools/bench/blas.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static bool find(void *library, const char *name, void *slot)
{
    void *symbol = dlsym(library, name);
    memcpy(slot, &symbol, sizeof symbol);
    return symbol;
}

/* A CPU younger than the library is taken for an old one; its widest kernels are chosen by name. */
static void choose_kernels(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f")) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
#endif
}

bool bench_openblas_open(bench_openblas *out)
{
    memset(out, 0, sizeof *out);
    choose_kernels();
    /* Its idle threads spin for long by default, on the other contender's time. */
    setenv("OPENBLAS_THREAD_TIMEOUT", "4", 0);
    out->library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    return out->library && find(out->library, "cblas_sgemm", &out->sgemm) &&
           find(out->library, "cblas_sgemv", &out->sgemv) &&
           find(out->library, "openblas_set_num_threads", &out->set_threads) &&
           find(out->library, "openblas_get_config", &out->config);
}

bool bench_clblast_open(bench_clblast *out)
{
    memset(out, 0, sizeof *out);
    out->library = dlopen("libclblast.so.1", RTLD_NOW | RTLD_LOCAL);
    return out->library && find(out->library, "CLBlastSgemv", &out->sgemv) &&
           find(out->library, "CLBlastSgemmBatched", &out->sgemm_batched);
}
