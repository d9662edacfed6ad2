/* Reading the samples of a source into a set: from all of them by one process, from a part of them
 * by each rank of a team that holds the set in shares. */
#ifndef GM_DATA_READ_H
#define GM_DATA_READ_H

#include "data/source.h"

/* A label beyond this is taken for an error of the file: nothing here has so many outputs. */
enum { GM_MAX_CLASSES = 1 << 24 };

/* Place in the set of a sample that is left out of it. */
static const size_t gm_left_out = SIZE_MAX;

/* Shape and arrays of data, for n samples of the source. GM_ERR_MEMORY. */
gm_status gm_source_allocate(const gm_source *source, size_t n, gm_dataset *data, gm_error *err);

/* GM_ERR_INPUT for a label of the sample delivered last that is not below classes (0: unknown). */
gm_status gm_source_check_label(const gm_source *source, int64_t label, size_t classes,
                                gm_error *err);

/* Reads the source into data, whose arrays are there, and sets data->classes. Sample i of the
 * source has the place position[i] in the set (NULL: i). Those that are left out are checked too: a
 * bad file is bad whatever the subset. classes: K as asked for, 0 = largest label + 1.
 *
 * One process, and ranks that hold all samples each, read all. Of a share (data->whole) a rank
 * reads what it keeps and its part of what is left out, and checks that; and once more what one
 * other rank answers for, which is only compared. So every sample is read by two ranks, and one
 * that differs between them is found wherever it would have come into a result. Samples in between
 * are passed over (gm_source.seek).
 *
 * GM_ERR_INPUT, the same line at all ranks: for the first sample in the source's order that is
 * refused, whichever rank it is read by; for ranks that read other samples. The rest, of files that
 * cannot be read and of memory, is the rank's own. */
gm_status gm_source_read(gm_source *source, const size_t *position, size_t classes,
                         const gm_team *team, gm_dataset *data, gm_error *err);

#endif
