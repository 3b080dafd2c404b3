#include "host/serve/serve.h"

bool oclora_kind_served(oclora_kind kind)
{
    /* Its routers see whole sequences and pair experts: the pool refuses them. */
    if (kind == OCLORA_KIND_MIXLORA_CONDITIONAL) return false;
    return kind > OCLORA_KIND_UNKNOWN && kind < (oclora_kind)OCLORA_KIND_END_;
}
