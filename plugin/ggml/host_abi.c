#define _GNU_SOURCE /* dladdr, RTLD_DEFAULT */
#include "plugin/ggml/host_abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* The number a registry must carry; every known ggml with a public ggml_version() has this one. */
enum { HOST_API_VERSION = 2 };

/* ---- names ---- */

void *oclora_host_symbol(const oclora_host *host, const char *name)
{
    return dlsym(host->library != NULL ? host->library : RTLD_DEFAULT, name);
}

static bool bind_names(oclora_host *host, const char **missing)
{
    *missing = NULL;
#define BIND(result, name, args)                                                                   \
    {                                                                                              \
        void *address = oclora_host_symbol(host, #name);                                           \
        if (address == NULL && *missing == NULL) *missing = #name;                                 \
        memcpy(&host->name, &address, sizeof address);                                             \
    }
    OCLORA_HOST_FUNCTIONS(BIND)
#undef BIND
    void *log = oclora_host_symbol(host, "ggml_log_internal");
    memcpy(&host->log, &log, sizeof log);
    return *missing == NULL;
}

/* The library that called us is the only one whose tables we may fill; names found in the global
 * scope or in some loaded copy serve where the caller is a program that links ggml statically. */
static oclora_status find_library(oclora_host *host, const void *caller, oclora_error *err)
{
    static const char *const names[] = {NULL, "", "libggml-base.so.0", "libggml-base.so"};
    Dl_info info = {0};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *name = names[i];
        if (i == 0) {
            if (caller == NULL || dladdr(caller, &info) == 0) continue;
            name = info.dli_fname;
        }
        bool global = name[0] == '\0';
        void *library = global ? NULL : dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
        if (library == NULL && !global) continue;
        host->library = library;
        snprintf(host->library_name, sizeof host->library_name, "%s",
                 global ? "the global scope" : name);
        const char *absent = NULL;
        if (bind_names(host, &absent)) return OCLORA_OK;
        bool is_ggml = host->ggml_version != NULL;
        if (library != NULL) dlclose(library);
        host->library = NULL;
        if (is_ggml)
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "%s has no function %s",
                               host->library_name, absent);
    }
    return oclora_fail(err, OCLORA_HOST_MISMATCH,
                       "no loaded library has ggml_version; ggml 0.9.0 or newer is needed");
}

/* ---- slots ---- */

/* A trap records the word it lies in and returns what the running experiment wants. Called by the
 * host through its own prototypes; it reads no argument, so any calling sequence is fine. */
static struct {
    uint32_t hits;
    uint8_t slot[8];
    uintptr_t answer;
} trap;

static uintptr_t trap_hit(uint8_t slot)
{
    if (trap.hits < sizeof trap.slot) trap.slot[trap.hits] = slot;
    trap.hits++;
    return trap.answer;
}

#define TRAPS(X)                                                                                   \
    X(0)                                                                                           \
    X(1)                                                                                           \
    X(2)                                                                                           \
    X(3)                                                                                           \
    X(4)                                                                                           \
    X(5)                                                                                           \
    X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21)    \
        X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define TRAP(n)                                                                                    \
    static uintptr_t trap_##n(void)                                                                \
    {                                                                                              \
        return trap_hit(n);                                                                        \
    }
TRAPS(TRAP)
#undef TRAP

static oclora_host_words trap_words(void)
{
#define TRAP(n) (uintptr_t) & trap_##n,
    oclora_host_words words = {{TRAPS(TRAP)}};
#undef TRAP
    return words;
}

static void trap_set(uintptr_t answer)
{
    trap.hits = 0;
    trap.answer = answer;
}

/* The word that the `index`-th call since trap_set went through. */
static uint8_t trap_slot(uint32_t index)
{
    return index < trap.hits && index < sizeof trap.slot ? trap.slot[index] : OCLORA_HOST_UNKNOWN;
}

static uint8_t word_of(const oclora_host_words *words, uintptr_t value)
{
    for (uint8_t i = 0; i < OCLORA_HOST_WORDS; i++)
        if (words->word[i] == value) return i;
    return OCLORA_HOST_UNKNOWN;
}

/* Calls the host's function `name` and notes which word it went through. */
#define ASK(slot, answer_, type, name, ...)                                                        \
    do {                                                                                           \
        void *address_ = oclora_host_symbol(host, name);                                           \
        type function_;                                                                            \
        memcpy(&function_, &address_, sizeof function_);                                           \
        if (function_ == NULL)                                                                     \
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "%s has no function %s",                 \
                               host->library_name, name);                                          \
        trap_set((uintptr_t)(answer_));                                                            \
        function_(__VA_ARGS__);                                                                    \
        (slot) = trap_slot(0);                                                                     \
    } while (0)

