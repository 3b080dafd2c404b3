/* coverage.c - holds what the self-test launched against what there is: every kernel of every file
 * of cl/, as the driver lists them for the class. A kernel without a case is named in the report,
 * and fails a test of this project. */
#include "tools/clinfo-bench/selftest.h"

#include "host/core/program.h"
#include "host/core/source.h"

#include <stdlib.h>
#include <string.h>

static void note_launch(void *user, const oclora_kernel_ref *kernel)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %s%s%s", kernel->file, kernel->entry,
             kernel->defines[0] ? " " : "", kernel->defines);
    json_array_append_new(user, json_string(text));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

static json_t *sorted(json_t *list)
{
    const size_t n = json_array_size(list);
    json_t **items = calloc(n + 1, sizeof(json_t *)), *out = json_array();
    for (size_t i = 0; items && i < n; i++) items[i] = json_array_get(list, i);
    if (items) qsort(items, n, sizeof *items, compare_texts);
    for (size_t i = 0; items && i < n; i++) json_array_append(out, items[i]);
    free(items);
    json_decref(list);
    return out;
}

/* Launched under any defines. A file that includes another holds the kernels of both. */
static bool is_launched(const json_t *launched, const char *entry, size_t length)
{
    size_t i;
    json_t *text;
    json_array_foreach(launched, i, text)
    {
        const char *at = strstr(json_string_value(text), ": ");
        if (at && !strncmp(at + 2, entry, length) && (at[2 + length] == ' ' || !at[2 + length]))
            return true;
    }
    return false;
}

/* Of a pair of kernels each class launches its own; lora_fused is for the CPU class alone. */
static bool is_of_other_class(const selftest *t, const char *entry, size_t length)
{
    if (t->child->device_class == OCLORA_CLASS_GPU && !strncmp(entry, "lora_fused", length))
        return true;
    const char *other = t->child->device_class == OCLORA_CLASS_GPU ? "_cpu" : "_gpu";
    return length > 4 && !strncmp(entry + length - 4, other, 4);
}

static void check_file(selftest *t, const char *file, const json_t *launched, json_t *missing)
{
    oclora_error err = {0};
    char *names = NULL, text[160];
    if (oclora_context_kernel_names(t->context, file, "", &names, &err)) {
        snprintf(text, sizeof text, "%s: %.100s", file, err.text);
        json_array_append_new(missing, json_string(text));
        return;
    }
    for (const char *at = names; *at;) {
        const size_t length = strcspn(at, ";");
        snprintf(text, sizeof text, "%s: %.*s", file, (int)length, at);
        if (length && !is_of_other_class(t, at, length) && !is_launched(launched, at, length))
            json_array_append_new(missing, json_string(text));
        at += length + (at[length] == ';');
    }
    oclora_release(&t->child->env, names);
}

void bench_report_coverage(selftest *t)
{
    json_t *missing = json_array(), *launched = json_array(), *item = json_object();
    oclora_stream_each_kernel(t->stream, note_launch, launched);
    launched = sorted(launched);
    for (const oclora_source *s = oclora_sources; s->name; s++)
        if (strstr((const char *)s->text, "__kernel") &&
            (strcmp(s->name, "chain") || oclora_stream_chains(t->stream)))
            check_file(t, s->name, launched, missing);
    const size_t n = json_array_size(missing), all = json_array_size(launched);
    json_object_set_new(item, "launched", launched);
    json_object_set_new(item, "not_launched", missing);
    bench_result(t->child, n ? "note" : "pass", item,
                 "%zu kernels and variants launched, %zu kernels without a case", all, n);
}
