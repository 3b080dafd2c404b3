/* layer.h - control of the fault layer (layer.c), by the symbol fault_layer_get of the library that
 * OPENCL_LAYERS names. Thread rule: armed and asked from one thread; calls may come from any. */
#ifndef OCLORA_TESTS_FAULT_LAYER_H
#define OCLORA_TESTS_FAULT_LAYER_H

/* What is counted, and what happens to the one that is hit. */
enum {
    FAULT_CALL,   /* any call: it gives the plan's code and does nothing; a release is done all the
                     same */
    FAULT_LATER,  /* work is enqueued but never done: the next call that waits for the queue says so
                   */
    FAULT_SILENT, /* as before, but only events after it say so, as with PoCL */
    FAULT_HOLLOW, /* clCreateBuffer: succeeds, and the first use of the buffer fails with the code
                   */
    FAULT_HANG,   /* kernels: enqueued, and neither they nor what comes after them ever end */
    FAULT_KINDS
};

typedef struct fault_plan {
    int kind;
    long at;   /* the at-th call counted from now on is hit; 0 = none */
    long also; /* and this one; 0 = none */
    int on;    /* not 0: and every one after `at` */
    int code;  /* an OpenCL error */
} fault_plan;

typedef struct fault_layer {
    void (*arm)(const fault_plan *plan);
    void (*disarm)(void);
    long (*calls)(void);       /* counted since arm */
    long (*failures)(void);    /* hit since arm */
    long (*live)(void);        /* objects and references held through this layer */
    long (*asked)(void);       /* calls of any name but releases, ever */
    const char *(*last)(void); /* the first call that was hit since arm */
    /* From now on devices lie in the way of this number; -1 ends it. @return what the lie is, NULL
     * past the last one. */
    const char *(*lie)(int number);
    long (*lies_told)(void); /* since lie() */
    void (*let_go)(void);    /* what hangs goes on */
} fault_layer;

typedef const fault_layer *(*fault_layer_get_fn)(void);

#endif
