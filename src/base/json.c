#include "base/json.h"

#include "base/memory.h"

json_t *gm_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value) return value;
    char *copy = gm_strdup(text, NULL);
    if (!copy) return NULL;
    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c > 126) *c = '?';
    }
    value = json_string(copy);
    gm_free(copy);
    return value;
}

json_t *gm_json_text_or_null(const char *text)
{
    return text ? gm_json_text(text) : json_null();
}

gm_status gm_json_write(const json_t *value, size_t flags, FILE *stream, gm_error *err)
{
    if (value && json_dumpf(value, stream, flags | JSON_REAL_PRECISION(17)) == 0) return GM_OK;
    if (value && ferror(stream)) return GM_OK;
    return gm_fail(err, GM_ERR_MEMORY, "no memory for the JSON document");
}
