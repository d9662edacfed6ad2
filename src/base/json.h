/* What Jansson leaves to those who use it. */
#ifndef GM_BASE_JSON_H
#define GM_BASE_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "gradiometer/status.h"

/* A string; bytes that are no UTF-8 (file names may hold any) become '?'. NULL without memory. */
json_t *gm_json_text(const char *text);

/* The same, or null where text is NULL. */
json_t *gm_json_text_or_null(const char *text);

/* Writes value, with flags of json_dumpf for the layout and 17 significant digits. GM_ERR_MEMORY
 * where there is no memory to, or value is NULL, so that builders need not check every step; an
 * error of the stream is left for its owner to find. */
gm_status gm_json_write(const json_t *value, size_t flags, FILE *stream, gm_error *err);

#endif
