/* breathe.h - pauses of long work on the host, for those who serve at the same time. */
#ifndef OCLORA_CORE_BREATHE_H
#define OCLORA_CORE_BREATHE_H

/* For work of milliseconds, at every piece of it: lets threads run that wait for this CPU, a few
 * thousand times a second at most. A kernel's worker that waits for its CPU holds up all the others,
 * and the system would let it wait until its next tick, for up to 4 ms. Any thread. */
void oclora_breathe(void);

#endif
