/* Shared by the files of this room. */
#ifndef GM_LANDSCAPE_LANDSCAPE_H
#define GM_LANDSCAPE_LANDSCAPE_H

#include "gradiometer/landscape.h"

/* GM_ERR_USAGE unless a slice can have so many dimensions. */
gm_status gm_landscape_check(size_t dimensions, gm_error *err);

#endif
