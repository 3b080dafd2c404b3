/* mutate.h - hostile versions of a good file, the same ones in every run. */
#ifndef OCLORA_TESTS_MUTATE_H
#define OCLORA_TESTS_MUTATE_H

#include "support/files.h"

/* One to four changes: bits, bytes, whole numbers (binary and in text) set to their edges, parts
 * cut out, put in, doubled, or taken from `other`. `head` bytes at the front are where most changes
 * go; with `has_length` the first eight bytes are a header's length, which is mostly kept right. */
oclora_bytes oclora_mutate(const oclora_bytes *good, const oclora_bytes *other, size_t head,
                           int has_length);

#endif
