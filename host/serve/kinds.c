#include "host/serve/serve.h"

bool oclora_kind_served(oclora_kind kind)
{
    return kind > OCLORA_KIND_UNKNOWN && kind < (oclora_kind)OCLORA_KIND_END_;
}
