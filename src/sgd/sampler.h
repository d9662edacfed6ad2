/* Mini-batches from any stream. */
#ifndef GM_SGD_SAMPLER_H
#define GM_SGD_SAMPLER_H

#include <stddef.h>

#include "gradiometer/random.h"
#include "gradiometer/sgd.h"

/* As gm_sampler_create, from this stream. */
gm_status gm_sampler_create_from(gm_stream stream, size_t n, size_t batch,
                                 gm_replacement replacement, gm_sampler **sampler, gm_error *err);

#endif
