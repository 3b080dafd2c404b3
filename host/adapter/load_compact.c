/* Compact files to images: every number of the header is checked against every other and against
 * the tensors, since a file may come from anybody. */
#include "host/adapter/compact.h"
#include "host/adapter/number.h"
#include "host/file/json.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { FACTORS_MAX = 1 << 20, MUL_MAX = 256, EXPERTS_MAX = 256 };

typedef struct reader {
    oclora_adapter_image *image;
    oclora_safetensors file;
    json_t *head;
    oclora_factor *factors;
    size_t n_factors;
    size_t n_used; /* tensors that something refers to */
    uint64_t file_bytes;
} reader;

void oclora_compact_vectors(oclora_module *m, oclora_compact_vector out[OCLORA_COMPACT_VECTORS])
{
    const uint64_t pairs = (uint64_t)m->router.top_k * m->router.n_experts;
    const oclora_compact_vector all[OCLORA_COMPACT_VECTORS] = {
        {"scale", &m->scale, true, 1, m->rank},
        {"core", &m->core, false, m->rank, m->rank},
        {"u", &m->u, true, 1, m->d_out},
        {"beta", &m->beta, true, 1, m->d_out},
        {"c", &m->c, true, 1, m->d_out},
        {"magnitude", &m->magnitude, true, 1, m->d_out},
        {"mul_u", &m->mul_u, false, m->n_mul, m->d_out},
        {"mul_v", &m->mul_v, false, m->n_mul, m->d_in},
        {"pair_table", &m->router.pair_table, false, pairs, m->router.n_experts},
    };
    memcpy(out, all, sizeof all);
}

bool oclora_is_safetensors(const oclora_map *map)
{
    return map->size > 8 && map->data[8] == '{' && memcmp(map->data, "GGUF", 4) != 0;
}

/* A whole number from 0 to `most`; absent is 0. */
static oclora_status number(const json_t *object, const char *key, uint64_t most, uint32_t *out,
                            oclora_error *err)
{
    const json_t *item = json_object_get(object, key);
    *out = 0;
    if (item == NULL) return OCLORA_OK;
    if (!json_is_integer(item) || json_integer_value(item) < 0 ||
        (uint64_t)json_integer_value(item) > most)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "%s is no whole number from 0 to %llu", key,
                           (unsigned long long)most);
    *out = (uint32_t)json_integer_value(item);
    return OCLORA_OK;
}

static oclora_status find_tensor(reader *r, const char *name, const oclora_file_tensor **out,
                                 oclora_error *err)
{
    *out = oclora_safetensors_find(&r->file, name);
    if (*out == NULL) return oclora_fail(err, OCLORA_MISSING_TENSOR, "no tensor %s", name);
    r->n_used++;
    return OCLORA_OK;
}

/* --- factors --- */

static oclora_status factor_type(const json_t *entry, oclora_type *out, oclora_error *err)
{
    static const struct {
        const char *name;
        oclora_type type;
    } types[] = {{"f32", OCLORA_TYPE_F32},
                 {"f16", OCLORA_TYPE_F16},
                 {"bf16", OCLORA_TYPE_BF16},
                 {"q8_0", OCLORA_TYPE_Q8_0}};
    const char *name = json_string_value(json_object_get(entry, "type"));
    for (size_t i = 0; name != NULL && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0) {
            *out = types[i].type;
            return OCLORA_OK;
        }
    return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "a factor is of type %.32s",
                       name != NULL ? name : "(none)");
}

