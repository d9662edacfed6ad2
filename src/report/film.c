#include "report/film.h"

#include <inttypes.h>

void gm_frame_set(gm_frame *frame, size_t at, size_t count)
{
    size_t kept = count < GM_FILM_MOST ? count : GM_FILM_MOST;
    size_t place = (at * (kept - 1)) / (count - 1);
    frame->of = count;
    frame->left_out = at && place == ((at - 1) * (kept - 1)) / (count - 1);
    frame->key = place == 0 || place == (kept - 1) / 2 || place == kept - 1;
}

void gm_film_attributes(const gm_frame *frame, FILE *page)
{
    if (!frame->of) return;
    fprintf(page, "%s data-step=\"%" PRId64 "\"", frame->key ? " class=\"key\"" : "", frame->step);
}

void gm_film_begin(const char *id, const gm_frame *first, FILE *page)
{
    size_t kept = first->of < GM_FILM_MOST ? first->of : GM_FILM_MOST;
    fprintf(page,
            "<div class=\"film\">\n<p class=\"stepper\"><label for=\"%s-slider\">Training step"
            "</label> <input id=\"%s-slider\" type=\"range\" min=\"0\" max=\"%zu\" step=\"1\" "
            "value=\"%zu\"> <output for=\"%s-slider\">last</output></p>\n",
            id, id, kept - 1, kept - 1, id);
    if (kept < first->of)
        fprintf(page, "<p class=\"note\">%zu of the %zu steps measured.</p>\n", kept, first->of);
}

void gm_film_end(FILE *page)
{
    fputs("</div>\n", page);
}

/* Films of one run move together: a slider takes the others to the frame whose step is nearest. */
static const char script[] =
    "\n'use strict';\n"
    "document.querySelectorAll('.film').forEach(function (film) {\n"
    "  var frames = Array.from(film.querySelectorAll('figure'));\n"
    "  var slider = film.querySelector('input'), text = film.querySelector('output');\n"
    "  film.show = function (at) {\n"
    "    frames.forEach(function (frame, i) { frame.classList.toggle('shown', i === at); });\n"
    "    slider.value = at;\n"
    "    text.value = Number(frames[at].dataset.step).toLocaleString('en');\n"
    "    slider.setAttribute('aria-valuetext', 'step ' + text.value);\n"
    "  };\n"
    "  film.seek = function (step) {\n"
    "    var best = 0;\n"
    "    frames.forEach(function (frame, i) {\n"
    "      if (Math.abs(frame.dataset.step - step) <= Math.abs(frames[best].dataset.step - step))\n"
    "        best = i;\n"
    "    });\n"
    "    film.show(best);\n"
    "  };\n"
    "  slider.addEventListener('input', function () {\n"
    "    film.show(Number(slider.value));\n"
    "    film.closest('section').querySelectorAll('.film').forEach(function (other) {\n"
    "      if (other !== film) other.seek(frames[slider.value].dataset.step);\n"
    "    });\n"
    "  });\n"
    "  film.classList.add('live');\n"
    "  film.show(frames.length - 1);\n"
    "});\n";

void gm_film_script(FILE *page)
{
    fprintf(page, "<script>%s</script>\n", script);
}

/* The SHA-256 of the script's text: a browser runs it and no other, and fetches nothing. */
void gm_film_policy(FILE *page)
{
    fputs("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
          "script-src 'sha256-lIUwA4Y86WZlSTxqLv3OX4T/iClbblHE/3UUV7+7xjI='",
          page);
}
