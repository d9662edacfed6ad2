/* From the file to the cells: every choice of one value on each axis, less what is excluded. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "study/plan.h"

/* ---- settings that count ---- */

const gm_study_list *gm_grid_list(const gm_study *study, size_t data, gm_study_axis axis)
{
    const gm_study_list *own = &study->file->data[data].own.axis[axis];
    return own->count ? own : &study->file->common.axis[axis];
}

const char *gm_study_steps(const gm_study *study, size_t data)
{
    const char *own = study->file->data[data].own.steps;
    return own ? own : study->file->common.steps;
}

char *gm_study_field(const gm_study_plan *plan, const gm_study_cell *cell, gm_study_axis axis,
                     gm_error *err)
{
    const char *key = gm_study_axis_key[axis];
    if (!cell->value[axis]) return gm_strdup(key, err);
    if (plan->study->file->data[cell->data].own.axis[axis].count)
        return gm_format(err, "data[%zu].%s[%u]", cell->data, key, cell->index[axis]);
    return gm_format(err, "%s[%u]", key, cell->index[axis]);
}

/* ---- filters ---- */

static bool holds(const gm_study_list *list, const char *text)
{
    for (unsigned i = 0; text && i < list->count; i++) {
        if (strcmp(list->item[i], text) == 0) return true;
    }
    return false;
}

bool gm_grid_matches(const gm_study_plan *plan, const gm_study_cell *cell,
                     const gm_study_filter *filter)
{
    const gm_study_data *data = plan->study->file->data + cell->data;
    bool matches = !filter->data.count || holds(&filter->data, data->name);
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        matches = matches && (!filter->axis[a].count || holds(&filter->axis[a], cell->value[a]));
    }
    return matches;
}

static bool on_axis(const gm_study *study, gm_study_axis axis, const char *text)
{
    for (unsigned d = 0; d < study->file->data_count; d++) {
        if (holds(gm_grid_list(study, d, axis), text)) return true;
    }
    return false;
}

/* What a filter names must be on the grid: anything else is a typing error. */
static gm_status check_filter(const gm_study *study, const char *where,
                              const gm_study_filter *filter, gm_error *err)
{
    char field[128];
    for (unsigned i = 0; i < filter->data.count; i++) {
        bool known = false;
        for (unsigned d = 0; d < study->file->data_count; d++) {
            known = known || strcmp(study->file->data[d].name, filter->data.item[i]) == 0;
        }
        snprintf(field, sizeof field, "%s.data[%u]", where, i);
        if (!known)
            return gm_study_refuse(study->path, field, err, "found %.80s, no data set of this name",
                                   filter->data.item[i]);
    }
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        for (unsigned i = 0; i < filter->axis[a].count; i++) {
            snprintf(field, sizeof field, "%s.%s[%u]", where, gm_study_axis_key[a], i);
            if (!on_axis(study, (gm_study_axis)a, filter->axis[a].item[i]))
                return gm_study_refuse(study->path, field, err, "found %.80s, not a value of %s",
                                       filter->axis[a].item[i], gm_study_axis_key[a]);
        }
    }
    return GM_OK;
}

static gm_status check_filters(const gm_study *study, gm_error *err)
{
    const gm_study_file *file = study->file;
    char field[64];
    gm_status status = GM_OK;
    for (unsigned i = 0; status == GM_OK && i < file->exclude_count; i++) {
        snprintf(field, sizeof field, "exclude[%u]", i);
        status = check_filter(study, field, file->exclude + i, err);
    }
    for (unsigned i = 0; status == GM_OK && i < file->measure_count; i++) {
        snprintf(field, sizeof field, "measure[%u].only", i);
        if (file->measure[i].only) status = check_filter(study, field, file->measure[i].only, err);
    }
    return status;
}

/* ---- names ---- */

static gm_status check_data_names(const gm_study *study, gm_error *err)
{
    char field[64];
    for (unsigned d = 0; d < study->file->data_count; d++) {
        const gm_study_data *data = study->file->data + d;
        snprintf(field, sizeof field, "data[%u].name", d);
        for (unsigned e = 0; e < d; e++) {
            if (strcmp(study->file->data[e].name, data->name) == 0)
                return gm_study_refuse(study->path, field, err,
                                       "found '%.80s' twice, expected a name of its own",
                                       data->name);
        }
    }
    return GM_OK;
}

/* True where the axis takes more than one value in the study, so that names must tell them. */
static bool varies(const gm_study *study, gm_study_axis axis)
{
    const gm_study_list *first = gm_grid_list(study, 0, axis);
    for (unsigned d = 0; d < study->file->data_count; d++) {
        const gm_study_list *list = gm_grid_list(study, d, axis);
        if (list->count > 1 || list->count != first->count) return true;
        if (list->count && strcmp(list->item[0], first->item[0]) != 0) return true;
    }
    return false;
}

/* Of a value that has no letter or digit for a file name, its number. */
static void name_part(const char *text, size_t number, size_t size, char *part)
{
    gm_words_file_name(text, size, part);
    if (!*part) snprintf(part, size, "%zu", number + 1);
}