/* Finite everywhere, and zero behind the last column of q8_0 rows. */
static oclora_status check_values(const oclora_factor *factor, const char *name, float *row,
                                  oclora_error *err)
{
    const uint64_t bytes = oclora_factor_row_bytes(factor->type, factor->cols);
    const size_t whole = factor->type == OCLORA_TYPE_Q8_0 ? ((size_t)factor->cols + 31) / 32 * 32
                                                          : (size_t)factor->cols;
    for (uint32_t i = 0; i < factor->rows; i++) {
        oclora_widen(factor->type, (const uint8_t *)factor->data + i * bytes, whole, row);
        if (oclora_find_not_finite(row, whole) != whole)
            return oclora_fail(err, OCLORA_NOT_FINITE, "tensor %s holds NaN or infinity", name);
        for (size_t j = factor->cols; j < whole; j++)
            if (row[j] != 0.0f)
                return oclora_fail(err, OCLORA_FILE_FORMAT,
                                   "tensor %s: a row is not padded with zeros", name);
    }
    return OCLORA_OK;
}

static oclora_status read_factor(reader *r, const json_t *entry, size_t index, oclora_error *err)
{
    char name[48];
    const oclora_file_tensor *tensor;
    oclora_factor factor = {0};
    snprintf(name, sizeof name, "factor.%zu", index);
    OCLORA_TRY(factor_type(entry, &factor.type, err));
    OCLORA_TRY(number(entry, "rows", OCLORA_DIM_MAX, &factor.rows, err));
    OCLORA_TRY(number(entry, "cols", OCLORA_DIM_MAX, &factor.cols, err));
    OCLORA_TRY(find_tensor(r, name, &tensor, err));
    const bool packed = factor.type == OCLORA_TYPE_Q8_0;
    const uint64_t row_bytes = oclora_factor_row_bytes(factor.type, factor.cols);
    if (factor.rows == 0 || factor.cols == 0 || tensor->n_dims != 2 ||
        tensor->dims[0] != factor.rows ||
        tensor->dims[1] != (packed ? row_bytes : (uint64_t)factor.cols) ||
        tensor->type != (packed ? OCLORA_TYPE_I8 : factor.type))
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s does not have the type and shape that the header gives it",
                           name);
    if ((uintptr_t)tensor->data % OCLORA_COMPACT_ALIGN != 0)
        return oclora_fail(err, OCLORA_FILE_FORMAT,
                           "tensor %s does not begin at a multiple of %d bytes: convert it anew",
                           name, OCLORA_COMPACT_ALIGN);
    OCLORA_TRY(oclora_image_borrow(&factor, tensor->data, err));
    float *row = oclora_alloc(&r->image->env, (size_t)factor.cols + 32, sizeof *row);
    if (row == NULL) return oclora_fail_memory(err, (size_t)factor.cols * sizeof *row, "a row");
    const oclora_status status = check_values(&factor, name, row, err);
    oclora_release(&r->image->env, row);
    r->factors[index] = factor;
    return status;
}

static oclora_status read_factors(reader *r, oclora_error *err)
{
    const json_t *list = json_object_get(r->head, "factors");
    r->n_factors = json_array_size(list);
    if (!json_is_array(list) || r->n_factors > FACTORS_MAX)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the header has no list of factors");
    r->factors = oclora_alloc(&r->image->env, r->n_factors, sizeof *r->factors);
    if (r->factors == NULL)
        return oclora_fail_memory(err, r->n_factors * sizeof *r->factors, "factors");
    for (size_t i = 0; i < r->n_factors; i++)
        OCLORA_TRY(read_factor(r, json_array_get(list, i), i, err));
    return OCLORA_OK;
}

/* The factor that `key` names, which must have `rows` rows and `cols` columns. */
static oclora_status take_factor(reader *r, const json_t *object, const char *key, uint32_t rows,
                                 uint32_t cols, oclora_factor *out, oclora_error *err)
{
    uint32_t index;
    if (!json_is_integer(json_object_get(object, key)))
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "%s names no factor", key);
    OCLORA_TRY(number(object, key, FACTORS_MAX, &index, err));
    if (index >= r->n_factors)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "%s is factor %u of %zu", key, (unsigned)index,
                           r->n_factors);
    const oclora_factor *factor = &r->factors[index];
    if (factor->rows != rows)
        return oclora_fail(err, OCLORA_RANK_MISMATCH, "%s has %u rows where %u are needed", key,
                           (unsigned)factor->rows, (unsigned)rows);
    if (cols != 0 && factor->cols != cols)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "%s has %u columns where %u are needed", key,
                           (unsigned)factor->cols, (unsigned)cols);
    *out = *factor;
    return OCLORA_OK;
}

