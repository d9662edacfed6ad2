/* Names in the order in which people count them: "ckpt-2" before "ckpt-10". */
#ifndef GM_BASE_NATURAL_H
#define GM_BASE_NATURAL_H

/* As strcmp, but runs of digits compare as the numbers that they write; equal ones ("1", "01") by
 * their bytes, so that 0 means equal strings. */
int gm_natural_compare(const char *a, const char *b);

#endif
