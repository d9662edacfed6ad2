/* Groups of parameters chosen by a pattern of names: the union of their tensors' slices. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "net/net.h"

void gm_net_free_groups(gm_net *net)
{
    for (size_t i = 0; i < net->groups; i++) {
        gm_free(net->group[i].pattern);
        gm_free(net->group[i].slice);
    }
    gm_free(net->group);
    net->group = NULL;
    net->groups = 0;
}

static bool matches(const gm_net *net, const char *pattern, const gm_net_tensor *tensor)
{
    return fnmatch(pattern, tensor->name, 0) == 0 ||
           fnmatch(pattern, gm_net_layer_at(net, tensor->layer).name, 0) == 0;
}

/* As many names as fit, and how many there are. */
static gm_status refuse(const gm_net *net, const char *pattern, gm_error *err)
{
    char names[320] = "";
    size_t used = 0, count = gm_net_tensors(net), shown = 0;
    while (shown < count) {
        const char *name = gm_net_tensor_at(net, shown).name;
        if (used + strlen(name) + 3 > sizeof names) break;
        used +=
            (size_t)snprintf(names + used, sizeof names - used, "%s%s", shown ? ", " : "", name);
        shown++;
    }
    return gm_fail(err, GM_ERR_USAGE, "--layer %.60s: matches none of the %zu tensors%s: %s%s",
                   pattern, count, shown < count ? ", the first of which are" : "", names,
                   shown < count ? ", ..." : "");
}

static int by_offset(const void *a, const void *b)
{
    const gm_slice *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Ascending, and neighbours as one. */
static void join(gm_net_group *group)
{
    size_t slices = 0;
    if (group->slices) qsort(group->slice, group->slices, sizeof *group->slice, by_offset);
    for (size_t i = 0; i < group->slices; i++) {
        gm_slice *last = slices ? &group->slice[slices - 1] : NULL, next = group->slice[i];
        if (last && last->offset + last->size == next.offset) {
            last->size += next.size;
        } else {
            group->slice[slices++] = next;
        }
    }
    group->slices = slices;
}

gm_status gm_net_add_group(gm_net *net, const char *pattern, size_t *index, gm_error *err)
{
    size_t tensors = gm_net_tensors(net);
    gm_net_group *larger = gm_alloc(net->groups + 1, sizeof *larger, "groups of the net", err);
    gm_net_group made = {.pattern = gm_strdup(pattern, err),
                         .slice = gm_alloc(tensors, sizeof(gm_slice), "slices of a group", err)};
    gm_status status = larger && made.pattern && made.slice ? GM_OK : GM_ERR_MEMORY;
    for (size_t i = 0; status == GM_OK && i < tensors; i++) {
        gm_net_tensor tensor = gm_net_tensor_at(net, i);
        size_t size = gm_shape_size(&tensor.shape);
        if (!matches(net, pattern, &tensor)) continue;
        made.parameters += size;
        made.slice[made.slices++] = (gm_slice){tensor.offset, size};
    }
    join(&made);
    if (status == GM_OK && made.slices == 0) status = refuse(net, pattern, err);
    if (status != GM_OK) {
        gm_free(made.pattern);
        gm_free(made.slice);
        gm_free(larger);
        return status;
    }
    if (net->groups) memcpy(larger, net->group, net->groups * sizeof *larger);
    larger[net->groups] = made;
    gm_free(net->group);
    net->group = larger;
    *index = (size_t)net->layers + net->groups++;
    return GM_OK;
}

size_t gm_net_group_slices(const gm_net *net, size_t index, const gm_slice **slice)
{
    *slice = NULL;
    size_t layers = (size_t)net->layers;
    if (index < layers || index >= layers + net->groups) return 0;
    *slice = net->group[index - layers].slice;
    return net->group[index - layers].slices;
}

bool gm_net_holds(const gm_net *net, size_t index, const gm_net_tensor *tensor)
{
    const gm_slice *slice;
    size_t slices = gm_net_group_slices(net, index, &slice);
    if (slices == 0) return tensor->layer == index;
    for (size_t i = 0; i < slices; i++) {
        if (tensor->offset - slice[i].offset < slice[i].size) return true;
    }
    return false;
}
