/* Texts of a study's commands: words, specs of data, names of files. */
#include "study/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

gm_status gm_words_add(gm_words *words, const char *text, gm_error *err)
{
    if (words->count + 1 >= words->room) {
        size_t room = 2 * words->room + 16;
        char **larger = gm_alloc(room, sizeof *larger, "words", err);
        if (!larger) return GM_ERR_MEMORY;
        if (words->count) memcpy(larger, words->word, words->count * sizeof *larger);
        gm_free(words->word);
        words->word = larger;
        words->room = room;
    }
    words->word[words->count] = gm_strdup(text, err);
    return words->word[words->count] ? words->count++, GM_OK : GM_ERR_MEMORY;
}

void gm_words_free(gm_words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        gm_free(words->word[i]);
    }
    gm_free(words->word);
    *words = (gm_words){0};
}

/* What stands between words. */
static const char blanks[] = " \t\n\v\f\r";

/* Copies the word that starts at *text to out and moves *text past it; false where a quote stays
 * open. */
static bool take_word(const char **text, char *out)
{
    char quote = 0;
    const char *c = *text;
    for (; *c && (quote || !strchr(blanks, *c)); c++) {
        bool opens = !quote && (*c == '\'' || *c == '"');
        if (opens) {
            quote = *c;
        } else if (quote && *c == quote) {
            quote = 0;
        } else {
            if (*c == '\\' && quote != '\'' && c[1]) c++;
            *out++ = *c;
        }
    }
    *out = 0;
    *text = c;
    return !quote;
}

gm_status gm_words_split(gm_words *words, const char *text, bool *closed, gm_error *err)
{
    char *word = gm_alloc(strlen(text) + 1, 1, "words", err);
    gm_status status = word ? GM_OK : GM_ERR_MEMORY;
    *closed = true;
    while (status == GM_OK && *closed) {
        text += strspn(text, blanks);
        if (!*text) break;
        *closed = take_word(&text, word);
        if (*closed) status = gm_words_add(words, word, err);
    }
    gm_free(word);
    return status;
}

gm_status gm_words_replace(const char *text, const char *mark, const char *with, char **out,
                           gm_error *err)
{
    size_t from = 0;
    char *at;
    *out = gm_strdup(text, err);
    while (*out && (at = strstr(*out + from, mark))) {
        int before = (int)(at - *out);
        char *next = gm_format(err, "%.*s%s%s", before, *out, with, at + strlen(mark));
        gm_free(*out);
        *out = next;
        from = (size_t)before + strlen(with);
    }
    return *out ? GM_OK : GM_ERR_MEMORY;
}

void gm_words_file_name(const char *text, size_t size, char *name)
{
    size_t length = 0;
    const char *slash = strrchr(text, '/');
    for (const char *c = slash && slash[1] ? slash + 1 : text; *c && length + 1 < size; c++) {
        bool plain = isalnum((unsigned char)*c) || *c == '.' || *c == '-';
        if (plain) {
            name[length++] = *c;
        } else if (length && name[length - 1] != '-') {
            name[length++] = '-';
        }
    }
    while (length && name[length - 1] == '-') {
        length--;
    }
    name[length] = 0;
}
