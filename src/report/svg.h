/* gnuplot's SVG made fit for standing inside an HTML page. */
#ifndef GM_REPORT_SVG_H
#define GM_REPORT_SVG_H

#include <stdio.h>

#include "gradiometer/status.h"

/* Writes the <svg> element of the stand-alone SVG text to out, changed so that several can share a
 * page: prolog, script hooks and unused filters dropped; every id and every reference to one
 * prefixed with "id-"; no size but the viewBox, so that it follows the width of the page; no font
 * family, so that the page's applies; black turned into currentColor and other colours written
 * #RRGGBB, so that a style sheet can match and change them. title (escaped here) becomes the text
 * alternative. GM_ERR_NUMERIC where svg holds no <svg> element. */
gm_status gm_svg_inline(FILE *out, const char *svg, const char *id, const char *title,
                        gm_error *err);

#endif
