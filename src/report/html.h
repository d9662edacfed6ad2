/* Text and numbers as HTML. Everything that was not written by this program (names of files and
 * data sets, commands, layers) goes through gm_html_text. */
#ifndef GM_REPORT_HTML_H
#define GM_REPORT_HTML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* text as HTML text or inside a quoted attribute: & < > " ' escaped, control characters and bytes
 * that are not UTF-8 shown as U+FFFD. NULL prints nothing. */
void gm_html_text(FILE *out, const char *text);

/* The same for sentences of our own that hold formulas in plain text: "H_p" and "||H||_F" get a
 * lowered letter and true bars, ">=" and "<=" their signs, and a minus before a letter its length.
 */
void gm_html_formula(FILE *out, const char *text);

/* value in at most three significant digits for reading ("0.05", "0.0123", "4.56 x 10^-7" with a
 * raised exponent, whole numbers as "1,840") inside <data value="..."> with the 17 digits that
 * identify it; "undefined" for NaN. */
void gm_html_number(FILE *out, double value);
/* The same in percent, for a share 0 ... 1. */
void gm_html_percent(FILE *out, double share);

/* Bytes of the character that text, not empty, begins with; *shown is false for a control character
 * (other than newline and tab) or a byte that is not UTF-8. */
size_t gm_text_character(const char *text, bool *shown);

#endif
