/* Run files by the folder of a study. */
#ifndef GM_CLI_STUDY_OPERANDS_H
#define GM_CLI_STUDY_OPERANDS_H

#include "cli/cli.h"
#include "study/words.h"

/* The operands of a command with every folder of a study in the place of its finished cells' run
 * files. While it is in use cli->operand and cli->operands are the longer list. */
typedef struct gm_study_operands {
    gm_words words;
    char **given; /* what close puts back */
    int given_count;
} gm_study_operands;

/* GM_ERR_INPUT for a study without finished cells, GM_ERR_IO for an index that cannot be read.
 * close accepts what a failure left. */
gm_status gm_study_operands_open(gm_cli *cli, gm_study_operands *list, gm_error *err);
void gm_study_operands_close(gm_cli *cli, gm_study_operands *list);

#endif
