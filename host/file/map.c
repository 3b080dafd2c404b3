#include "host/file/map.h"

#include "host/core/breathe.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 17 }; /* hashed in 70 us */

const char *oclora_path_shown(const char *path)
{
    enum { SHOWN = 100 };
    const size_t length = strlen(path);
    if (length > SHOWN) path += length - SHOWN;
    while (((unsigned char)*path & 0xc0) == 0x80) path++; /* not from within a character */
    return path;
}

static oclora_status map_descriptor(oclora_map *out, int fd, const char *path, oclora_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return oclora_fail(err, OCLORA_FILE_READ, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return oclora_fail(err, OCLORA_FILE_READ, "%s: not a regular file", path);
    if ((uint64_t)info.st_size > (uint64_t)(SIZE_MAX / 2))
        return oclora_fail(err, OCLORA_FILE_READ, "%s: too large to map", path);

    oclora_map map = {NULL, (uint64_t)info.st_size, NULL};
    if (map.size != 0) {
        map.base = mmap(NULL, (size_t)map.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map.base == MAP_FAILED)
            return oclora_fail(err, OCLORA_FILE_READ, "%s: cannot be mapped: %s", path,
                               strerror(errno));
        map.data = map.base;
    }
    *out = map;
    return OCLORA_OK;
}

oclora_status oclora_map_open(oclora_map *out, const char *path, oclora_error *err)
{
    /* Without O_NONBLOCK a FIFO in place of the file would hang the host. */
    const char *shown = oclora_path_shown(path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return oclora_fail(err, OCLORA_FILE_NOT_FOUND, "%s: %s", shown, strerror(errno));
    oclora_status status = map_descriptor(out, fd, shown, err);
    close(fd);
    return status;
}

void oclora_map_close(oclora_map *map)
{
    if (map->base != NULL) munmap(map->base, (size_t)map->size);
    memset(map, 0, sizeof *map);
}

bool oclora_sha256(const void *data, uint64_t size, uint8_t digest[32])
{
    const uint8_t *at = data;
    memset(digest, 0, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    while (done && size > 0) {
        const size_t piece = size < PIECE ? (size_t)size : PIECE;
        done = EVP_DigestUpdate(context, at, piece) == 1;
        at += piece;
        size -= piece;
        oclora_breathe();
    }
    done = done && EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    return done;
}
