#include "host/graph/runner_private.h"

#include <stdlib.h>
#include <string.h>

oclora_status oclora_runner_create(oclora_runner **out, oclora_stream *stream, oclora_error *err)
{
    const oclora_env *env = oclora_context_env(oclora_stream_context(stream));
    oclora_runner *made = oclora_alloc(env, 1, sizeof *made);
    if (made == NULL) return oclora_fail_memory(err, sizeof *made, "a runner");
    made->env = *env;
    made->stream = stream;
    const char *fuse = getenv("OCLORA_FUSE");
    made->fuse = fuse == NULL || strcmp(fuse, "0") != 0;
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
    oclora_buffer_destroy(runner->moved);
    for (uint32_t i = 0; i < OCLORA_ROW_SETS; i++) {
        oclora_row_work_destroy(runner->slots[i].work);
        oclora_release(&env, runner->slots[i].csr);
    }
    oclora_release(&env, runner->lanes_handles);
    oclora_release(&env, runner->scratch);
    oclora_release(&env, runner->staging);
    oclora_release(&env, runner->streams);
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

/* All that can be refused, before the first node is enqueued. */
static oclora_status prepare(oclora_run *run, oclora_error *err)
{
    oclora_runner *runner = run->runner;
    if (runner->session != run->session) (void)oclora_runner_bind(runner, run->session, NULL);
    OCLORA_TRY(oclora_context_health(oclora_stream_context(runner->stream), err));
    OCLORA_TRY(oclora_plan_cache_get(&runner->plans, &runner->env, run->graph, runner->fuse != 0,
                                     &run->plan, err));
    OCLORA_TRY(oclora_steps_check(runner, run->plan, err));
    return oclora_run_adapt(run, err);
}

static oclora_status execute(oclora_run *run, oclora_error *err)
{
    oclora_status status = oclora_run_steps(run, err);
    /* Also after a failure: what was enqueued may still use the adapters. */
    oclora_status finished =
        oclora_stream_finish(run->runner->stream, status == OCLORA_OK ? err : NULL);
    if (status == OCLORA_OK) status = finished;
    /* Uploads kept for later graphs may be among what was not done. */
    if (status != OCLORA_OK) oclora_runner_forget_adapters(run->runner);
    return status;
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
