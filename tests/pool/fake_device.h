/* fake_device.h - the engine's buffers, streams and events over plain memory, for tests that want
 * threads under a race detector, or failures at will, and no driver. Work of a stream happens when
 * it is waited for, not before: who reads too early sees old bytes. */
#ifndef OCLORA_TESTS_POOL_FAKE_DEVICE_H
#define OCLORA_TESTS_POOL_FAKE_DEVICE_H

#include "host/core/stream.h"

oclora_context *fake_context(const oclora_env *env);
uint8_t *fake_memory(oclora_buffer *buffer);

/* The n-th device call from now on fails (0 = none); `sticky`: and all after it. */
void fake_fail_at(long n, bool sticky);
/* One call in `n`, without order, fails besides (0 = none). */
void fake_fail_every(long n);
long fake_calls(void);    /* since fake_fail_at */
long fake_failures(void); /* calls failed in all */

#endif
