/* report.c - times beside the paper's condition. */
#include "tools/flora-cost/cost.h"

#include <jansson.h>
#include <stdio.h>

double oclora_cost_ratio(const oclora_cost *cost, const oclora_cost_row *row, double lora)
{
    const oclora_cost_options *o = cost->options;
    const double rows = (double)o->examples * o->tokens, d = o->width;
    const double c1 = (lora - cost->base) / (2.0 * d * rows * row->rank);
    const double c2 = cost->base / (rows * d * d);
    return c1 > 0.0 ? c1 / c2 : 0.0;
}

double oclora_cost_condition(const oclora_cost *cost, const oclora_cost_row *row, double lora)
{
    return 2.0 * oclora_cost_ratio(cost, row, lora) / cost->options->width + 1.0 / row->rank;
}

static bool agree(const oclora_cost *cost)
{
    for (uint32_t i = 0; i < cost->options->n_ranks; i++)
        if (!(cost->rows[i].difference < 1e-5)) return false;
    return true;
}

/* "1.23, FLoRA" - the condition, and which of the two was in fact faster. */
static void print_against(const oclora_cost *cost, const oclora_cost_row *row, double lora)
{
    printf("  %9.2f  %9.3f  %-6s", oclora_cost_ratio(cost, row, lora),
           oclora_cost_condition(cost, row, lora), row->flora <= lora ? "FLoRA" : "LoRA");
}

static void print_text(const oclora_cost *cost)
{
    const oclora_cost_options *o = cost->options;
    printf("layer %u x %u, %u examples of %u rows, each its own adapter, on %s\n", o->width,
           o->width, o->examples, o->tokens, cost->device.device);
    printf("base alone %.3f ms; shortest of %u turns\n\n", 1e3 * cost->base, o->repeats);
    puts("                  ms              |  against segmented LoRA       |  against one call "
         "each");
    puts("rank  segmented  separate     FLoRA      c1/c2  condition  faster      c1/c2  condition  "
         "faster");
    for (uint32_t i = 0; i < o->n_ranks; i++) {
        const oclora_cost_row *r = &cost->rows[i];
        printf("%4u  %9.3f %9.3f %9.3f", r->rank, 1e3 * r->segmented, 1e3 * r->separate,
               1e3 * r->flora);
        print_against(cost, r, r->segmented);
        print_against(cost, r, r->separate);
        puts("");
    }
    puts("\ncondition: 2 c1 / (d c2) + 1 / r; where it is 1 or more, FLoRA should be the faster "
         "one");
}

static void print_json(const oclora_cost *cost, bool ok)
{
    const oclora_cost_options *o = cost->options;
    json_t *rows = json_array();
    for (uint32_t i = 0; i < o->n_ranks; i++) {
        const oclora_cost_row *r = &cost->rows[i];
        json_array_append_new(
            rows,
            json_pack("{s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "rank", (int)r->rank, "segmented_s",
                      r->segmented, "separate_s", r->separate, "flora_s", r->flora,
                      "segmented_c1_c2", oclora_cost_ratio(cost, r, r->segmented), "separate_c1_c2",
                      oclora_cost_ratio(cost, r, r->separate), "segmented_condition",
                      oclora_cost_condition(cost, r, r->segmented), "separate_condition",
                      oclora_cost_condition(cost, r, r->separate), "difference", r->difference));
    }
    json_t *root =
        json_pack("{s:s,s:i,s:i,s:i,s:i,s:f,s:o,s:b}", "device", cost->device.device, "width",
                  (int)o->width, "examples", (int)o->examples, "tokens", (int)o->tokens, "repeats",
                  (int)o->repeats, "base_s", cost->base, "ranks", rows, "agree", ok);
    json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
    putchar('\n');
    json_decref(root);
}

bool oclora_cost_report(const oclora_cost *cost)
{
    const bool ok = agree(cost);
    if (cost->options->json)
        print_json(cost, ok);
    else
        print_text(cost);
    if (!ok) fputs("oclora-flora-cost: the two ways of LoRA give different results\n", stderr);
    return ok;
}
