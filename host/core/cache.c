#include "host/core/cache.h"

#include <openssl/evp.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* The cache is private to one machine, so fields are in its byte order; a foreign file fails the
 * magic or the checksum. */
typedef struct cache_header {
    char magic[8];
    uint32_t format;
    uint32_t reserved;
    oclora_cache_key key;
    uint64_t size;
    unsigned char digest[32];
} cache_header;

static const char cache_magic[8] = {'O', 'C', 'L', 'O', 'R', 'A', 'P', 'B'};
static const uint64_t cache_max_size = (uint64_t)256 << 20;

static bool digest_of(const void *data, size_t size, unsigned char out[32])
{
    return EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) == 1;
}

bool oclora_cache_key_make(oclora_cache_key *out, const char *const *parts, size_t n_parts)
{
    const uint32_t format = OCLORA_CACHE_FORMAT;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (!hash) return false;
    int ok = EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(hash, &format, sizeof format) == 1;
    for (size_t i = 0; ok && i < n_parts; i++)
        ok = EVP_DigestUpdate(hash, parts[i], strlen(parts[i]) + 1) == 1;
    ok = ok && EVP_DigestFinal_ex(hash, out->bytes, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return ok;
}

void oclora_cache_processor(char *text, size_t capacity)
{
    char line[4096];
    text[0] = '\0';
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && !text[0] && fgets(line, sizeof line, file))
        if (!strncmp(line, "flags", 5) || !strncmp(line, "Features", 8))
            snprintf(text, capacity, "%s", line);
    if (file) fclose(file);
}

static char *join(const oclora_env *env, const char *base, const char *tail)
{
    size_t size = strlen(base) + strlen(tail) + 1;
    char *path = oclora_alloc(env, size, 1);
    if (path) snprintf(path, size, "%s%s", base, tail);
    return path;
}

char *oclora_cache_dir(const oclora_env *env, const char *option)
{
    if (!option) option = getenv("OCLORA_CACHE_DIR");
    if (option) return option[0] ? join(env, option, "") : NULL;
    const char *base = getenv("XDG_CACHE_HOME");
    if (base && base[0] == '/') return join(env, base, "/oclora/programs");
    base = getenv("HOME");
    return base && base[0] ? join(env, base, "/.cache/oclora/programs") : NULL;
}

bool oclora_cache_path(const char *dir, const oclora_cache_key *key, char *path, size_t capacity)
{
    char name[2 * sizeof key->bytes + 1];
    for (size_t i = 0; i < sizeof key->bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", (unsigned)key->bytes[i]);
    int length = snprintf(path, capacity, "%s/%s.bin", dir, name);
    return length > 0 && (size_t)length < capacity;
}

static bool read_all(int file, void *data, size_t size)
{
    unsigned char *at = data;
    while (size) {
        ssize_t got = read(file, at, size);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        size -= (size_t)got;
    }
    return true;
}

static bool write_all(int file, const void *data, size_t size)
{
    const unsigned char *at = data;
    while (size) {
        ssize_t put = write(file, at, size);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        at += put;
        size -= (size_t)put;
    }
    return true;
}

static bool load_open_file(const oclora_env *env, int file, const oclora_cache_key *key,
                           void **data, size_t *size)
{
    struct stat info;
    cache_header header;
    if (fstat(file, &info) || !S_ISREG(info.st_mode)) return false;
    if (!read_all(file, &header, sizeof header)) return false;
    if (memcmp(header.magic, cache_magic, sizeof cache_magic) ||
        header.format != OCLORA_CACHE_FORMAT || memcmp(&header.key, key, sizeof *key))
        return false;
    if (header.size > cache_max_size || (uint64_t)info.st_size != sizeof header + header.size)
        return false;
    void *payload = oclora_alloc(env, (size_t)header.size, 1);
    unsigned char digest[32];
    if (!payload || !read_all(file, payload, (size_t)header.size) ||
        !digest_of(payload, (size_t)header.size, digest) ||
        memcmp(digest, header.digest, sizeof digest)) {
        oclora_release(env, payload);
        return false;
    }
    *data = payload;
    *size = (size_t)header.size;
    return true;
}

oclora_cache_result oclora_cache_load(const oclora_env *env, const char *dir,
                                      const oclora_cache_key *key, void **data, size_t *size)
{
    char path[PATH_MAX];
    if (!oclora_cache_path(dir, key, path, sizeof path)) return OCLORA_CACHE_MISS;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return OCLORA_CACHE_MISS;
    bool ok = load_open_file(env, file, key, data, size);
    close(file);
    return ok ? OCLORA_CACHE_HIT : OCLORA_CACHE_REJECTED;
}

static bool make_folders(char *path)
{
    for (char *at = path + 1; *at; at++) {
        if (*at != '/') continue;
        *at = '\0';
        int failed = mkdir(path, 0700) && errno != EEXIST;
        *at = '/';
        if (failed) return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

bool oclora_cache_store(const oclora_env *env, const char *dir, const oclora_cache_key *key,
                        const void *data, size_t size)
{
    char path[PATH_MAX], temp[PATH_MAX];
    cache_header header = {.format = OCLORA_CACHE_FORMAT, .key = *key, .size = size};
    memcpy(header.magic, cache_magic, sizeof cache_magic);
    int length = snprintf(temp, sizeof temp, "%s", dir);
    if (length <= 0 || (size_t)length >= sizeof temp) return false;
    if (size > cache_max_size || !digest_of(data, size, header.digest) || !make_folders(temp) ||
        !oclora_cache_path(dir, key, path, sizeof path))
        return false;
    length = snprintf(temp, sizeof temp, "%s/.new-XXXXXX", dir);
    if (length <= 0 || (size_t)length >= sizeof temp) return false;

    /* A reader sees the old file or the whole new one, never a part. */
    int file = mkstemp(temp);
    if (file < 0) return false;
    bool ok = write_all(file, &header, sizeof header) && write_all(file, data, size);
    ok = close(file) == 0 && ok;
    if (ok && rename(temp, path) == 0) return true;
    unlink(temp);
    oclora_log(env, OCLORA_LOG_INFO, "program cache: %s could not be written", path);
    return false;
}
