/* progress.h - steps that are done, kept as JSON lines so that a killed run goes on where it was.
 */
#ifndef OCLORA_TUNE_PROGRESS_H
#define OCLORA_TUNE_PROGRESS_H

#include "host/core/tune.h"

#include <jansson.h>

typedef enum tune_verdict { TUNE_KEPT, TUNE_TAKEN, TUNE_WRONG, TUNE_VERDICTS } tune_verdict;
extern const char *const tune_verdicts[TUNE_VERDICTS];

/* `value` was measured against `against`, the best so far. */
typedef struct tune_step {
    uint32_t param, value, against;
    double gain;  /* how many times faster, over all jobs */
    double noise; /* of the gain */
    tune_verdict verdict;
} tune_step;

typedef struct tune_progress {
    char *path;
    char *identity;
    tune_step *steps;
    size_t count, capacity;
} tune_progress;

/* Steps of an earlier run with the same identity. Another identity, or a line that no run of this
 * program wrote, and the file is begun anew; a last line cut short is dropped. `path` NULL: nothing
 * is kept. False after a message. */
bool tune_progress_open(tune_progress *out, const char *path, const char *identity, bool anew,
                        uint32_t device_class);
void tune_progress_close(tune_progress *progress);

const tune_step *tune_progress_find(const tune_progress *progress, uint32_t param, uint32_t value,
                                    uint32_t against);
/* Written to the file before it returns. False after a message. */
bool tune_progress_add(tune_progress *progress, const tune_step *step);

json_t *tune_step_json(const tune_step *step);

#endif
