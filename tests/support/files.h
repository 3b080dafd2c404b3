/* files.h - adapter files made in memory from short descriptions, good and bad ones. */
#ifndef OCLORA_TESTS_FILES_H
#define OCLORA_TESTS_FILES_H

#include <stddef.h>
#include <stdint.h>

typedef struct oclora_bytes {
    uint8_t *data; /* free() */
    size_t size;
} oclora_bytes;

void oclora_bytes_add(oclora_bytes *bytes, const void *data, size_t size);
void oclora_bytes_number(oclora_bytes *bytes, uint64_t value, size_t size); /* little endian */
void oclora_bytes_free(oclora_bytes *bytes);

/* A safetensors file from "NAME:2x3 NAME2:4@f16 NAME3:4x5@f32!nan=7": names get the prefix
 * "base_model.model." unless they begin with '/'; sizes are separated by 'x' ("1" is [1], "" is a
 * scalar); types are f32 (default), f16, bf16, f64, i32, q9 (an unknown one). Values come from the
 * test generator; "!nan=I" and "!inf=I" spoil one element, "!big=I" makes it 1e9, "!zero" all. */
oclora_bytes oclora_make_safetensors(const char *description);

/* A safetensors file with a header of one's own and `data_size` bytes behind it. */
oclora_bytes oclora_make_raw_safetensors(const char *header, size_t data_size);

/* A GGUF file (version 3) piece by piece. */
typedef struct oclora_gguf_maker {
    oclora_bytes keys, tensors, data;
    uint64_t n_keys, n_tensors;
} oclora_gguf_maker;
void oclora_gguf_add_text(oclora_gguf_maker *maker, const char *key, const char *text);
void oclora_gguf_add_number(oclora_gguf_maker *maker, const char *key, uint32_t type, uint64_t bits,
                            size_t size);
void oclora_gguf_add_f32(oclora_gguf_maker *maker, const char *key, float value);
/* f32 tensor [rows, cols] with random values at the next aligned place. */
void oclora_gguf_add_matrix(oclora_gguf_maker *maker, const char *name, uint64_t rows,
                            uint64_t cols);
/* Directory entry alone. */
void oclora_gguf_add_entry(oclora_gguf_maker *maker, const char *name, uint32_t n_dims,
                           const uint64_t *fastest_first, uint32_t type, uint64_t offset);
oclora_bytes oclora_gguf_make(oclora_gguf_maker *maker); /* frees the maker's pieces */

/* A compact file in 64-byte aligned memory of 16 KiB, all values 0.5, from the header of the
 * adapter and the directory of tensors. @return its size. The good ones make a good file. */
enum { OCLORA_COMPACT_DATA = 344 }; /* bytes of the good tensors, at the end of the file */
extern const char oclora_good_compact_head[], oclora_good_compact_tensors[];
size_t oclora_make_compact(uint8_t *file, const char *head, const char *tensors);

/* Every input that a test gives to a loader is a seed of the fuzz targets: with
 * OCLORA_TEST_SEEDS=DIR it is written to DIR/FORMAT. `config` is NULL but for the target that takes
 * two files. */
void oclora_keep_seed(const char *format, const void *config, size_t config_size, const void *data,
                      size_t size);

/* Writes a file; false on failure. */
int oclora_write_file(const char *path, const void *data, size_t size);
/* A new folder under $TMPDIR (or /tmp) of this process; its path is put in `out`. */
void oclora_make_folder(char *out, size_t room, const char *name);

#endif
