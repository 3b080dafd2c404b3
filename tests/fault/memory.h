/* memory.h - failing allocations and system calls of the libraries under test. memory.c puts itself
 * in front of the C library in the program that links it; only calls that come from the libraries
 * named to fault_memory_watch are counted, since drivers do not survive a failing malloc. */
#ifndef OCLORA_TESTS_FAULT_MEMORY_H
#define OCLORA_TESTS_FAULT_MEMORY_H

#include <stdbool.h>

enum { FAULT_MEMORY, FAULT_SYSTEM, FAULT_MEMORY_KINDS };

/* The library whose file name starts so, loaded by now. `kept`: its allocations count as live. */
bool fault_memory_watch(const char *file_name, bool kept);
void fault_memory_forget(void); /* all of them */

/* As fault_plan of layer.h. */
void fault_memory_arm(int kind, long at, long also, bool on);
void fault_memory_disarm(void);
long fault_memory_calls(void);    /* since arm */
long fault_memory_failures(void); /* since arm */
long fault_memory_live(void);     /* allocations not freed, ever */
const char *fault_memory_last(void);

#endif
