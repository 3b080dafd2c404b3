#include "host/file/hash.h"

#include <string.h>

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
