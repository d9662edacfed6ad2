#include "report/ranks.h"

#include <float.h>
#include <math.h>

double gm_ranks_floor(const json_t *operator, const gm_numbers * all)
{
    double scale = 0.0;
    if (gm_result_partial(operator)) return gm_result_number(operator, "rank_floor");
    for (size_t i = 0; i < all->rows; i++) {
        if (isfinite(all->value[i])) scale = fmax(scale, fabs(all->value[i]));
    }
    return scale * DBL_EPSILON * (double)all->rows;
}

size_t gm_ranks_write(const char *name, bool negative, const gm_numbers *end, double floor_size,
                      double *largest, double *smallest, FILE *script)
{
    size_t rank = 0, next = 1, written = 0;
    fprintf(script, "$%s << EOD\n", name);
    for (size_t i = 0; i < end->rows; i++) {
        double value = negative ? -end->value[i] : end->value[i];
        if (!(value > floor_size) || !isfinite(value)) continue;
        *largest = fmax(*largest, value);
        *smallest = fmin(*smallest, value);
        if (++rank < next) continue;
        next = rank < 100 ? rank + 1 : rank + rank / 50;
        fprintf(script, "%.8g %.8g\n", log10((double)rank), log10(value));
        written++;
    }
    fputs("EOD\n", script);
    return written;
}
