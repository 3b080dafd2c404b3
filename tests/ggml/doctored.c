/* A ggml that differs from the real one in one thing. It loads the plugin itself, so that the
 * plugin takes it for its host; whatever it does not define comes from the real library behind it.
 */
#include "ggml/doctored.h"

#include <dlfcn.h>
#include <ggml-backend.h>
#include <ggml.h>
#include <string.h>

static enum doctored_mode mode;

static void *real(const char *name)
{
    void *library = dlopen("libggml-base.so.0", RTLD_LAZY | RTLD_NOLOAD);
    void *address = library != NULL ? dlsym(library, name) : NULL;
    if (library != NULL) dlclose(library);
    return address;
}

#define REAL(type, variable, name)                                                                 \
    type variable;                                                                                 \
    void *variable##_address = real(name);                                                         \
    memcpy(&variable, &variable##_address, sizeof variable)

const char *ggml_version(void)
{
    typedef const char *(*function)(void);
    REAL(function, call, "ggml_version");
    return mode == DOCTORED_VERSION ? "1.0.0" : call();
}

size_t ggml_tensor_overhead(void)
{
    typedef size_t (*function)(void);
    REAL(function, call, "ggml_tensor_overhead");
    return call() + (mode == DOCTORED_TENSOR_SIZE ? 16 : 0);
}

const char *ggml_op_name(enum ggml_op op)
{
    typedef const char *(*function)(enum ggml_op);
    REAL(function, call, "ggml_op_name");
    const char *name = call(op);
    if (mode == DOCTORED_NO_OPERATOR && strcmp(name, "SET_ROWS") == 0) return "SET_LINES";
    if (mode == DOCTORED_MOVED_OPERATOR && strcmp(name, "SCALE") == 0) return "MUL";
    if (mode == DOCTORED_MOVED_OPERATOR && strcmp(name, "MUL") == 0) return "SCALE";
    return name;
}

size_t ggml_type_size(enum ggml_type type)
{
    typedef size_t (*function)(enum ggml_type);
    REAL(function, call, "ggml_type_size");
    return mode == DOCTORED_BLOCK && type == GGML_TYPE_Q4_1 ? 24 : call(type);
}

struct ggml_tensor *ggml_rope_ext(struct ggml_context *ctx, struct ggml_tensor *a,
                                  struct ggml_tensor *b, struct ggml_tensor *c, int n_dims, int m,
                                  int n_ctx_orig, float freq_base, float freq_scale,
                                  float ext_factor, float attn_factor, float beta_fast,
                                  float beta_slow)
{
    typedef struct ggml_tensor *(*function)(struct ggml_context *, struct ggml_tensor *,
                                            struct ggml_tensor *, struct ggml_tensor *, int, int,
                                            int, float, float, float, float, float, float);
    REAL(function, call, "ggml_rope_ext");
    struct ggml_tensor *t = call(ctx, a, b, c, n_dims, m, n_ctx_orig, freq_base, freq_scale,
                                 ext_factor, attn_factor, beta_fast, beta_slow);
    if (mode == DOCTORED_PARAMETERS)
        memmove(&t->op_params[6], &t->op_params[5], 8 * sizeof t->op_params[0]);
    return t;
}

struct ggml_tensor *ggml_set_name(struct ggml_tensor *tensor, const char *name)
{
    typedef struct ggml_tensor *(*function)(struct ggml_tensor *, const char *);
    REAL(function, call, "ggml_set_name");
    call(tensor, name);
    if (mode == DOCTORED_FIELDS) memmove(tensor->name + 8, tensor->name, 32);
    return tensor;
}

/* A transfer that goes through another word of the table than reads do. */
void ggml_backend_tensor_set(struct ggml_tensor *tensor, const void *data, size_t offset,
                             size_t size)
{
    typedef void (*function)(struct ggml_tensor *, const void *, size_t, size_t);
    typedef void (*reader)(const struct ggml_tensor *, void *, size_t, size_t);
    REAL(function, call, "ggml_backend_tensor_set");
    REAL(reader, read, "ggml_backend_tensor_get");
    char bytes[64];
    if (mode == DOCTORED_TABLE && size <= sizeof bytes)
        read(tensor, bytes, offset, size);
    else
        call(tensor, data, offset, size);
}

/* Calls nothing of the table at all. */
enum ggml_status ggml_backend_graph_compute_async(ggml_backend_t backend, struct ggml_cgraph *graph)
{
    typedef enum ggml_status (*function)(ggml_backend_t, struct ggml_cgraph *);
    REAL(function, call, "ggml_backend_graph_compute_async");
    return mode == DOCTORED_NO_CALL ? GGML_STATUS_SUCCESS : call(backend, graph);
}

ggml_backend_reg_t doctored_load(const char *path, enum doctored_mode wanted)
{
    typedef ggml_backend_reg_t (*function)(void);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *address = library != NULL ? dlsym(library, "ggml_backend_init") : NULL;
    function init;
    memcpy(&init, &address, sizeof init);
    mode = wanted;
    ggml_backend_reg_t reg = init != NULL ? init() : NULL;
    mode = DOCTORED_NOTHING;
    return reg;
}