/* --- modules --- */

static oclora_status read_vectors(reader *r, oclora_module *m, size_t index, oclora_error *err)
{
    oclora_compact_vector vectors[OCLORA_COMPACT_VECTORS];
    oclora_compact_vectors(m, vectors);
    for (size_t i = 0; i < OCLORA_COMPACT_VECTORS; i++) {
        char name[64];
        const uint64_t count =
            vectors[i].plain ? vectors[i].cols : vectors[i].rows * vectors[i].cols;
        snprintf(name, sizeof name, "vector.%zu.%s", index, vectors[i].field);
        const oclora_file_tensor *tensor = oclora_safetensors_find(&r->file, name);
        if (tensor == NULL) continue;
        r->n_used++;
        if (tensor->type != OCLORA_TYPE_F32)
            return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "tensor %s is not f32", name);
        OCLORA_TRY(oclora_vector_of(vectors[i].values, &r->image->env, tensor, count, err));
    }
    return OCLORA_OK;
}

static oclora_status read_router(reader *r, const json_t *entry, oclora_module *m, size_t index,
                                 oclora_error *err)
{
    const json_t *object = json_object_get(entry, "router");
    oclora_router *router = &m->router;
    const oclora_file_tensor *tensor;
    char name[64];
    float *pair = NULL;
    if (object == NULL) return OCLORA_OK;
    OCLORA_TRY(number(object, "kind", OCLORA_ROUTER_PAIRS, &router->kind, err));
    OCLORA_TRY(number(object, "n_experts", EXPERTS_MAX, &router->n_experts, err));
    OCLORA_TRY(number(object, "top_k", UINT8_MAX, &router->top_k, err));
    const uint32_t n = router->n_experts;
    if (router->kind == OCLORA_ROUTER_NONE || n == 0 || router->top_k == 0 || router->top_k > n ||
        m->group != 1 || m->n_mul != 0 || m->rank == 0 || m->d_in == 0)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the router does not fit the module");
    if (router->kind == OCLORA_ROUTER_PAIRS ? m->rank != n : m->rank % n != 0)
        return oclora_fail(err, OCLORA_RANK_MISMATCH, "rank %u does not fit %u experts",
                           (unsigned)m->rank, (unsigned)n);
    OCLORA_TRY(take_factor(r, object, "gate", n, m->d_in, &router->gate, err));
    if (router->kind == OCLORA_ROUTER_PAIRS)
        OCLORA_TRY(take_factor(r, object, "gate_b", n, m->d_in, &router->gate_b, err));
    if (router->gate.type == OCLORA_TYPE_Q8_0 || router->gate_b.type == OCLORA_TYPE_Q8_0)
        return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE, "a router's gate is never rounded");
    snprintf(name, sizeof name, "vector.%zu.router", index);
    OCLORA_TRY(find_tensor(r, name, &tensor, err));
    OCLORA_TRY(oclora_vector_of(&pair, &r->image->env, tensor, 2, err));
    router->temperature = pair[0];
    router->pair_weight = pair[1];
    oclora_release(&r->image->env, pair);
    if (router->kind == OCLORA_ROUTER_TOP_K && !(router->temperature > 0.0f))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the router's temperature is not above 0");
    return OCLORA_OK;
}

