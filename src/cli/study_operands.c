#include "cli/study_operands.h"

#include <limits.h>

#include "study/folder.h"

static gm_status add(gm_words *words, const char *operand, gm_error *err)
{
    char **run = NULL;
    size_t runs = 0;
    if (!gm_study_is_folder(operand)) return gm_words_add(words, operand, err);
    gm_status status = gm_study_runs(operand, &run, &runs, err);
    for (size_t i = 0; status == GM_OK && i < runs; i++) {
        status = gm_words_add(words, run[i], err);
    }
    gm_study_runs_free(run, runs);
    return status;
}

gm_status gm_study_operands_open(gm_cli *cli, gm_study_operands *list, gm_error *err)
{
    *list = (gm_study_operands){.given = cli->operand, .given_count = cli->operands};
    gm_status status = GM_OK;
    for (int i = 0; status == GM_OK && i < cli->operands; i++) {
        status = add(&list->words, cli->operand[i], err);
    }
    if (status == GM_OK && list->words.count > INT_MAX)
        status =
            gm_fail(err, GM_ERR_USAGE, "found %zu run files, expected fewer", list->words.count);
    if (status != GM_OK) return status;
    cli->operand = list->words.word;
    cli->operands = (int)list->words.count;
    return GM_OK;
}

void gm_study_operands_close(gm_cli *cli, gm_study_operands *list)
{
    cli->operand = list->given;
    cli->operands = list->given_count;
    gm_words_free(&list->words);
}
