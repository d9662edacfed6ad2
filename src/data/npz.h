/* NumPy's NPZ archives: a zip file whose members are NPY files, as numpy.savez writes them.
 *
 * Members are stored without compression (numbers of a training hardly compress), in the order in
 * which they are added, with the date that zip files begin at, so that equal arrays give equal
 * bytes. Sizes and offsets beyond 32 bits go into ZIP64 fields (APPNOTE.TXT 4.3 and 4.5 of PKWARE,
 * version 6.3). */
#ifndef GM_DATA_NPZ_H
#define GM_DATA_NPZ_H

#include <stddef.h>
#include <stdint.h>

#include "data/npy.h"
#include "gradiometer/status.h"

typedef struct gm_npz gm_npz;

/* Begins an archive that appears at path whole or not at all (base/file.h). limit: numbers from
 * this on take ZIP64 fields, UINT32_MAX but in tests. *npz belongs to the caller until commit or
 * discard. */
gm_status gm_npz_create(const char *path, uint32_t limit, gm_npz **npz, gm_error *err);

/* Adds member NAME.npy, numpy.load(...)[NAME]: values (elements of that type in memory), C order,
 * rank 0 ... GM_NPY_MAX_RANK. GM_ERR_USAGE for a name of 0 or more than 60,000 bytes;
 * GM_ERR_MEMORY. Errors of writing come with gm_npz_commit. */
gm_status gm_npz_add(gm_npz *npz, const char *name, gm_npy_type type, int rank, const size_t *dim,
                     const void *values, gm_error *err);
/* Likewise a text, as an array of rank 0 of bytes ("|S"): numpy.load(...)[NAME].item(). */
gm_status gm_npz_add_text(gm_npz *npz, const char *name, const char *text, gm_error *err);

/* Writes the directory and makes the archive appear; status and *npz as for gm_file_commit. */
gm_status gm_npz_commit(gm_npz **npz, gm_error *err);
/* Drops it; accepts *npz == NULL. */
void gm_npz_discard(gm_npz **npz);

#endif