/* As ASK, for a function that returns a word itself. */
#define ASK_WORD(slot, words, type, name, ...)                                                     \
    do {                                                                                           \
        void *address_ = oclora_host_symbol(host, name);                                           \
        type function_;                                                                            \
        memcpy(&function_, &address_, sizeof function_);                                           \
        if (function_ == NULL)                                                                     \
            return oclora_fail(err, OCLORA_HOST_MISMATCH, "%s has no function %s",                 \
                               host->library_name, name);                                          \
        (slot) = word_of((words), (uintptr_t)function_(__VA_ARGS__));                              \
    } while (0)

typedef void (*call_one)(void *);
typedef void *(*get_one)(void *);
typedef void (*call_two)(void *, void *);
typedef void (*call_size)(void *, size_t);
typedef void (*call_three)(void *, void *, void *);

static oclora_status probe_type(oclora_host *host, oclora_error *err)
{
    oclora_host_words words = trap_words();
    void *object = &words;
    ASK(host->slots.type.get_name, object, call_one, "ggml_backend_buft_name", object);
    ASK(host->slots.type.alloc_buffer, 0, call_size, "ggml_backend_buft_alloc_buffer", object, 16);
    ASK(host->slots.type.get_alignment, 64, call_one, "ggml_backend_buft_get_alignment", object);
    ASK(host->slots.type.get_max_size, 64, call_one, "ggml_backend_buft_get_max_size", object);
    ASK_WORD(host->slots.type.device, &words, get_one, "ggml_backend_buft_get_device", object);
    return OCLORA_OK;
}

static oclora_status probe_device(oclora_host *host, oclora_error *err)
{
    oclora_host_words words = trap_words();
    void *object = &words;
    size_t room[128] = {0};
    ASK(host->slots.device.get_name, room, call_one, "ggml_backend_dev_name", object);
    ASK(host->slots.device.get_description, room, call_one, "ggml_backend_dev_description", object);
    ASK(host->slots.device.get_memory, 0, call_three, "ggml_backend_dev_memory", object, &room[0],
        &room[1]);
    ASK(host->slots.device.get_type, 0, call_one, "ggml_backend_dev_type", object);
    ASK(host->slots.device.get_props, 0, call_two, "ggml_backend_dev_get_props", object, room);
    ASK(host->slots.device.init_backend, 0, call_two, "ggml_backend_dev_init", object, NULL);
    ASK(host->slots.device.get_buffer_type, 0, call_one, "ggml_backend_dev_buffer_type", object);
    ASK(host->slots.device.supports_op, 0, call_two, "ggml_backend_dev_supports_op", object, room);
    ASK(host->slots.device.supports_buft, 0, call_two, "ggml_backend_dev_supports_buft", object,
        room);
    ASK_WORD(host->slots.device.reg, &words, get_one, "ggml_backend_dev_backend_reg", object);
    return OCLORA_OK;
}

static oclora_status probe_reg(oclora_host *host, oclora_error *err)
{
    oclora_host_words words = trap_words();
    void *object = &words;
    ASK(host->slots.reg.get_name, object, call_one, "ggml_backend_reg_name", object);
    ASK(host->slots.reg.get_device_count, 0, call_one, "ggml_backend_reg_dev_count", object);
    ASK(host->slots.reg.get_device, 0, call_size, "ggml_backend_reg_dev_get", object, 0);
    ASK(host->slots.reg.get_proc_address, 0, call_two, "ggml_backend_reg_get_proc_address", object,
        object);
    return OCLORA_OK;
}

static oclora_status probe_backend(oclora_host *host, oclora_error *err)
{
    oclora_host_words words = trap_words();
    void *object = &words;
    ASK(host->slots.backend.get_name, object, call_one, "ggml_backend_name", object);
    ASK(host->slots.backend.free, 0, call_one, "ggml_backend_free", object);
    ASK(host->slots.backend.graph_compute, 0, call_two, "ggml_backend_graph_compute_async", object,
        object);
    ASK_WORD(host->slots.backend.device, &words, get_one, "ggml_backend_get_device", object);
    return OCLORA_OK;
}

static void *named_type(ggml_backend_buffer_type_t type)
{
    return type;
}
static size_t type_alignment(ggml_backend_buffer_type_t type)
{
    (void)type;
    return 64;
}

