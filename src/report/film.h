/* Films: pictures of one thing at several steps of the training, with a slider that moves through
 * them. The pictures stand one after another in a <div class="film">; a script of a few lines shows
 * one of them. Without it, and in print, the first, the middle and the last are shown. */
#ifndef GM_REPORT_FILM_H
#define GM_REPORT_FILM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The place of a picture in a film. */
typedef struct gm_frame {
    int64_t step;    /* of the training; negative where the picture is about none */
    size_t of;       /* frames of its film before any was left out; 0 where it stands alone */
    size_t first_of; /* number of the picture that the film begins with */
    bool key;        /* shown where the slider is not */
    bool left_out;   /* one of so many that not all are in the page */
} gm_frame;

enum { GM_FILM_MOST = 32 }; /* frames in a page */

/* The frame becomes number `at` of `count`. Of more than GM_FILM_MOST only so many are kept, the
 * first and the last among them. */
void gm_frame_set(gm_frame *frame, size_t at, size_t count);

/* The attributes of a frame's <figure>, none for one that stands alone. */
void gm_film_attributes(const gm_frame *frame, FILE *page);
/* What stands before and behind the frames of the film that begins with `first`, whose figure has
 * this id. */
void gm_film_begin(const char *id, const gm_frame *first, FILE *page);
void gm_film_end(FILE *page);

/* The script, for the end of a page with films, and what allows it and nothing else to run: the
 * content security policy of a page, the value of the attribute `content`. */
void gm_film_script(FILE *page);
void gm_film_policy(FILE *page);

#endif
