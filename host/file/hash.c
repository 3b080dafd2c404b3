#include "host/file/hash.h"

#include <openssl/evp.h>
#include <string.h>
#include <sys/auxv.h>

enum { THREAD_FROM = 1 << 22 };

static void *run(void *argument)
{
    oclora_hash_job *job = argument;
    job->done = oclora_sha256(job->data, job->size, job->digest);
    return NULL;
}

void oclora_hash_start(oclora_hash_job *job, const void *data, uint64_t size)
{
    memset(job, 0, sizeof *job);
    job->data = data;
    job->size = size;
    job->threaded = size >= THREAD_FROM && pthread_create(&job->thread, NULL, run, job) == 0;
    if (!job->threaded) run(job);
}

bool oclora_hash_finish(oclora_hash_job *job)
{
    if (job->threaded) pthread_join(job->thread, NULL);
    job->threaded = false;
    return job->done;
}

/* The kernel gives every process sixteen random bytes. They are hashed, so that no mark says
 * anything of them: the C library makes its own secrets of the same bytes. */
static bool process_key(uint8_t key[32])
{
    static const uint8_t none[16];
    const unsigned long random = getauxval(AT_RANDOM);
    return oclora_sha256(random != 0 ? (const void *)(uintptr_t)random : none, 16, key);
}

static bool run_mac(EVP_MAC *mac, const void *head, size_t head_size, const void *data,
                    uint64_t size, uint8_t mark[16])
{
    uint8_t key[32];
    size_t length = 0;
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    const bool done = context != NULL && process_key(key) &&
                      EVP_MAC_init(context, key, sizeof key, NULL) == 1 &&
                      EVP_MAC_update(context, head, head_size) == 1 &&
                      EVP_MAC_update(context, data, (size_t)size) == 1 &&
                      EVP_MAC_final(context, mark, &length, 16) == 1 && length == 16;
    EVP_MAC_CTX_free(context);
    return done;
}

/* A libcrypto held to FIPS has no Poly1305. */
static bool mark_by_sha256(const void *head, size_t head_size, const void *data, uint64_t size,
                           uint8_t mark[16])
{
    uint8_t all[3][32], digest[32];
    if (!process_key(all[0]) || !oclora_sha256(head, head_size, all[1]) ||
        !oclora_sha256(data, size, all[2]) || !oclora_sha256(all, sizeof all, digest))
        return false;
    memcpy(mark, digest, 16);
    return true;
}

bool oclora_mark(const void *head, size_t head_size, const void *data, uint64_t size,
                 uint8_t mark[16])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
    if (mac == NULL) return mark_by_sha256(head, head_size, data, size, mark);
    const bool done = run_mac(mac, head, head_size, data, size, mark);
    EVP_MAC_free(mac);
    return done;
}