static oclora_status check_module(const oclora_module *m, oclora_error *err)
{
    if ((m->scale != NULL) != (m->rank != 0))
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "rank %u and its scale do not go together",
                           (unsigned)m->rank);
    if (m->n_mul != 0 && (m->rank != 0 || (m->mul_u == NULL && m->mul_v == NULL)))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "n_mul does not fit the other parts");
    if (m->magnitude != NULL && (m->rank == 0 || m->group != 1 || m->core != NULL || m->d_in == 0 ||
                                 m->router.kind != OCLORA_ROUTER_NONE))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "a magnitude does not fit the other parts");
    if (m->router.kind != OCLORA_ROUTER_NONE && m->core != NULL)
        return oclora_fail(err, OCLORA_FILE_FORMAT, "a router and a core together");
    if (m->rank == 0 && m->n_mul == 0 && m->u == NULL && m->c == NULL)
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "the module holds nothing");
    return OCLORA_OK;
}

static oclora_status fill_module(reader *r, const json_t *entry, oclora_module *m, size_t index,
                                 oclora_error *err)
{
    uint32_t a_cols = 0;
    OCLORA_TRY(number(entry, "d_in", OCLORA_DIM_MAX, &m->d_in, err));
    OCLORA_TRY(number(entry, "d_out", OCLORA_DIM_MAX, &m->d_out, err));
    OCLORA_TRY(number(entry, "rank", OCLORA_RANK_MAX, &m->rank, err));
    OCLORA_TRY(number(entry, "group", OCLORA_DIM_MAX, &m->group, err));
    OCLORA_TRY(number(entry, "n_mul", MUL_MAX, &m->n_mul, err));
    m->scales_bias = json_is_true(json_object_get(entry, "scales_bias"));
    if (m->group == 0 || (m->d_in == 0 ? m->group != 1 : m->d_in % m->group != 0))
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "groups of %u do not divide %u inputs",
                           (unsigned)m->group, (unsigned)m->d_in);
    if (m->rank != 0) {
        if (m->d_out == 0)
            return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "a rank, but no number of outputs");
        a_cols = m->d_in / m->group;
        OCLORA_TRY(take_factor(r, entry, "a", m->rank, a_cols, &m->a, err));
        OCLORA_TRY(take_factor(r, entry, "b", m->rank, m->d_out, &m->b, err));
    }
    OCLORA_TRY(read_router(r, entry, m, index, err));
    OCLORA_TRY(read_vectors(r, m, index, err));
    return check_module(m, err);
}

static oclora_status read_modules(reader *r, oclora_error *err)
{
    const json_t *list = json_object_get(r->head, "modules");
    size_t capacity = 0;
    if (!json_is_array(list))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "the header has no list of modules");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        oclora_module *module;
        if (name == NULL || name[0] == '\0')
            return oclora_fail(err, OCLORA_FILE_FORMAT, "module %zu has no name", i);
        OCLORA_TRY(oclora_image_add_module(r->image, &capacity, name, strlen(name), &module, err));
        const oclora_status status = fill_module(r, entry, module, i, err);
        if (status != OCLORA_OK) return oclora_error_prefix(err, status, "module %.200s", name);
    }
    return oclora_image_finish(r->image, err);
}

/* --- the file --- */

static oclora_kind kind_of(const char *name)
{
    static const struct {
        const char *name;
        oclora_kind kind;
    } kinds[] = {
#define OCLORA_COMPACT_KIND(id, code, text) {text, code},
        OCLORA_KIND_MAP(OCLORA_COMPACT_KIND)
#undef OCLORA_COMPACT_KIND
    };
    for (size_t i = 0; name != NULL && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0) return kinds[i].kind;
    return OCLORA_KIND_UNKNOWN;
}

