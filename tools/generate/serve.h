/* serve.h - what both programs do around their waves: plan, warm up, print, sum up. */
#ifndef OCLORA_GENERATE_SERVE_H
#define OCLORA_GENERATE_SERVE_H

#include "tools/generate/wave.h"

/* Creates a context that fits the requests, at least `min_seq` sequences; requests that cannot fit
 * into -c fail. False only if the context could not be created. */
bool oclora_serve_prepare(oclora_runtime *runtime, oclora_requests *requests, int32_t min_seq);

/* Prints every answer in input order and the summary. Returns the exit status. */
int oclora_serve_finish(const oclora_runtime *runtime, const oclora_requests *requests,
                        const oclora_timing *timing);

#endif
