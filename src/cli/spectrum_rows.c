/* --solver slepc: eigenpairs by the row solver that the program was built with (spectrum/rows.h).
 * Vectors that are small altogether are put together on every rank, and are then like those of the
 * other solvers; the others stay split, and leave in pieces. */
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/spectrum_methods.h"
#include "data/npy.h"

/* *mine [starts, rows]: the rank's share of the vectors to start from, the caller's; NULL without.
 */
static gm_status share_start(const gm_spectrum_operator *target, const gm_rows *rows, double **mine,
                             gm_error *err)
{
    *mine = NULL;
    if (!target->starts) return GM_OK;
    *mine = gm_alloc_raw(target->starts * rows->count, sizeof **mine, "start vectors", err);
    if (!*mine) return GM_ERR_MEMORY;
    size_t stride = target->start_split ? rows->count : rows->size;
    size_t first = target->start_split ? 0 : rows->first;
    for (size_t j = 0; j < target->starts; j++) {
        memcpy(*mine + j * rows->count, target->start + j * stride + first,
               rows->count * sizeof **mine);
    }
    return GM_OK;
}

gm_status gm_spectrum_solve_rows(gm_spectrum_operator *target, const gm_spectrum_settings *set,
                                 const gm_eigen_options *options, gm_eigen *found, bool *split,
                                 gm_error *err)
{
    double *start;
    gm_rows rows = gm_rows_of(set->team, target->op.size);
    gm_status status = share_start(target, &rows, &start, err);
    if (status == GM_OK) {
        status = set->row_solver->solve(set->team, &target->op, options, target->starts, start,
                                        found, err);
    }
    gm_free(start);
    if (status != GM_OK) return status;
    *split = found->count > GM_SPECTRUM_VECTOR_NUMBERS / rows.size;
    if (*split) return GM_OK;
    double *whole = NULL;
    status = gm_rows_whole(&rows, found->count, found->vector, &whole, err);
    if (status == GM_OK) {
        gm_free(found->vector);
        found->vector = whole;
    }
    return status;
}

static gm_status write_piece(void *context, size_t count, const double *values, gm_error *err)
{
    (void)err; /* the commit finds what went wrong */
    fwrite(values, sizeof *values, count, gm_file_stream(context));
    return GM_OK;
}

gm_status gm_spectrum_export_rows(const char *path, const gm_spectrum_settings *set,
                                  const gm_spectrum *s, gm_error *err)
{
    gm_file *file = NULL;
    gm_status status = GM_OK;
    gm_rows rows = gm_rows_of(set->team, s->size);
    bool writes = gm_team_rank(set->team) == 0;
    if (writes) status = gm_file_create(path, &file, err);
    if (writes && status == GM_OK) {
        gm_npy_write_header(gm_file_stream(file), GM_NPY_F8, 2, (size_t[]){s->pairs.k, s->size});
    }
    gm_team_broadcast(set->team, sizeof status, &status);
    for (size_t j = 0; status == GM_OK && j < s->pairs.k; j++) {
        status = gm_rows_deliver(&rows, s->pairs.vector + j * rows.count, write_piece, file, err);
    }
    if (writes && status == GM_OK) status = gm_file_commit(&file, err);
    gm_file_discard(&file);
    gm_team_broadcast(set->team, sizeof status, &status);
    return status;
}