static oclora_status read_head(reader *r, oclora_error *err)
{
    const char *kind = json_string_value(json_object_get(r->head, "kind"));
    const char *naming = json_string_value(json_object_get(r->head, "naming"));
    const char *architecture = json_string_value(json_object_get(r->head, "architecture"));
    uint32_t version;
    OCLORA_TRY(number(r->head, "version", UINT16_MAX, &version, err));
    if (version != OCLORA_COMPACT_VERSION)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "the file is of version %u, this library reads %d: convert it anew",
                           (unsigned)version, OCLORA_COMPACT_VERSION);
    r->image->kind = kind_of(kind);
    if (r->image->kind == OCLORA_KIND_UNKNOWN)
        return oclora_fail(err, OCLORA_UNKNOWN_KIND, "kind %.64s is not known",
                           kind != NULL ? kind : "(none)");
    if (naming == NULL || (strcmp(naming, "peft") != 0 && strcmp(naming, "gguf") != 0))
        return oclora_fail(err, OCLORA_FILE_FORMAT, "naming is neither peft nor gguf");
    r->image->naming = naming[0] == 'p' ? OCLORA_NAMING_PEFT : OCLORA_NAMING_GGUF;
    OCLORA_TRY(number(r->head, "task", UINT16_MAX, &r->image->task, err));
    OCLORA_TRY(number(r->head, "n_tasks", UINT16_MAX, &r->image->n_tasks, err));
    if (architecture != NULL)
        snprintf(r->image->architecture, sizeof r->image->architecture, "%s", architecture);
    return OCLORA_OK;
}

/* Nothing is skipped silently: what is not referred to must be padding. */
static oclora_status check_unused(const reader *r, oclora_error *err)
{
    size_t pads = 0;
    for (size_t i = 0; i < r->file.count; i++)
        pads += strncmp(r->file.tensors[i].name, "pad.", 4) == 0;
    if (r->n_used + pads == r->file.count) return OCLORA_OK;
    return oclora_fail(err, OCLORA_FILE_FORMAT, "%zu tensors of the file belong to nothing",
                       r->file.count - r->n_used - pads);
}

/* The header's text lies as a string in the file's metadata. */
static oclora_status parse_head(reader *r, oclora_error *err)
{
    json_error_t problem;
    const char *metadata = r->file.metadata_json != NULL ? r->file.metadata_json : "{}";
    json_t *outer = json_loads(metadata, JSON_REJECT_DUPLICATES, &problem);
    if (outer == NULL) return oclora_fail_json(err, &problem, "the metadata");
    const char *text = json_string_value(json_object_get(outer, OCLORA_COMPACT_KEY));
    oclora_status status = OCLORA_OK;
    if (text == NULL)
        status = oclora_fail(err, OCLORA_FILE_FORMAT,
                             "a safetensors file, but no compact adapter: give the PEFT folder, "
                             "with its adapter_config.json");
    else if (!oclora_json_is_modest(text, strlen(text), r->file_bytes))
        status = oclora_fail(err, OCLORA_FILE_FORMAT,
                             "the header of the compact adapter is too dense to be one");
    if (status == OCLORA_OK) {
        r->head = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
        if (r->head == NULL)
            status = oclora_fail_json(err, &problem, "the header of the compact adapter");
        else if (!json_is_object(r->head))
            status = oclora_fail(err, OCLORA_FILE_FORMAT,
                                 "the header of the compact adapter is no object");
    }
    json_decref(outer);
    return status;
}

static oclora_status read_all(reader *r, oclora_error *err)
{
    OCLORA_TRY(parse_head(r, err));
    OCLORA_TRY(read_head(r, err));
    OCLORA_TRY(read_factors(r, err));
    OCLORA_TRY(read_modules(r, err));
    return check_unused(r, err);
}

oclora_status oclora_load_compact(oclora_adapter_image *image, oclora_map *map, oclora_error *err)
{
    reader r = {.image = image, .file_bytes = map->size};
    oclora_status status = oclora_safetensors_parse(&r.file, &image->env, map, err);
    if (status == OCLORA_OK) status = read_all(&r, err);
    oclora_safetensors_free(&r.file);
    oclora_release(&image->env, r.factors);
    json_decref(r.head);
    if (status != OCLORA_OK) return status;
    image->map = *map;
    memset(map, 0, sizeof *map);
    return OCLORA_OK;
}
