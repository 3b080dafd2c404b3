#include "host/core/env.h"
#include "host/file/json.h"

/* One element never needs more than NODE_BYTES; the text itself is held up to COPIES times while it
 * is read: as tokens, as strings of the tree, as text taken out of it. */
enum { NODE_BYTES = 128, COPIES = 6 };
static const uint64_t slack = (uint64_t)15 << 20;

bool oclora_json_is_modest(const void *text, uint64_t length, uint64_t file_bytes)
{
    const unsigned char *at = text;
    uint64_t nodes = 0;
    for (uint64_t i = 0; i < length; i++)
        nodes += at[i] == ',' || at[i] == ':' || at[i] == '[' || at[i] == '{';
    return nodes * NODE_BYTES + length * COPIES <= file_bytes + slack;
}

oclora_status oclora_fail_json(oclora_error *err, const json_error_t *problem, const char *what)
{
    if (json_error_code(problem) == json_error_out_of_memory)
        return oclora_fail_memory(err, 0, what);
    return oclora_fail(err, OCLORA_FILE_FORMAT, "%s is not JSON: %s (line %d, byte %d)", what,
                       problem->text, problem->line, problem->position);
}
