#include "host/base/layout.h"

#include <string.h>

#define TYPE_ENTRY(name, code, text, elems, bytes) {text, elems, bytes},
static const struct {
    const char *name;
    uint32_t block;
    uint32_t block_bytes;
} types[] = {OCLORA_TYPE_MAP(TYPE_ENTRY)};

const char *oclora_type_name(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].name : "unknown type";
}

uint32_t oclora_type_block(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].block : 0;
}

uint32_t oclora_type_block_bytes(oclora_type type)
{
    return type < OCLORA_TYPE_COUNT ? types[type].block_bytes : 0;
}

uint64_t oclora_type_row_bytes(oclora_type type, uint64_t n)
{
    if (type >= OCLORA_TYPE_COUNT || n % types[type].block) return 0;
    return n / types[type].block * types[type].block_bytes;
}

bool oclora_panel_fits(oclora_type type, uint64_t d_in, uint64_t d_out)
{
    if (type > OCLORA_TYPE_Q6_K) return false;
    return d_in && d_out && d_in % 32 == 0 && d_in % types[type].block == 0 &&
           d_out % OCLORA_PANEL_ROWS == 0;
}