/* Buffers are made by the host from a table passed by value, so the traps go in there. Two small
 * tensors serve for the calls that transfer data; their bytes are never touched. */
static oclora_status probe_buffer(oclora_host *host, oclora_error *err)
{
    oclora_host_words type = {{0}};
    type.word[host->slots.type.get_name] = (uintptr_t)&named_type;
    type.word[host->slots.type.get_alignment] = (uintptr_t)&type_alignment;
    static char context[4096];
    ggml_backend_buffer_t buffer = host->ggml_backend_buffer_init(
        (ggml_backend_buffer_type_t)(void *)&type, trap_words(), context, sizeof context);
    if (buffer == NULL) return oclora_fail(err, OCLORA_HOST_MISMATCH, "no buffer could be made");
    const uintptr_t *seen = (const uintptr_t *)(const void *)buffer;
    host->slots.buffer.context = OCLORA_HOST_UNKNOWN;
    for (uint8_t i = 0; i < 20 && host->slots.buffer.context == OCLORA_HOST_UNKNOWN; i++)
        if (seen[i] == (uintptr_t)context) host->slots.buffer.context = i;

    struct ggml_tensor a = {0}, b;
    a.type = GGML_TYPE_F32;
    for (int d = 0; d < 4; d++) a.ne[d] = 1, a.nb[d] = 4;
    a.ne[0] = 4, a.nb[1] = a.nb[2] = a.nb[3] = 16;
    a.buffer = buffer;
    a.data = context;
    b = a;
    char bytes[16] = {0};
    typedef void (*transfer)(void *, void *, size_t, size_t);
    typedef void (*fill)(void *, uint8_t, size_t, size_t);
    typedef void (*clear)(void *, uint8_t);
    ASK(host->slots.buffer.get_base, context, call_one, "ggml_backend_buffer_get_base", buffer);
    ASK(host->slots.buffer.memset_tensor, 0, fill, "ggml_backend_tensor_memset", &a, 0, 0, 16);
    ASK(host->slots.buffer.set_tensor, 0, transfer, "ggml_backend_tensor_set", &a, bytes, 0, 16);
    ASK(host->slots.buffer.get_tensor, 0, transfer, "ggml_backend_tensor_get", &a, bytes, 0, 16);
    ASK(host->slots.buffer.cpy_tensor, 1, call_two, "ggml_backend_tensor_copy", &a, &b);
    ASK(host->slots.buffer.clear, 0, clear, "ggml_backend_buffer_clear", buffer, 0);
    ASK(host->slots.buffer.free_buffer, 0, call_one, "ggml_backend_buffer_free", buffer);
    return OCLORA_OK;
}

/* Every word found, within reach, and no two calls through one word. */
static oclora_status check_slots(const char *what, const void *slots, size_t count,
                                 oclora_error *err)
{
    const uint8_t *slot = slots;
    for (size_t i = 0; i < count; i++) {
        bool bad = slot[i] >= OCLORA_HOST_WORDS - 4;
        for (size_t j = 0; j < i; j++) bad = bad || slot[i] == slot[j];
        if (bad)
            return oclora_fail(err, OCLORA_HOST_MISMATCH,
                               "call %zu of the %s table could not be located (word %u)", i, what,
                               slot[i]);
    }
    return OCLORA_OK;
}

static oclora_status probe_slots(oclora_host *host, oclora_error *err)
{
    const oclora_host_slots *s = &host->slots;
    OCLORA_TRY(probe_type(host, err));
    OCLORA_TRY(check_slots("buffer type", &s->type, sizeof s->type, err));
    OCLORA_TRY(probe_buffer(host, err));
    OCLORA_TRY(check_slots("buffer", &s->buffer, sizeof s->buffer, err));
    OCLORA_TRY(probe_device(host, err));
    OCLORA_TRY(check_slots("device", &s->device, sizeof s->device, err));
    OCLORA_TRY(probe_reg(host, err));
    OCLORA_TRY(check_slots("registry", &s->reg, sizeof s->reg, err));
    OCLORA_TRY(probe_backend(host, err));
    return check_slots("backend", &s->backend, sizeof s->backend, err);
}

