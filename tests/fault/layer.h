/* layer.h - control of the fault layer (layer.c), found with dlsym in the library that
 * OPENCL_LAYERS names. */
#ifndef OCLORA_TESTS_FAULT_LAYER_H
#define OCLORA_TESTS_FAULT_LAYER_H

/* The n-th call from now on fails with an OpenCL `code`; `from_then_on`: and all after it. */
void fault_arm(long n, int code, int from_then_on);
void fault_disarm(void);
long fault_calls(void);    /* since fault_arm */
long fault_failures(void); /* since fault_arm */
long fault_live_objects(void);
const char *fault_last(void); /* the first call that failed since fault_arm */

#endif
