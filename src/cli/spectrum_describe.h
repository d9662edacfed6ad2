/* spectrum --describe. */
#ifndef GM_CLI_SPECTRUM_DESCRIBE_H
#define GM_CLI_SPECTRUM_DESCRIBE_H

#include "cli/session.h"

/* Prints what the parameters of the net in --model are; no data is needed. */
gm_status gm_spectrum_describe(gm_cli *cli, gm_error *err);

#endif