oclora_status oclora_host_bind(oclora_host *out, const void *caller, oclora_error *err)
{
    oclora_host host = {0};
    OCLORA_TRY(find_library(&host, caller, err));
    out->log = host.log; /* also for the text of a refusal */
    const char *version = host.ggml_version();
    if (version == NULL || strncmp(version, "0.", 2) != 0)
        return oclora_fail(err, OCLORA_HOST_MISMATCH,
                           "ggml version %s is not one this plugin knows (0.9 and later 0.x)",
                           version != NULL ? version : "unknown");
    oclora_status status = oclora_host_probe_tensors(&host, err);
    if (status == OCLORA_OK) status = probe_slots(&host, err);
    if (status != OCLORA_OK)
        return oclora_error_prefix(err, status, "ggml %s (%s)", version, host.library_name);
    *out = host;
    return OCLORA_OK;
}

/* ---- the plugin's own objects ---- */

#define PUT(words_, slot_, value_) ((words_)->word[slot_] = (uintptr_t)(value_))

ggml_backend_buffer_t oclora_host_buffer_create(const oclora_host *host,
                                                ggml_backend_buffer_type_t type,
                                                const oclora_host_buffer_calls *calls,
                                                void *context, size_t size)
{
    oclora_host_words table = {{0}};
    PUT(&table, host->slots.buffer.free_buffer, calls->free_buffer);
    PUT(&table, host->slots.buffer.get_base, calls->get_base);
    PUT(&table, host->slots.buffer.memset_tensor, calls->memset_tensor);
    PUT(&table, host->slots.buffer.set_tensor, calls->set_tensor);
    PUT(&table, host->slots.buffer.get_tensor, calls->get_tensor);
    PUT(&table, host->slots.buffer.cpy_tensor, calls->cpy_tensor);
    PUT(&table, host->slots.buffer.clear, calls->clear);
    return host->ggml_backend_buffer_init(type, table, context, size);
}

void *oclora_host_buffer_context(const oclora_host *host, ggml_backend_buffer_t buffer)
{
    const uintptr_t *words = (const uintptr_t *)(const void *)buffer;
    return (void *)words[host->slots.buffer.context];
}

void oclora_host_fill_type(const oclora_host *host, oclora_host_words *words,
                           const oclora_host_type_calls *calls, ggml_backend_dev_t device)
{
    memset(words, 0, sizeof *words);
    PUT(words, host->slots.type.get_name, calls->get_name);
    PUT(words, host->slots.type.alloc_buffer, calls->alloc_buffer);
    PUT(words, host->slots.type.get_alignment, calls->get_alignment);
    PUT(words, host->slots.type.get_max_size, calls->get_max_size);
    PUT(words, host->slots.type.device, device);
}

void oclora_host_fill_backend(const oclora_host *host, oclora_host_words *words,
                              const oclora_host_backend_calls *calls, const uint8_t *guid,
                              ggml_backend_dev_t device)
{
    memset(words, 0, sizeof *words);
    PUT(words, 0, guid);
    PUT(words, host->slots.backend.get_name, calls->get_name);
    PUT(words, host->slots.backend.free, calls->free);
    PUT(words, host->slots.backend.graph_compute, calls->graph_compute);
    PUT(words, host->slots.backend.device, device);
}

void oclora_host_fill_device(const oclora_host *host, oclora_host_words *words,
                             const oclora_host_device_calls *calls, ggml_backend_reg_t reg)
{
    memset(words, 0, sizeof *words);
    PUT(words, host->slots.device.get_name, calls->get_name);
    PUT(words, host->slots.device.get_description, calls->get_description);
    PUT(words, host->slots.device.get_memory, calls->get_memory);
    PUT(words, host->slots.device.get_type, calls->get_type);
    PUT(words, host->slots.device.get_props, calls->get_props);
    PUT(words, host->slots.device.init_backend, calls->init_backend);
    PUT(words, host->slots.device.get_buffer_type, calls->get_buffer_type);
    PUT(words, host->slots.device.supports_op, calls->supports_op);
    PUT(words, host->slots.device.supports_buft, calls->supports_buft);
    PUT(words, host->slots.device.reg, reg);
}

void oclora_host_fill_reg(const oclora_host *host, oclora_host_words *words,
                          const oclora_host_reg_calls *calls)
{
    memset(words, 0, sizeof *words);
    int api_version = HOST_API_VERSION;
    memcpy(&words->word[0], &api_version, sizeof api_version);
    PUT(words, host->slots.reg.get_name, calls->get_name);
    PUT(words, host->slots.reg.get_device_count, calls->get_device_count);
    PUT(words, host->slots.reg.get_device, calls->get_device);
    PUT(words, host->slots.reg.get_proc_address, calls->get_proc_address);
}
