#include "host/graph/runner_private.h"

oclora_status oclora_runner_create(oclora_runner **out, oclora_stream *stream, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    oclora_runner *made = oclora_alloc(env, 1, sizeof *made);
    if (made == NULL) return oclora_fail_memory(err, sizeof *made, "a runner");
    made->env = *env;
    made->stream = stream;
    *out = made;
    return OCLORA_OK;
}

void oclora_runner_destroy(oclora_runner *runner)
{
    if (runner == NULL) return;
    oclora_env env = runner->env;
    (void)oclora_stream_finish(runner->stream, NULL);
    (void)oclora_runner_bind(runner, NULL, NULL);
    oclora_plan_cache_clear(&runner->plans);
    oclora_lane_table_destroy(runner->lanes);
    for (uint32_t i = 0; i < OCLORA_ROW_SETS; i++) {
        oclora_row_work_destroy(runner->slots[i].work);
        oclora_release(&env, runner->slots[i].csr);
    }
    oclora_release(&env, runner->lanes_handles);
    oclora_release(&env, runner->scratch);
    oclora_release(&env, runner->staging);
    oclora_release(&env, runner->streams);
    oclora_release(&env, runner->plain);
    oclora_release(&env, runner);
}

oclora_status oclora_runner_bind(oclora_runner *runner, oclora_session *session, oclora_error *err)
{
    if (runner->session != session) {
        if (runner->session != NULL) oclora_session_detach(runner->session);
        oclora_runner_forget_adapters(runner);
        runner->session = session;
        if (session != NULL) oclora_session_attach(session);
    }
    if (session == NULL) return OCLORA_OK;
    return oclora_session_check(session, oclora_session_is_mapped(session), err);
}

/* Steps the device cannot run are found before anything of the graph is enqueued. */
static oclora_status check_plan(oclora_runner *runner, oclora_plan *plan, oclora_error *err)
{
    if (plan->checked) return OCLORA_OK;
    for (uint32_t i = 0; i < plan->n_steps; i++) {
        const oclora_step *step = &plan->steps[i];
        if (step->kind == OCLORA_STEP_LINEAR &&
            plan->graph.tensors[step->weight].weight->layout == OCLORA_LAYOUT_PANEL)
            continue;
        oclora_op_call call;
        const oclora_node *node = &plan->graph.nodes[step->node];
        oclora_plan_call(&plan->graph, node, &call);
        if (oclora_op_supported(oclora_stream_context(runner->stream), &call)) continue;
        const oclora_tensor *d = &call.dst;
        return oclora_fail(err, OCLORA_NOT_SUPPORTED,
                           "graph node %u, %s giving %s [%llu, %llu, %llu, %llu], is not supported "
                           "on this device",
                           step->node, oclora_op_name(node->op), oclora_type_name(d->type),
                           (unsigned long long)d->ne[0], (unsigned long long)d->ne[1],
                           (unsigned long long)d->ne[2], (unsigned long long)d->ne[3]);
    }
    plan->checked = 1;
    return OCLORA_OK;
}

static oclora_status run_op(const oclora_run *run, const oclora_step *step, oclora_error *err)
{
    const oclora_node *node = &run->graph->nodes[step->node];
    oclora_op_call call;
    oclora_plan_call(run->graph, node, &call);
    if (run->runner->n_plain > 0) {
        oclora_run_plain_replace(run, node->dst, &call.dst);
        for (uint32_t s = 0; s < call.n_src; s++)
            oclora_run_plain_replace(run, node->src[s], &call.src[s]);
    }
    return oclora_op_run(run->runner->stream, &call, err);
}

static oclora_status run_linear(const oclora_run *run, const oclora_step *step, oclora_error *err)
{
    const oclora_runner *runner = run->runner;
    const oclora_node *node = &run->graph->nodes[step->node];
    const oclora_weight *weight = run->graph->tensors[step->weight].weight;
    const oclora_tensor *x = &run->graph->tensors[node->src[1]].view;
    const oclora_tensor *y = &run->graph->tensors[node->dst].view;
    uint32_t flags = 0;
    if (weight->layout == OCLORA_LAYOUT_PLAIN) { /* shapes that fit no panel */
        OCLORA_TRY(run_op(run, step, err));
        flags = OCLORA_LINEAR_DELTA_ONLY;
    }
    bool adapted = run->adapted && oclora_assignment_targets(run->map, weight->id) &&
                   runner->slots[step->row_set].ready;
    if (flags != 0 && !adapted) return OCLORA_OK;
    return oclora_linear(runner->stream, weight, x, NULL, y, adapted ? runner->lanes : NULL,
                         adapted ? runner->slots[step->row_set].work : NULL, flags, err);
}

static oclora_status run_steps(const oclora_run *run, oclora_error *err)
{
    for (uint32_t i = 0; i < run->plan->n_steps; i++) {
        const oclora_step *step = &run->plan->steps[i];
        oclora_status status =
            step->kind == OCLORA_STEP_LINEAR ? run_linear(run, step, err) : run_op(run, step, err);
        if (status != OCLORA_OK)
            return oclora_error_prefix(err, status, "graph node %u (%s)", step->node,
                                       oclora_op_name(run->graph->nodes[step->node].op));
    }
    return OCLORA_OK;
}

/* All that can be refused, before the first node is enqueued. */
static oclora_status prepare(oclora_run *run, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    if (runner->session != run->session) (void)oclora_runner_bind(runner, run->session, NULL);
    OCLORA_TRY(oclora_context_health(oclora_stream_context(runner->stream), err));
    OCLORA_TRY(oclora_plan_cache_get(&runner->plans, &runner->env, run->graph, &run->plan, err));
    OCLORA_TRY(check_plan(runner, run->plan, err));
    OCLORA_TRY(oclora_run_adapt(run, err));
    return oclora_run_plain_begin(run, err);
}

static oclora_status execute(oclora_run *run, oclora_error *err)
{
    oclora_status status = run_steps(run, err);
    /* Also after a failure: what was enqueued may still use the adapters. */
    oclora_status finished =
        oclora_stream_finish(run->runner->stream, status == OCLORA_OK ? err : NULL);
    if (status == OCLORA_OK) status = finished;
    return status == OCLORA_OK ? oclora_run_plain_end(run, err) : status;
}

oclora_status oclora_runner_run(oclora_runner *runner, oclora_session *session,
                                const oclora_graph *graph, oclora_error *err)
{
    oclora_error own = {0};
    oclora_run run = {.runner = runner, .session = session, .graph = graph};
    uint64_t launches = oclora_stream_get_stats(runner->stream).launches;

    oclora_status status = prepare(&run, &own);
    bool refused = status != OCLORA_OK;
    if (!refused) status = execute(&run, &own);

    oclora_run_plain_free(&run);
    if (run.held)
        oclora_pool_release(oclora_session_pool(session), run.map->handles, run.map->n_handles);
    if (run.map != NULL) oclora_session_drop(session, run.map);
    if (status == OCLORA_OK && session != NULL) {
        launches = oclora_stream_get_stats(runner->stream).launches - launches;
        oclora_graph_account account = {run.plan->rows.n_tokens, run.adapted_rows, launches};
        oclora_session_account(session, &account);
    }
    if (status != OCLORA_OK) {
        if (session != NULL) oclora_session_note(session, &own, refused);
        if (err != NULL) *err = own;
    }
    return status;
}
