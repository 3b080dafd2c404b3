/* report.c - what oclora-apply prints. */
#include "tools/apply/apply.h"

#include <math.h>
#include <stdio.h>

static bool is_within(const oclora_apply_result *result)
{
    return result->error <= result->bound;
}

static const char *kind_of(const oclora_apply *a)
{
    if (a->several) return "several";
    return a->kind != 0 ? oclora_kind_name(a->kind) : "none";
}

static void print_text(const oclora_apply *a, bool all)
{
    printf("%s: kind %s, store %s, on %s\n", a->file.kind, kind_of(a),
           oclora_store_name(a->options->store), a->layers.device);
    for (size_t i = 0; i < a->n_results; i++) {
        const oclora_apply_result *r = &a->results[i];
        printf("  %-34s %-20s %4u rows  ", r->module, r->field, r->rows);
        if (r->reason[0] != '\0')
            printf("%s\n", r->reason);
        else
            printf("%.2e of %.0e%s\n", r->error, r->bound, is_within(r) ? "" : "  TOO MUCH");
    }
    puts(all ? "within tolerance" : "NOT within tolerance");
}

static void print_json(const oclora_apply *a, bool all)
{
    json_t *outputs = json_array();
    for (size_t i = 0; i < a->n_results; i++) {
        const oclora_apply_result *r = &a->results[i];
        json_t *one = json_pack("{s:s,s:s,s:i,s:f,s:b}", "module", r->module, "output", r->field,
                                "rows", (int)r->rows, "bound", r->bound, "within", is_within(r));
        json_object_set_new(one, "error", isfinite(r->error) ? json_real(r->error) : json_null());
        if (r->digest[0] != '\0') json_object_set_new(one, "sha256", json_string(r->digest));
        if (r->reason[0] != '\0') json_object_set_new(one, "reason", json_string(r->reason));
        json_array_append_new(outputs, one);
    }
    json_t *root = json_pack("{s:s,s:s,s:s,s:s,s:o,s:b}", "case", a->file.kind, "kind", kind_of(a),
                             "store", oclora_store_name(a->options->store), "device",
                             a->layers.device, "outputs", outputs, "within", all);
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(root);
}

bool oclora_apply_report(const oclora_apply *apply)
{
    bool all = apply->n_results > 0;
    for (size_t i = 0; i < apply->n_results; i++)
        if (!is_within(&apply->results[i])) all = false;
    if (apply->options->json)
        print_json(apply, all);
    else
        print_text(apply, all);
    return all;
}
