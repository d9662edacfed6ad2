#include <string.h>

#include "base/memory.h"
#include "onnx/graph.h"

gm_status gm_onnx_names_make(size_t values, gm_onnx_names *names, gm_error *err)
{
    names->size = 16;
    while (names->size / 2 < values) {
        names->size *= 2;
    }
    names->slot = gm_alloc(names->size, sizeof *names->slot, "names of the model", err);
    return names->slot ? GM_OK : GM_ERR_MEMORY;
}

void gm_onnx_names_free(gm_onnx_names *names)
{
    gm_free(names->slot);
    names->slot = NULL;
}

/* FNV-1a */
static uint64_t hash(const char *name)
{
    uint64_t h = 14695981039346656037ull;
    for (; *name; name++) {
        h = (h ^ (unsigned char)*name) * 1099511628211ull;
    }
    return h;
}

/* The slot of that name, or the empty one where it would go. */
static uint32_t *slot_of(const gm_onnx_graph *g, const char *name)
{
    size_t mask = g->names.size - 1, i = hash(name) & mask;
    while (g->names.slot[i] && strcmp(g->value[g->names.slot[i] - 1].name, name) != 0) {
        i = (i + 1) & mask;
    }
    return &g->names.slot[i];
}

gm_onnx_value *gm_onnx_value_find(const gm_onnx_graph *g, const char *name)
{
    uint32_t found = *slot_of(g, name);
    return found ? &g->value[found - 1] : NULL;
}

gm_status gm_onnx_value_add(gm_onnx_graph *g, const char *name, gm_onnx_value **value,
                            gm_error *err)
{
    uint32_t *slot = slot_of(g, name);
    if (*slot) {
        return gm_fail(err, GM_ERR_INPUT, "%s: the name '%.200s' is given to two values", g->path,
                       name);
    }
    *value = &g->value[g->values++];
    **value = (gm_onnx_value){
        .name = name, .initializer = -1, .node = -1, .last = -1, .maker = -1, .user = -1};
    *slot = (uint32_t)g->values;
    return GM_OK;
}
