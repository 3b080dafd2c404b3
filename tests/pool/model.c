#include "model.h"

enum { DEAD_SLOTS = 1 << 20 };

bool model_open(model *m)
{
    memset(m, 0, sizeof *m);
    m->dead = calloc(DEAD_SLOTS, sizeof *m->dead);
    return m->dead != NULL && pthread_mutex_init(&m->lock, NULL) == 0;
}

void model_close(model *m)
{
    pthread_mutex_destroy(&m->lock);
    free(m->dead);
}

static model_dead *dead_place(model *m, oclora_adapter_handle handle)
{
    size_t at = (size_t)(handle * 0x9e3779b97f4a7c15u >> 44);
    while (m->dead[at].handle != 0 && m->dead[at].handle != handle) at = (at + 1) % DEAD_SLOTS;
    return &m->dead[at];
}

static model_call begin(model *m, uint32_t name, model_kind kind, uint32_t held, uint32_t pins)
{
    pthread_mutex_lock(&m->lock);
    model_name *now = &m->names[name];
    now->held -= held;
    now->pins -= pins;
    const model_call call = {m, name, kind, ++m->clock, *now, *now};
    if (kind != MODEL_LOOK) {
        now->began++;
        now->in_flight++;
    }
    now->drops += kind == MODEL_DROP;
    now->removals += kind == MODEL_REMOVE;
    now->removing += kind == MODEL_REMOVE;
    pthread_mutex_unlock(&m->lock);
    return call;
}

model_call model_begin(model *m, uint32_t name, model_kind kind)
{
    return begin(m, name, kind, 0, 0);
}

model_call model_drop(model *m, uint32_t name, uint32_t held, uint32_t pins)
{
    return begin(m, name, MODEL_DROP, held, pins);
}

static void end_share(model_call *call)
{
    model_name *now = &call->of->names[call->name];
    if (call->kind != MODEL_LOOK) now->in_flight--;
    now->removing -= call->kind == MODEL_REMOVE;
    call->after = *now;
    call->after.began -= call->kind != MODEL_LOOK;
    call->after.drops -= call->kind == MODEL_DROP;
    call->after.removals -= call->kind == MODEL_REMOVE;
}

void model_end(model_call *calls, uint32_t count)
{
    pthread_mutex_lock(&calls->of->lock);
    for (uint32_t i = 0; i < count; i++) end_share(&calls[i]);
}

void model_done(model_call *calls)
{
    pthread_mutex_unlock(&calls->of->lock);
}

bool model_quiet(const model_call *call)
{
    return call->before.in_flight == 0 && call->after.began == call->before.began;
}

bool model_may_be_gone(const model_call *call)
{
    return !call->before.live || call->before.removing > 0 ||
           call->after.removals != call->before.removals;
}

bool model_may_be_idle(const model_call *call)
{
    return call->before.held + call->before.pins == 0 || call->after.drops != call->before.drops;
}

bool model_may_be_busy(const model_call *call)
{
    return call->before.held + call->before.pins > 0 || !model_quiet(call);
}

bool model_loaded(model_call *call, const image_spec *spec, oclora_status status,
                  oclora_adapter_handle handle)
{
    model_name *now = &call->of->names[call->name];
    const model_name *was = &call->before;
    const bool same = memcmp(spec, &was->spec, sizeof *spec) == 0;
    if (status == OCLORA_ALREADY_EXISTS)
        return !(model_quiet(call) && !was->live) && !(same && !model_may_be_gone(call));
    if (status != OCLORA_OK || handle == 0) return false;
    if (!model_may_be_gone(call)) return same && handle == was->handle;
    const model_dead *dead = dead_place(call->of, handle);
    if (dead->handle == handle) return dead->when > call->when; /* died meanwhile, or never again */
    if (now->live && now->handle == handle) return !model_quiet(call);
    if (now->held + now->pins > 0) return false; /* whoever holds the one before has lost it */
    now->handle = handle;
    now->spec = *spec;
    now->live = true;
    return true;
}

bool model_removed(model_call *call, oclora_status status, bool held_by_caller)
{
    model_name *now = &call->of->names[call->name];
    if (status == OCLORA_STALE_HANDLE) return model_may_be_gone(call);
    if (!call->before.live) return false;
    if (status == OCLORA_ADAPTER_IN_USE) return model_may_be_busy(call);
    if (status != OCLORA_OK || held_by_caller || !model_may_be_idle(call)) return false;
    *dead_place(call->of, call->before.handle) =
        (model_dead){call->before.handle, ++call->of->clock};
    if (now->handle != call->before.handle) return true; /* another has the name already */
    now->live = false;
    return now->held + now->pins == 0;
}

bool model_taken(model_call *call, uint32_t held, uint32_t pins)
{
    model_name *now = &call->of->names[call->name];
    if (!call->before.live || !now->live || now->handle != call->before.handle) return false;
    now->held += held;
    now->pins += pins;
    return true;
}
