/* serve.h - what oclora-generate and oclora-stock have in common: the whole way from the command
 * line to the answers. They differ in what loads an adapter and in how a wave gets its adapters. */
#ifndef OCLORA_GENERATE_SERVE_H
#define OCLORA_GENERATE_SERVE_H

#include "tools/generate/wave.h"

struct oclora_server;

typedef struct oclora_service {
    const struct oclora_server *server;
    oclora_options options;
    oclora_runtime runtime;
    oclora_requests requests;
    oclora_timing timing;
    void *loaded;          /* the server's, one entry per adapter of the command line, zeroed */
    oclora_request **wave; /* the requests that are decoded together, options.parallel entries */
    bool *served;          /* per request; for the server's own use */
    size_t next;           /* likewise */
} oclora_service;

typedef struct oclora_server {
    bool stock;
    int32_t sequences_min; /* that a context has at least */
    size_t loaded_bytes;   /* of an entry of `loaded` */
    /* Before the model is loaded, after the runtime is open; may be NULL. Says on stderr what
     * failed. */
    bool (*configure)(oclora_service *service);
    /* Loads the adapter options.adapters[index]; says on stderr what failed. */
    bool (*load)(oclora_service *service, size_t index);
    /* Why `name` cannot serve request `r`: fails the request. */
    void (*check)(const oclora_service *service, oclora_request *r, const char *name);
    /* Fills the next wave, with its adapters assigned; its length, 0 at the end. */
    int32_t (*fill)(oclora_service *service);
} oclora_server;

/* A program's main(); returns its exit status. `service` comes zeroed and goes released. */
int oclora_serve_main(oclora_service *service, const oclora_server *server, int argc, char **argv);

/* Place of an adapter on the command line, options.n_adapters if it is not there. */
size_t oclora_serve_find(const oclora_service *service, const char *name);

#endif
