/* plain.c - operators other than the product see a PANEL weight in plain order, as the host stored
 * it. Rare (a table that is both embedding and head, a host's own tests), so a copy per run is
 * enough and can never be stale. */
#include "host/graph/runner_private.h"

static oclora_status copy_weight(oclora_run *run, oclora_plain_copy *copy, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    const oclora_weight *w = copy->weight;
    OCLORA_TRY(
        oclora_buffer_create(&copy->buffer, oclora_stream_context(runner->stream), w->bytes, err));
    void *bytes = oclora_alloc(&runner->env, 1, (size_t)w->bytes);
    if (bytes == NULL) return oclora_fail_memory(err, (size_t)w->bytes, "a plain copy of a weight");
    oclora_status status = oclora_weight_read(w, runner->stream, 0, bytes, w->bytes, err);
    if (status == OCLORA_OK)
        status = oclora_stream_write(runner->stream, copy->buffer, 0, bytes, w->bytes, err);
    oclora_release(&runner->env, bytes);
    return status;
}

oclora_status oclora_run_plain_begin(oclora_run *run, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    const oclora_plan *plan = run->plan;
    OCLORA_TRY(oclora_reserve(&runner->env, &runner->plain, &runner->plain_capacity, plan->n_plain,
                              sizeof *runner->plain, err));
    for (uint32_t i = 0; i < plan->n_plain; i++) {
        const oclora_graph_tensor *root = &run->graph->tensors[plan->plain[i].root];
        oclora_plain_copy *copy = &runner->plain[runner->n_plain++];
        *copy =
            (oclora_plain_copy){NULL, root->weight, plan->plain[i].root, plan->plain[i].written};
        if (copy->weight == NULL)
            return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                               "graph tensor %d views a repacked weight that is not its root",
                               (int)copy->root);
        OCLORA_TRY(copy_weight(run, copy, err));
    }
    return OCLORA_OK;
}

oclora_status oclora_run_plain_end(oclora_run *run, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    oclora_status status = OCLORA_OK;
    for (uint32_t i = 0; status == OCLORA_OK && i < runner->n_plain; i++) {
        const oclora_plain_copy *copy = &runner->plain[i];
        if (!copy->written) continue;
        void *bytes = oclora_alloc(&runner->env, 1, (size_t)copy->weight->bytes);
        if (bytes == NULL)
            return oclora_fail_memory(err, (size_t)copy->weight->bytes,
                                      "a weight written by an op");
        status =
            oclora_stream_read(runner->stream, copy->buffer, 0, bytes, copy->weight->bytes, err);
        if (status == OCLORA_OK)
            status = oclora_weight_write(copy->weight, runner->stream, 0, bytes,
                                         copy->weight->bytes, err);
        oclora_release(&runner->env, bytes);
    }
    return status;
}

void oclora_run_plain_free(oclora_run *run)
{
    oclora_runner *runner = run->runner;
    for (uint32_t i = 0; i < runner->n_plain; i++) oclora_buffer_destroy(runner->plain[i].buffer);
    runner->n_plain = 0;
}

void oclora_run_plain_replace(const oclora_run *run, int32_t tensor, oclora_tensor *view)
{
    const oclora_runner *runner = run->runner;
    if (tensor < 0) return;
    for (uint32_t i = 0; i < runner->n_plain; i++) {
        const oclora_plain_copy *copy = &runner->plain[i];
        if (copy->root != run->graph->tensors[tensor].root) continue;
        view->buffer = copy->buffer;
        view->offset -= copy->weight->offset;
        return;
    }
}