/* "gauss_mlp-50-30-10_batch5_seed1": the data set and what varies. */
static gm_status name_cell(const gm_study *study, const bool *shown, gm_study_cell *cell,
                           gm_error *err)
{
    static const char *const letter[GM_STUDY_AXES] = {"", "batch", "labels", "n", "seed", "step"};
    enum { PART = 40 };
    char name[(GM_STUDY_AXES + 1) * (PART + 8)], part[PART];
    name_part(study->file->data[cell->data].name, cell->data, sizeof part, part);
    size_t length = (size_t)snprintf(name, sizeof name, "%s", part);
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        if (!shown[a] || !cell->value[a]) continue;
        name_part(cell->value[a], cell->index[a], sizeof part, part);
        bool word = *letter[a] && !isdigit((unsigned char)*part) && *part != '.';
        length += (size_t)snprintf(name + length, sizeof name - length, "_%s%s%s", letter[a],
                                   word ? "-" : "", part);
    }
    cell->name = gm_strdup(name, err);
    cell->run = gm_format(err, "cells/%s.gmr", name);
    return cell->name && cell->run ? GM_OK : GM_ERR_MEMORY;
}

static gm_status check_names(const gm_study_plan *plan, gm_error *err)
{
    for (size_t i = 0; i < plan->cells; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(plan->cell[i].name, plan->cell[j].name) != 0) continue;
            return gm_fail(err, GM_ERR_INPUT,
                           "%s: two cells are called %s: their values differ in more than a file "
                           "name can tell",
                           plan->study->path, plan->cell[i].name);
        }
    }
    return GM_OK;
}

/* ---- the grid ---- */

/* Number of cells of one data set before exclusions; at most GM_STUDY_MOST + 1. */
static size_t count_cells(const gm_study *study, size_t data)
{
    size_t cells = 1;
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        unsigned count = gm_grid_list(study, data, (gm_study_axis)a)->count;
        if (count) cells *= count;
        if (cells > GM_STUDY_MOST) return (size_t)GM_STUDY_MOST + 1;
    }
    return cells;
}

/* Cell number `index` of a data set: a number in mixed radix, the last axis its last digit. */
static void choose(const gm_study *study, size_t data, size_t index, gm_study_cell *cell)
{
    *cell = (gm_study_cell){.data = data};
    for (int a = GM_STUDY_AXES - 1; a >= 0; a--) {
        const gm_study_list *list = gm_grid_list(study, data, (gm_study_axis)a);
        if (!list->count) continue;
        cell->index[a] = (unsigned)(index % list->count);
        cell->value[a] = list->item[cell->index[a]];
        index /= list->count;
    }
}

static bool excluded(const gm_study_plan *plan, const gm_study_cell *cell)
{
    const gm_study_file *file = plan->study->file;
    for (unsigned i = 0; i < file->exclude_count; i++) {
        if (gm_grid_matches(plan, cell, file->exclude + i)) return true;
    }
    return false;
}

static gm_status fill(gm_study_plan *plan, gm_error *err)
{
    const gm_study *study = plan->study;
    bool shown[GM_STUDY_AXES];
    gm_status status = GM_OK;
    for (int a = 0; a < GM_STUDY_AXES; a++) {
        shown[a] = varies(study, (gm_study_axis)a);
    }
    for (size_t d = 0; d < study->file->data_count; d++) {
        size_t count = count_cells(study, d);
        for (size_t i = 0; status == GM_OK && i < count; i++) {
            gm_study_cell *cell = plan->cell + plan->cells;
            choose(study, d, i, cell);
            if (excluded(plan, cell)) continue;
            plan->cells++;
            status = name_cell(study, shown, cell, err);
        }
    }
    return status;
}

gm_status gm_grid_expand(gm_study_plan *plan, gm_error *err)
{
    const gm_study *study = plan->study;
    size_t most = 0;
    gm_status status = check_data_names(study, err);
    if (status == GM_OK) status = check_filters(study, err);
    for (size_t d = 0; status == GM_OK && d < study->file->data_count; d++) {
        if (!gm_grid_list(study, d, GM_STUDY_MODEL)->count)
            return gm_study_refuse(study->path, "model", err,
                                   "missing, expected a list of models (for data set %s)",
                                   study->file->data[d].name);
        most += count_cells(study, d);
        if (most > GM_STUDY_MOST)
            return gm_fail(err, GM_ERR_INPUT, "%s: more than %d cells", study->path, GM_STUDY_MOST);
    }
    if (status != GM_OK) return status;
    plan->cell = gm_alloc(most, sizeof *plan->cell, "cells", err);
    if (!plan->cell) return GM_ERR_MEMORY;
    status = fill(plan, err);
    if (status == GM_OK && !plan->cells)
        return gm_study_refuse(study->path, "exclude", err, "leaves no cell of the grid");
    return status == GM_OK ? check_names(plan, err) : status;
}
