/* What the loaders of all kinds share. */
#include "host/adapter/loader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const oclora_file_tensor *oclora_group_find(const oclora_group *group, uint32_t part,
                                            uint32_t index)
{
    for (size_t i = 0; i < group->count; i++)
        if (group->parts[i].part == part && group->parts[i].index == index)
            return group->parts[i].tensor;
    return NULL;
}

oclora_status oclora_group_need(const oclora_load *load, const oclora_group *group, uint32_t part,
                                uint32_t index, const oclora_file_tensor **out, oclora_error *err)
{
    *out = oclora_group_find(group, part, index);
    if (*out != NULL) return OCLORA_OK;
    const char *pattern = load->loader->parts[part];
    const char *number = strchr(pattern, '#');
    if (number == NULL)
        return oclora_fail(err, OCLORA_MISSING_TENSOR, "module %s has no tensor %s%s", group->name,
                           group->name, pattern);
    return oclora_fail(err, OCLORA_MISSING_TENSOR, "module %s has no tensor %s%.*s%u%s",
                       group->name, group->name, (int)(number - pattern), pattern, (unsigned)index,
                       number + 1);
}

oclora_status oclora_load_task(oclora_load *load, uint32_t n_tasks, uint32_t *task,
                               oclora_error *err)
{
    char *end = NULL;
    const char *text = load->task_text != NULL || n_tasks != 1 ? load->task_text : "0";
    unsigned long value =
        text != NULL && *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || value >= n_tasks)
        return oclora_fail(err, OCLORA_INVALID_ARGUMENT,
                           "the adapter holds %u tasks: choose one with #task=0 to #task=%u behind "
                           "its path",
                           (unsigned)n_tasks, (unsigned)n_tasks - 1);
    *task = (uint32_t)value;
    load->has_tasks = true;
    load->image->task = *task;
    load->image->n_tasks = n_tasks;
    return OCLORA_OK;
}

oclora_status oclora_view_of(const oclora_file_tensor *tensor, oclora_view *out, oclora_error *err)
{
    const uint64_t *dims = tensor->dims;
    uint32_t n_dims = tensor->n_dims;
    if (n_dims == 3 && dims[0] == 1) {
        dims++;
        n_dims--;
    }
    if (n_dims != 2 || dims[0] == 0 || dims[1] == 0 || dims[0] > OCLORA_DIM_MAX ||
        dims[1] > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH,
                           "tensor %s is no matrix with sides of 1 to %d", tensor->name,
                           OCLORA_DIM_MAX);
    oclora_view view = {tensor, 0, (uint32_t)dims[0], (uint32_t)dims[1]};
    *out = view;
    return OCLORA_OK;
}

oclora_status oclora_view_shaped(const oclora_file_tensor *tensor, uint32_t rows, uint32_t cols,
                                 oclora_view *out, oclora_error *err)
{
    OCLORA_TRY(oclora_view_of(tensor, out, err));
    if ((rows != 0 && out->rows != rows) || (cols != 0 && out->cols != cols))
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "tensor %s is %u x %u, it should be %u x %u",
                           tensor->name, (unsigned)out->rows, (unsigned)out->cols,
                           (unsigned)(rows != 0 ? rows : out->rows),
                           (unsigned)(cols != 0 ? cols : out->cols));
    return OCLORA_OK;
}

oclora_status oclora_check_rank(const oclora_group *group, uint32_t a, uint32_t b, uint32_t config,
                                oclora_error *err)
{
    if (a != b)
        return oclora_fail(err, OCLORA_RANK_MISMATCH, "module %s: A has rank %u, B has rank %u",
                           group->name, (unsigned)a, (unsigned)b);
    if (config != 0 && a != config)
        return oclora_fail(err, OCLORA_RANK_MISMATCH,
                           "module %s: the tensors have rank %u, adapter_config.json says %u",
                           group->name, (unsigned)a, (unsigned)config);
    if (a > OCLORA_RANK_MAX)
        return oclora_fail(err, OCLORA_NOT_SUPPORTED, "module %s: rank %u is over %d", group->name,
                           (unsigned)a, OCLORA_RANK_MAX);
    return OCLORA_OK;
}

oclora_status oclora_module_scale(oclora_load *load, oclora_module *module, uint32_t rank,
                                  double scale, oclora_error *err)
{
    if (!isfinite((float)scale))
        return oclora_fail(err, OCLORA_NOT_FINITE, "module %s: the scale %g is not a finite f32",
                           module->name, scale);
    module->scale = oclora_alloc(load->env, rank, sizeof *module->scale);
    if (module->scale == NULL) return oclora_fail_memory(err, rank * sizeof(float), "scales");
    for (uint32_t i = 0; i < rank; i++) module->scale[i] = (float)scale;
    module->rank = rank;
    return OCLORA_OK;
}

oclora_status oclora_module_pair(oclora_load *load, const oclora_group *group,
                                 oclora_module *module, const oclora_file_tensor *a,
                                 const oclora_file_tensor *b, uint32_t config_rank, double scale,
                                 oclora_error *err)
{
    oclora_view view_a, view_b;
    OCLORA_TRY(oclora_view_of(a, &view_a, err));
    OCLORA_TRY(oclora_view_of(b, &view_b, err));
    OCLORA_TRY(oclora_check_rank(group, view_a.rows, view_b.cols, config_rank, err));
    uint64_t d_in = (uint64_t)view_a.cols * module->group;
    if (d_in > OCLORA_DIM_MAX)
        return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "module %s: %llu inputs are over %d",
                           group->name, (unsigned long long)d_in, OCLORA_DIM_MAX);
    OCLORA_TRY(oclora_module_scale(load, module, view_a.rows, scale, err));
    module->d_in = (uint32_t)d_in;
    module->d_out = view_b.rows;
    OCLORA_TRY(oclora_image_factor_of(load->image, &module->a, view_a, false, load->store, err));
    return oclora_image_factor_of(load->image, &module->b, view_b, true, load->store, err);
}

oclora_status oclora_fail_shape(oclora_error *err, const oclora_file_tensor *tensor,
                                const char *wanted)
{
    return oclora_fail(err, OCLORA_SHAPE_MISMATCH, "tensor %s should have the shape %s",
                       tensor->name, wanted);
}

void oclora_load_softmax(double *w, size_t count, double temperature)
{
    double largest = w[0], sum = 0.0;
    for (size_t i = 1; i < count; i++) largest = fmax(largest, w[i]);
    for (size_t i = 0; i < count; i++) sum += w[i] = exp((w[i] - largest) / temperature);
    for (size_t i = 0; i < count; i++) w[i] /= sum;
}
