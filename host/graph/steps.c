/* steps.c - a plan's steps as calls of the operators. */
#include "host/graph/fuse.h"
#include "host/graph/memory.h"
#include "host/graph/runner_private.h"

/* Steps of several nodes reach memory without the operators' own checks. */
static oclora_status check_place(const oclora_graph *graph, int32_t tensor, oclora_error *err)
{
    if (tensor < 0) return OCLORA_OK;
    const oclora_tensor *t = &graph->tensors[tensor].view;
    if (t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3] == 0) return OCLORA_OK;
    if (t->buffer != NULL && oclora_tensor_end(t) <= oclora_buffer_bytes(t->buffer))
        return OCLORA_OK;
    return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                       "graph tensor %d ends at byte %llu, outside its buffer", (int)tensor,
                       (unsigned long long)oclora_tensor_end(t));
}

static oclora_status check_member(oclora_runner *runner, const oclora_graph *graph, int32_t member,
                                  oclora_error *err)
{
    oclora_op_call call;
    if (member < 0) return OCLORA_OK;
    const oclora_node *node = &graph->nodes[member];
    OCLORA_TRY(check_place(graph, node->dst, err));
    for (uint32_t s = 0; s < OCLORA_NODE_SOURCES; s++)
        OCLORA_TRY(check_place(graph, node->src[s], err));
    oclora_plan_call(graph, node, &call);
    if (oclora_op_supported(oclora_stream_context(runner->stream), &call)) return OCLORA_OK;
    const oclora_tensor *d = &call.dst;
    return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                       "graph node %d, %s giving %s [%llu, %llu, %llu, %llu], is not supported on "
                       "this device",
                       (int)member, oclora_op_name(node->op), oclora_type_name(d->type),
                       (unsigned long long)d->ne[0], (unsigned long long)d->ne[1],
                       (unsigned long long)d->ne[2], (unsigned long long)d->ne[3]);
}

/* One buffer serves the plans of a runner in turn; a run ends with all its work done. */
static oclora_status place(oclora_runner *runner, oclora_plan *plan, oclora_error *err)
{
    uint64_t have = runner->moved != NULL ? oclora_buffer_bytes(runner->moved) : 0;
    if (plan->moved_bytes > have) {
        oclora_buffer *made = NULL;
        OCLORA_TRY(oclora_buffer_create(&made, oclora_stream_context(runner->stream),
                                        plan->moved_bytes, err));
        oclora_buffer_destroy(runner->moved);
        runner->moved = made;
    }
    oclora_plan_place(plan, runner->moved);
    return OCLORA_OK;
}

oclora_status oclora_steps_check(oclora_runner *runner, oclora_plan *plan, oclora_error *err)
{
    OCLORA_TRY(place(runner, plan, err));
    if (plan->checked) return OCLORA_OK;
    for (uint32_t i = 0; i < plan->n_steps; i++)
        for (uint32_t m = 0; m < OCLORA_STEP_MEMBERS; m++)
            OCLORA_TRY(check_member(runner, &plan->graph, plan->steps[i].member[m], err));
    plan->checked = 1;
    return OCLORA_OK;
}

static oclora_status run_products(const oclora_run *run, const oclora_step *step, oclora_error *err)
{
    const oclora_runner *runner = run->runner;
    oclora_group_call call;
    oclora_step_group_call(&run->plan->placed, step, &call);
    for (uint32_t i = 0; i < call.count; i++)
        if (run->adapted && oclora_assignment_targets(run->map, call.weight[i]->id) &&
            runner->slots[step->row_set].ready)
            call.work[i] = runner->slots[step->row_set].work;
    return oclora_linear_group(runner->stream, &call, runner->lanes, err);
}

static oclora_status run_step(const oclora_run *run, const oclora_step *step, oclora_error *err)
{
    oclora_stream *stream = run->runner->stream;
    switch (step->kind) {
    case OCLORA_STEP_LINEAR:
        return run_products(run, step, err);
    case OCLORA_STEP_NORM: {
        oclora_norm_call call;
        oclora_step_norm_call(&run->plan->placed, step, &call);
        return oclora_add_norm(stream, &call, err);
    }
    case OCLORA_STEP_ROPE: {
        oclora_rope_call call;
        oclora_step_rope_call(&run->plan->placed, step, &call);
        return oclora_rope_store(stream, &call, err);
    }
    default: {
        oclora_op_call call;
        oclora_plan_call(&run->plan->placed, &run->plan->placed.nodes[step->member[0]], &call);
        return oclora_op_run(stream, &call, err);
    }
    }
}

static oclora_status run_each(const oclora_run *run, oclora_error *err)
{
    for (uint32_t i = 0; i < run->plan->n_steps; i++) {
        const oclora_step *step = &run->plan->steps[i];
        oclora_status status = run_step(run, step, err);
        if (status != OCLORA_OK)
            return oclora_error_prefix(err, status, "graph node %u (%s)", step->at,
                                       oclora_op_name(run->plan->placed.nodes[step->at].op));
    }
    return OCLORA_OK;
}

oclora_status oclora_run_steps(const oclora_run *run, oclora_error *err)
{
    oclora_stream *stream = run->runner->stream;
    const uint32_t rows = run->plan->rows.n_tokens; /* 0: not known */
    if (rows > 0) oclora_stream_chain_begin(stream, rows);
    oclora_status status = run_each(run, err);
    oclora_status ended = oclora_stream_chain_end(stream, status == OCLORA_OK ? err : NULL);
    return status == OCLORA_OK ? ended : status;
}
