/* Texts of a study's commands: words, specs of data, names of files. */
#ifndef GM_STUDY_WORDS_H
#define GM_STUDY_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#include "gradiometer/status.h"

/* A command as its words, always ended by NULL once there is one. */
typedef struct gm_words {
    char **word; /* [room] */
    size_t count, room;
} gm_words;

gm_status gm_words_add(gm_words *words, const char *text, gm_error *err);
void gm_words_free(gm_words *words);

/* Adds the words of text, split as a shell does: '...', "..." and \ keep spaces, nothing expands.
 * *closed is false where a quote stays open. */
gm_status gm_words_split(gm_words *words, const char *text, bool *closed, gm_error *err);

/* *out (gm_free): text with every mark replaced. */
gm_status gm_words_replace(const char *text, const char *mark, const char *with, char **out,
                           gm_error *err);

/* A part of a file name [size] from any text: its last path component, letters, digits, points and
 * dashes kept, everything between them one dash. */
void gm_words_file_name(const char *text, size_t size, char *name);

#endif
