/* hash.h - SHA-256 of a large file beside other work. */
#ifndef OCLORA_FILE_HASH_H
#define OCLORA_FILE_HASH_H

#include "host/file/map.h"

#include <pthread.h>

typedef struct oclora_hash_job {
    const void *data;
    uint64_t size;
    uint8_t digest[32];
    bool done; /* the digest is valid */
    bool threaded;
    pthread_t thread;
} oclora_hash_job;

/* Begins to hash `size` bytes that stay valid until oclora_hash_finish, which must follow. Small
 * data and a system without threads to spare are hashed at once. */
void oclora_hash_start(oclora_hash_job *job, const void *data, uint64_t size);

/* Waits. False when the library could not get memory: the digest is then invalid. */
bool oclora_hash_finish(oclora_hash_job *job);

#endif
