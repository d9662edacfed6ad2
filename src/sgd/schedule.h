/* At which steps a training measures the whole set and keeps its parameters: functions of the
 * options alone, so that a resumed run meets the same steps. */
#ifndef GM_SGD_SCHEDULE_H
#define GM_SGD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/sgd.h"

enum { GM_KEPT_BY_DEFAULT = 10 };

typedef struct gm_schedule {
    uint64_t steps;
    uint64_t keep_every, record_every;
    uint64_t keep[GM_KEPT_BY_DEFAULT];
    int stride;            /* every so many of the checkpoints kept by default is measured */
    bool between;          /* whether there are measured steps between them */
    double growth, widest; /* of their distance, by default */
    uint64_t record_next;  /* first default step not yet passed */
} gm_schedule;

/* For n samples and a net of `parameters` numbers. */
void gm_schedule_init(gm_schedule *schedule, const gm_train_options *options, size_t n,
                      size_t parameters);
bool gm_schedule_keeps(const gm_schedule *schedule, uint64_t t);
/* For ascending t. */
bool gm_schedule_records(gm_schedule *schedule, uint64_t t);

#endif
