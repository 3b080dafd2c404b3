/* hash.h - SHA-256 of a large file beside other work, and quick marks of pieces of one. */
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

/* A mark of 16 bytes that tells pieces apart within this process: equal for equal heads and data,
 * and no file can be made to collide, because it is keyed with the process's own random bytes.
 * About seven times as fast as SHA-256. Whoever takes two pieces for one still compares their
 * bytes. False when the library could not get memory. */
bool oclora_mark(const void *head, size_t head_size, const void *data, uint64_t size,
                 uint8_t mark[16]);

#endif
