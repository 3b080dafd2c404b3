/* svd.c - LAPACKE behind three functions. */
#include "tools/shared/svd.h"

#ifdef OCLORA_WITH_LAPACKE

#include <lapacke.h>
#include <stdlib.h>

static oclora_status check(lapack_int info, const char *routine, oclora_error *err)
{
    if (info == 0) return OCLORA_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for %s", routine);
    if (info < 0)
        return oclora_fail(err, OCLORA_NOT_FINITE, "%s: argument %d holds NaN or infinity", routine,
                           (int)-info);
    return oclora_fail(err, OCLORA_INTERNAL, "%s did not converge (%d)", routine, (int)info);
}

/* Row-major a is column-major a^T = v s u^T, so the two sides change places and nothing is copied.
 */
oclora_status oclora_svd(double *a, uint32_t m, uint32_t n, double *u, double *s, double *vt,
                         oclora_error *err)
{
    const lapack_int k = (lapack_int)(m < n ? m : n);
    return check(LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', (lapack_int)n, (lapack_int)m, a,
                                (lapack_int)n, s, vt, (lapack_int)n, u, k),
                 "dgesdd", err);
}

oclora_status oclora_invert(double *a, uint32_t n, oclora_error *err)
{
    const lapack_int size = (lapack_int)n;
    lapack_int *pivots = calloc(n, sizeof *pivots);
    if (pivots == NULL) return oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for pivots");
    lapack_int info = LAPACKE_dgetrf(LAPACK_COL_MAJOR, size, size, a, size, pivots);
    if (info == 0) info = LAPACKE_dgetri(LAPACK_COL_MAJOR, size, a, size, pivots);
    free(pivots);
    if (info > 0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "a matrix of %u x %u is singular", n, n);
    return check(info, "dgetrf and dgetri", err);
}

/* The signs of R's diagonal are folded into Q, which makes the distribution even. */
oclora_status oclora_orthogonalize(double *a, uint32_t n, oclora_error *err)
{
    const lapack_int size = (lapack_int)n;
    double *tau = calloc(n, sizeof *tau), *sign = calloc(n, sizeof *sign);
    oclora_status status = OCLORA_OK;
    if (tau == NULL || sign == NULL)
        status = oclora_fail(err, OCLORA_OUT_OF_HOST_MEMORY, "no memory for reflectors");
    if (status == OCLORA_OK)
        status = check(LAPACKE_dgeqrf(LAPACK_COL_MAJOR, size, size, a, size, tau), "dgeqrf", err);
    for (uint32_t i = 0; status == OCLORA_OK && i < n; i++)
        sign[i] = a[(size_t)i * n + i] < 0.0 ? -1.0 : 1.0;
    if (status == OCLORA_OK)
        status =
            check(LAPACKE_dorgqr(LAPACK_COL_MAJOR, size, size, size, a, size, tau), "dorgqr", err);
    for (size_t i = 0; status == OCLORA_OK && i < (size_t)n * n; i++) a[i] *= sign[i / n];
    free(tau);
    free(sign);
    return status;
}

#else

static oclora_status refuse(oclora_error *err)
{
    return oclora_fail(
        err, OCLORA_NOT_SUPPORTED,
        "built without LAPACKE: install liblapacke-dev and libopenblas-dev and build "
        "again");
}

oclora_status oclora_svd(double *a, uint32_t m, uint32_t n, double *u, double *s, double *vt,
                         oclora_error *err)
{
    (void)a, (void)m, (void)n, (void)u, (void)s, (void)vt;
    return refuse(err);
}

oclora_status oclora_invert(double *a, uint32_t n, oclora_error *err)
{
    (void)a, (void)n;
    return refuse(err);
}

oclora_status oclora_orthogonalize(double *a, uint32_t n, oclora_error *err)
{
    (void)a, (void)n;
    return refuse(err);
}

#endif
