/* report.c - what oclora-inspect prints. */
#include "host/base/layout.h"
#include "tools/inspect/inspect.h"
#include "tools/shared/layers.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static uint64_t unique_bytes(const oclora_adapter_image *image)
{
    uint64_t bytes = image->bytes;
    for (size_t i = 0; i < image->n_modules; i++)
        for (size_t j = 0; j < 2; j++) {
            const oclora_factor *f = j == 0 ? &image->modules[i].a : &image->modules[i].b;
            bool seen = j == 1 && f->data != NULL && f->data == image->modules[i].a.data;
            for (size_t k = 0; k < i && f->data != NULL && !seen; k++)
                seen = image->modules[k].a.data == f->data || image->modules[k].b.data == f->data;
            if (seen) bytes -= oclora_factor_bytes(f);
        }
    return bytes;
}

static void ranks(const oclora_adapter_image *image, uint32_t *least, uint32_t *most)
{
    *least = UINT32_MAX;
    *most = 0;
    for (size_t i = 0; i < image->n_modules; i++) {
        const oclora_module *m = &image->modules[i];
        const uint32_t rank = m->n_mul > m->rank ? m->n_mul : m->rank;
        if (rank < *least) *least = rank;
        if (rank > *most) *most = rank;
    }
}

static void hex(const uint8_t hash[32], char out[65])
{
    for (size_t i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

/* "core, beta" - what a module has beside A and B. */
static void extras(const oclora_module *m, char *out, size_t room)
{
    const struct {
        bool has;
        const char *name;
    } parts[] = {{m->core != NULL, "core"},
                 {m->u != NULL, "u"},
                 {m->beta != NULL, "beta"},
                 {m->c != NULL, "bias"},
                 {m->magnitude != NULL, "magnitude"},
                 {m->n_mul != 0, "multiplies"},
                 {m->group > 1, "pooled inputs"},
                 {m->router.kind == OCLORA_ROUTER_TOP_K, "router per row"},
                 {m->router.kind == OCLORA_ROUTER_PAIRS, "router per sequence"}};
    out[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t used = strlen(out);
        if (parts[i].has)
            snprintf(out + used, room - used, "%s%s", used != 0 ? ", " : "", parts[i].name);
    }
}

static void print_audit(const oclora_audit *audit)
{
    printf("    intruders:");
    for (uint32_t i = 0; i < audit->k; i++)
        if (audit->intruder[i]) printf(" %u (%.3f)", i, audit->similarity[i]);
    puts(audit->n_intruders == 0 ? " none" : "");
}

static void print_text(const oclora_adapter_image *image, const oclora_audit *audits,
                       const oclora_inspect_options *o)
{
    uint32_t least, most, total = 0;
    char hash[65], parts[160];
    ranks(image, &least, &most);
    hex(image->hash, hash);
    printf("kind     %s%s\n", oclora_kind_name(image->kind),
           image->naming == OCLORA_NAMING_GGUF ? " (GGUF names)" : "");
    if (image->n_tasks > 1) printf("task     %u of %u\n", image->task, image->n_tasks);
    printf("modules  %zu\nranks    %u to %u\n", image->n_modules, least, most);
    printf("bytes    %llu, %llu with shared factors once\nhash     %s\n",
           (unsigned long long)image->bytes, (unsigned long long)unique_bytes(image), hash);
    for (size_t i = 0; i < image->n_modules; i++) {
        const oclora_module *m = &image->modules[i];
        char in[16] = "?", out[16] = "?";
        if (m->d_in != 0) snprintf(in, sizeof in, "%u", m->d_in);
        if (m->d_out != 0) snprintf(out, sizeof out, "%u", m->d_out);
        extras(m, parts, sizeof parts);
        printf("  %-40s %s -> %s, rank %u%s%s%s%s\n", m->name, in, out,
               m->n_mul != 0 ? m->n_mul : m->rank, m->rank != 0 ? ", " : "",
               m->rank != 0 ? oclora_type_name(m->a.type) : "", parts[0] != '\0' ? ", " : "",
               parts);
        if (audits == NULL) continue;
        print_audit(&audits[i]);
        total += audits[i].n_intruders;
    }
    if (audits != NULL)
        printf("%u intruder dimensions among the leading %u of each module (similarity below %g)\n",
               total, o->k, o->epsilon);
    if (o->folder != NULL) printf("repaired adapter in %s (lambda %g)\n", o->folder, o->lambda);
}

static json_t *module_json(const oclora_module *m, const oclora_audit *audit)
{
    char parts[160];
    extras(m, parts, sizeof parts);
    json_t *out = json_pack("{s:s,s:i,s:i,s:i,s:i,s:i,s:s}", "name", m->name, "d_in", (int)m->d_in,
                            "d_out", (int)m->d_out, "rank", (int)m->rank, "multiplicative_rank",
                            (int)m->n_mul, "group", (int)m->group, "extras", parts);
    if (m->rank != 0) json_object_set_new(out, "type", json_string(oclora_type_name(m->a.type)));
    if (audit == NULL) return out;
    json_t *similarity = json_array(), *intruders = json_array();
    for (uint32_t i = 0; i < audit->k; i++) {
        json_array_append_new(similarity, json_real(audit->similarity[i]));
        if (audit->intruder[i]) json_array_append_new(intruders, json_integer(i));
    }
    json_object_set_new(out, "similarity", similarity);
    json_object_set_new(out, "intruders", intruders);
    return out;
}

static void print_json(const oclora_adapter_image *image, const oclora_audit *audits,
                       const oclora_inspect_options *o)
{
    uint32_t least, most;
    char hash[65];
    json_t *modules = json_array();
    ranks(image, &least, &most);
    hex(image->hash, hash);
    for (size_t i = 0; i < image->n_modules; i++)
        json_array_append_new(modules,
                              module_json(&image->modules[i], audits != NULL ? &audits[i] : NULL));
    json_t *root = json_pack(
        "{s:s,s:s,s:i,s:i,s:i,s:i,s:I,s:I,s:s,s:o}", "kind", oclora_kind_name(image->kind),
        "naming", image->naming == OCLORA_NAMING_GGUF ? "gguf" : "peft", "task", (int)image->task,
        "tasks", (int)image->n_tasks, "rank_min", (int)least, "rank_max", (int)most, "bytes",
        (json_int_t)image->bytes, "unique_bytes", (json_int_t)unique_bytes(image), "hash", hash,
        "modules", modules);
    if (audits != NULL)
        json_object_set_new(
            root, "audit",
            json_pack("{s:i,s:f,s:f}", "k", (int)o->k, "epsilon", o->epsilon, "lambda", o->lambda));
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
}

void oclora_inspect_report(const oclora_adapter_image *image, const oclora_audit *audits,
                           const oclora_inspect_options *options)
{
    if (options->json)
        print_json(image, audits, options);
    else
        print_text(image, audits, options);
}
