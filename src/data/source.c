#include "data/source.h"

#include <string.h>

#include "base/memory.h"

void gm_source_close(gm_source *source)
{
    if (source->close) source->close(source->state);
    gm_free(source->name);
    *source = (gm_source){0};
}

size_t gm_source_positions(const gm_source *source)
{
    return source->positions ? source->positions : 1;
}

gm_status gm_source_set_features(gm_source *source, const char *file, gm_error *err)
{
    for (int i = 0; i < source->shape.rank; i++) {
        if (source->shape.dim[i] == 0)
            return gm_fail(err, GM_ERR_INPUT, "%s: a sample has a dimension of size 0", file);
    }
    source->features = gm_shape_size(&source->shape);
    if (source->features == 0)
        return gm_fail(err, GM_ERR_INPUT, "%s: the size of a sample overflows", file);
    return GM_OK;
}

gm_status gm_split_pair(const char *body, const char *form, char **first, char **second,
                        gm_error *err)
{
    const char *comma = strchr(body, ',');
    if (!comma || comma == body || !comma[1] || strchr(comma + 1, ','))
        return gm_fail(err, GM_ERR_USAGE, "data \"%s\": expected %s with one comma", body, form);
    *first = gm_format(err, "%.*s", (int)(comma - body), body);
    *second = gm_strdup(comma + 1, err);
    return *first && *second ? GM_OK : GM_ERR_MEMORY;
}

gm_status gm_plain_locale_enter(gm_plain_locale *locale, gm_error *err)
{
    locale->plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!locale->plain) return gm_fail(err, GM_ERR_MEMORY, "no memory for the C locale");
    locale->before = uselocale(locale->plain);
    return GM_OK;
}

void gm_plain_locale_leave(gm_plain_locale *locale)
{
    uselocale(locale->before);
    freelocale(locale->plain);
}
