/* layer_private.h - what layer.c asks of layer_plan.c and layer_lies.c. */
#ifndef OCLORA_TESTS_FAULT_LAYER_PRIVATE_H
#define OCLORA_TESTS_FAULT_LAYER_PRIVATE_H

#include "layer.h"

#include <CL/cl_layer.h>

extern const cl_icd_dispatch *fault_next; /* the loader's own calls */

/* Whether this call, counted where the plan is of that kind, is hit. Counted as asked in any case.
 */
int fault_hits(int kind, const char *name);
int fault_hits_release(const char *name); /* the same, but not asked: an end is always allowed */
cl_int fault_code(void);
void fault_count(int by); /* objects and references */

/* FAULT_LATER and FAULT_SILENT. */
int fault_leaves_out(cl_command_queue queue, const char *name);
void fault_spoil(cl_command_queue queue);    /* work before this point of the queue failed */
cl_int fault_waited(cl_command_queue queue); /* the error to tell, or CL_SUCCESS */
void fault_event_made(cl_command_queue queue, cl_event event);
int fault_failed_events(cl_uint count, const cl_event *events);

/* FAULT_HOLLOW. */
void fault_buffer_made(cl_mem buffer, int hollow);
int fault_is_hollow(cl_mem buffer);
void fault_argument_set(cl_kernel kernel, cl_uint index, size_t size, const void *value);
int fault_uses_hollow(cl_kernel kernel);

/* FAULT_HANG: NULL, or the event that a kernel of this queue waits for and nobody sets. */
cl_event fault_gate(cl_command_queue queue);

/* Contexts and built programs that are kept, see layer_programs.c. */
cl_context fault_context(const cl_context_properties *properties, cl_device_id device,
                         cl_int *code);
cl_program fault_program_of_source(cl_context context, cl_uint count, const char **texts,
                                   const size_t *lengths, cl_int *code);
cl_program fault_program_of_binary(cl_context context, cl_device_id device, size_t size,
                                   const unsigned char *binary, cl_int *status, cl_int *code);
cl_int fault_program_build(cl_program program, const cl_device_id *device, const char *options);
cl_int fault_program_compile(cl_program program, const cl_device_id *device, const char *options);
cl_program fault_program_link(cl_context context, const cl_device_id *device, const char *options,
                              cl_uint count, const cl_program *units, cl_int *code);
cl_program fault_program_real(cl_program program);
cl_int fault_program_release(cl_program program);

/* clGetDeviceInfo with the current lie. */
cl_int fault_device_info(cl_device_id device, cl_device_info what, size_t size, void *value,
                         size_t *needed);
const char *fault_lie(int number);
long fault_lies_told(void);

#endif
