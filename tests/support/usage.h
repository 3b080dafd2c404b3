/* usage.h - what a process holds: threads, open files, memory. For tests in which something comes
 * and goes many times; includes nothing of the engine. */
#ifndef OCLORA_TESTS_USAGE_H
#define OCLORA_TESTS_USAGE_H

#include <dirent.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef struct usage {
    long threads, files;
    long resident; /* bytes */
} usage;

static inline long usage_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    long count = 0;
    while (dir != NULL && readdir(dir) != NULL) count++;
    if (dir != NULL) closedir(dir);
    return count;
}

static inline usage usage_now(void)
{
    usage u = {usage_entries("/proc/self/task"), usage_entries("/proc/self/fd"), 0};
    long pages = 0;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file != NULL) fclose(file);
    u.resident = pages * sysconf(_SC_PAGESIZE);
    return u;
}

/* Now, or as soon as threads and files are no more than `before`: a thread that was joined may be
 * seen a moment longer. Two seconds at most. */
static inline usage usage_settled(const usage *before)
{
    const struct timespec moment = {0, 10000000};
    usage u = usage_now();
    for (int i = 0; i < 200 && (u.threads > before->threads || u.files > before->files); i++) {
        nanosleep(&moment, NULL);
        u = usage_now();
    }
    return u;
}

/* Prints what the late rounds of something added, and says whether they left no thread and no file,
 * and of memory no more than drivers and the OpenCL loader lose, which is far below what a round
 * takes. What the library itself holds is counted, not measured: fault/memory.h. */
static inline bool usage_is_flat(const char *what, const usage *early, const usage *late,
                                 int rounds)
{
    const long resident = late->resident - early->resident;
    printf("%s, %d late rounds: %+ld KiB resident, %+ld threads, %+ld files\n", what, rounds,
           resident / 1024, late->threads - early->threads, late->files - early->files);
    return late->threads <= early->threads && late->files <= early->files &&
           resident <= (1L << 20) + 65536L * rounds;
}

#endif
