/* helper.cl - how functions that are no kernels are declared. Spliced into other files. */
#ifndef HELPER
#ifdef OCLORA_CLASS_GPU
#define HELPER /* Intel's compiler for GPUs puts what static functions make into scratch memory */
#else
#define HELPER static /* chains link kernels of several files */
#endif
#endif
