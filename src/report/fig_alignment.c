/* |u_j . v_l| for the leading eigenvectors u_j of H and v_l of M, at the first and last point. */
#include <math.h>

#include "report/figure.h"
#include "report/plot.h"
#include "report/result.h"

typedef struct panel {
    size_t rows, columns;
    int64_t step;
    int number;
} panel;

static gm_status write_panel(const gm_subject_point *point, panel *p, FILE *script, gm_error *err)
{
    gm_numbers product;
    gm_status status = gm_result_numbers(point->document, "vector_products", &product, err);
    if (status != GM_OK) return status;
    p->step = point->step;
    if (product.finite) {
        p->rows = product.rows;
        p->columns = product.columns;
    }
    fprintf(script, "$tiles_%d << EOD\n", p->number);
    for (size_t j = 0; j < p->rows; j++) {
        for (size_t l = 0; l < p->columns; l++) {
            gm_tile(script, (double)(l + 1), (double)(j + 1),
                    fabs(product.value[j * p->columns + l]));
        }
    }
    fputs("EOD\n", script);
    gm_numbers_free(&product);
    return GM_OK;
}

static void plot_panel(const panel *p, bool labelled, FILE *script)
{
    char name[32];
    snprintf(name, sizeof name, "tiles_%d", p->number);
    fprintf(script, "set xrange [0.4:%.1f]\nset yrange [%.1f:0.4]\n", (double)p->columns + 0.6,
            (double)p->rows + 0.6);
    char step[64];
    gm_step_text(p->step, step, sizeof step);
    fprintf(script, "set title \"%s\"\n", step);
    fprintf(script, "set ytics scale 0 1,2 format \"%s\"\nset xtics scale 0 1,2\n",
            labelled ? "%h" : "");
    gm_plot_tiles(script, name);
}

static gm_status draw(const gm_subject *subject, gm_drawing *drawing, gm_error *err)
{
    FILE *script = drawing->script;
    panel shown[2] = {{0, 0, -1, 0}, {0, 0, -1, 1}};
    int panels = 0;
    gm_status status = GM_OK;
    if (subject->points) {
        status = write_panel(&subject->point[0], &shown[0], script, err);
        panels += shown[0].rows > 0 ? 1 : 0;
    }
    if (status == GM_OK && subject->points > 1) {
        shown[panels].number = panels;
        status = write_panel(&subject->point[subject->points - 1], &shown[panels], script, err);
        panels += shown[panels].rows > 0 ? 1 : 0;
    }
    if (status != GM_OK) return status;
    if (!panels) {
        fputs("The run file holds no products of the leading eigenvectors of <i>H</i> and "
              "<i>M</i>.",
              drawing->missing);
        return GM_OK;
    }
    gm_layout layout = {1, false, 380, GM_TITLE_ROW, 0};
    fputs("set multiplot\nunset grid\nset border 0\n"
          "set xlabel \"eigenvector of {/:Italic M}\"\n",
          script);
    for (int i = 0; i < panels; i++) {
        gm_panel(&layout, 0, i ? "" : "eigenvector of {/:Italic H}", script);
        fprintf(script, "set lmargin at screen %.4f\nset rmargin at screen %.4f\n", 0.11 + i * 0.39,
                panels == 1 ? 0.87 : 0.48 + i * 0.39);
        plot_panel(&shown[i], i == 0, script);
        gm_panel_end(script);
    }
    gm_tile_key(&layout, script, "|{/:Italic u}_j · {/:Italic v}_l|");
    fputs("unset multiplot\n", script);
    drawing->height = layout.height;
    fputs("Sizes of the inner products of single eigenvectors, largest eigenvalue first: "
          "<i>u<sub>j</sub></i> of <i>H</i> downwards, <i>v<sub>l</sub></i> of <i>M</i> to the "
          "right. A full diagonal means that the eigenvectors agree one by one; a filled block "
          "that two groups span the same subspace in different bases; colour outside of a block "
          "that directions are exchanged between the leading ones and the rest.",
          drawing->caption);
    return GM_OK;
}

const gm_figure gm_figure_alignment = {"alignment", "Eigenvectors of H against those of M", draw,
                                       gm_figure_of_decomposition};
