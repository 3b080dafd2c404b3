#include "host/serve/engine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool oclora_layer_type_served(oclora_type type)
{
    return oclora_panel_fits(type, 256, OCLORA_PANEL_ROWS);
}

static oclora_status check_spec(const oclora_layer_spec *spec, oclora_error *err)
{
    const uint64_t row = oclora_type_row_bytes(spec->type, spec->d_in);
    if (!oclora_layer_type_served(spec->type))
        return oclora_fail(err, OCLORA_UNSUPPORTED_DTYPE,
                           "weight '%s': type %u (%s) is not served here", spec->name, spec->type,
                           oclora_type_name(spec->type));
    if (spec->d_in == 0 || spec->d_out == 0 || spec->d_in > OCLORA_DIM_MAX ||
        spec->d_out > OCLORA_DIM_MAX || row == 0)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "weight '%s': [%u, %u] is empty, too large, or not whole blocks of %s",
                           spec->name, spec->d_out, spec->d_in, oclora_type_name(spec->type));
    if (spec->data == NULL || spec->data_bytes != row * spec->d_out)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "weight '%s': [%u, %u] of %s has %llu bytes, %llu were given",
                           spec->name, spec->d_out, spec->d_in, oclora_type_name(spec->type),
                           (unsigned long long)(row * spec->d_out),
                           (unsigned long long)(spec->data == NULL ? 0 : spec->data_bytes));
    for (uint32_t i = 0; spec->bias != NULL && i < spec->d_out; i++)
        if (!isfinite(spec->bias[i]))
            return oclora_fail(err, OCLORA_NOT_FINITE, "weight '%s': bias value %u is not finite",
                               spec->name, i);
    return OCLORA_OK;
}

static oclora_status upload(oclora_engine *engine, const oclora_weight *weight, const void *data,
                            uint64_t bytes, oclora_error *err)
{
    pthread_mutex_lock(&engine->read_lock);
    const oclora_status status = oclora_weight_write(weight, engine->reader, 0, data, bytes, err);
    pthread_mutex_unlock(&engine->read_lock);
    return status;
}

/* The bias is a weight as well, so that adapters which scale it find it. */
static oclora_status add_bias(oclora_layer *layer, const oclora_layer_spec *spec, oclora_error *err)
{
    char name[OCLORA_WEIGHT_NAME];
    const int length = snprintf(name, sizeof name, "%s.bias", spec->name);
    if (length < 0 || (size_t)length >= sizeof name)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT, "weight name '%s' is too long",
                           spec->name);
    const uint64_t bytes = (uint64_t)spec->d_out * sizeof(float);
    const oclora_weight *bias = NULL;
    OCLORA_TRY(oclora_buffer_create(&layer->bias, layer->engine->context, bytes, err));
    OCLORA_TRY(oclora_base_add(layer->engine->base, name, OCLORA_TYPE_F32, spec->d_out, 1,
                               layer->bias, 0, &bias, err));
    return upload(layer->engine, bias, spec->bias, bytes, err);
}

static oclora_status fill_layer(oclora_layer *layer, const oclora_layer_spec *spec,
                                oclora_error *err)
{
    oclora_engine *engine = layer->engine;
    if (oclora_base_find(engine->base, spec->name) != NULL)
        return oclora_fail(err, OCLORA_ALREADY_EXISTS, "a weight called '%s' exists", spec->name);
    OCLORA_TRY(oclora_buffer_create(&layer->buffer, engine->context, spec->data_bytes, err));
    OCLORA_TRY(oclora_base_add(engine->base, spec->name, spec->type, spec->d_in, spec->d_out,
                               layer->buffer, 0, &layer->weight, err));
    OCLORA_TRY(upload(engine, layer->weight, spec->data, spec->data_bytes, err));
    return spec->bias == NULL ? OCLORA_OK : add_bias(layer, spec, err);
}

oclora_status oclora_layer_create(oclora_layer **out, oclora_engine *engine,
                                  const oclora_layer_spec *spec, oclora_error *err)
{
    OCLORA_TRY(check_spec(spec, err));
    oclora_layer *layer = oclora_alloc(&engine->env, 1, sizeof *layer);
    if (layer == NULL) return oclora_fail_memory(err, sizeof *layer, spec->name);
    layer->engine = engine;
    /* Nobody finds the weight before its bytes are there, nor makes another of its name. */
    oclora_base_change(engine->base);
    const oclora_status status = fill_layer(layer, spec, err);
    oclora_base_let_go(engine->base);
    if (status != OCLORA_OK) {
        oclora_layer_destroy(layer);
        return status;
    }
    *out = layer;
    return OCLORA_OK;
}

void oclora_layer_destroy(oclora_layer *layer)
{
    if (layer == NULL) return;
    oclora_engine *engine = layer->engine;
    if (layer->buffer != NULL) oclora_base_remove_buffer(engine->base, layer->buffer);
    if (layer->bias != NULL) oclora_base_remove_buffer(engine->base, layer->bias);
    oclora_buffer_destroy(layer->buffer);
    oclora_buffer_destroy(layer->bias);
    oclora_release(&engine->env, layer);
}
