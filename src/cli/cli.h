/* The frame every command stands in: option tables that parse and document at once, the shared
 * shared options, notices, and the record of one invocation.
 *
 * A command is one file cmd_NAME.c that defines `const gm_command gm_command_NAME`; main.c lists
 * them. It never parses argv itself: it declares a settings struct, defaults and a table of
 * options, and its run function finds the parsed values in cli->settings and cli->shared. */
#ifndef GM_CLI_CLI_H
#define GM_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gradiometer/diff.h"
#include "gradiometer/sgd.h"
#include "gradiometer/status.h"
#include "gradiometer/team.h"
#include "gradiometer/types.h"
#include "spectrum/rows.h"

typedef struct gm_option gm_option;
struct gm_option {
    const char *name;     /* long name without dashes; NULL ends a table */
    char letter;          /* short form, 0 without */
    const char *argument; /* placeholder in the help, "N" say; NULL for a flag */
    const char *help;     /* one or more sentences, wrapped by the help printer */
    /* Checks text (NULL for a flag) and stores it in *target; gm_fail names the option. */
    gm_status (*parse)(const gm_option *option, const char *text, void *target, gm_error *err);
    size_t offset;              /* of the target in the settings struct */
    const char *const *choices; /* gm_option_choice: the words, NULL-terminated */
    unsigned long long most;    /* gm_option_count, gm_option_natural: largest value, 0 = none */
};

/* Parsers for option tables; the type in the comment is that of the target field. All demand a full
 * match: no spaces, no trailing letters, no sign wrap. */
gm_status gm_option_flag(const gm_option *o, const char *text, void *target, gm_error *err);
/* bool */
gm_status gm_option_text(const gm_option *o, const char *text, void *target, gm_error *err);
/* const char *, points into argv; the empty text is refused */
gm_status gm_option_count(const gm_option *o, const char *text, void *target, gm_error *err);
/* size_t >= 1 */
gm_status gm_option_natural(const gm_option *o, const char *text, void *target, gm_error *err);
/* size_t >= 0 */
gm_status gm_option_seed(const gm_option *o, const char *text, void *target, gm_error *err);
/* uint64_t */
gm_status gm_option_steps(const gm_option *o, const char *text, void *target, gm_error *err);
/* uint64_t >= 1 */
gm_status gm_option_positive(const gm_option *o, const char *text, void *target, gm_error *err);
/* double > 0, finite */
gm_status gm_option_nonnegative(const gm_option *o, const char *text, void *target, gm_error *err);
/* double >= 0, finite */
gm_status gm_option_fraction(const gm_option *o, const char *text, void *target, gm_error *err);
/* double, 0 ... 1 */
gm_status gm_option_bytes(const gm_option *o, const char *text, void *target, gm_error *err);
/* size_t >= 1: 1048576, 512M, 2G, 1.5GiB (K, M, G, T are powers of 1024) */
gm_status gm_option_choice(const gm_option *o, const char *text, void *target, gm_error *err);
/* int or an enum: index of the word in o->choices */

/* Groups of shared options that a command takes. -v, -q and --help belong to every command,
 * --threads, --seed and --json to those that take a model or data. */
enum {
    GM_TAKES_MODEL =
        1 << 0, /* --model --logits --constants --params; with --loss --precision --memory */
    GM_TAKES_DATA = 1 << 1,      /* --data --subset --random-labels --standardize */
    GM_TAKES_TEST = 1 << 2,      /* --test-data */
    GM_TAKES_BATCH = 1 << 3,     /* --replacement */
    GM_TAKES_TOLERANCE = 1 << 4, /* --tol */
    GM_TAKES_LAYER = 1 << 5,     /* --layer, --layers each */
    GM_TAKES_OUTPUT = 1 << 6,    /* -o, --output: a run file */
    GM_TAKES_WATCH = 1 << 7,     /* --watch, --watch-until, --watch-idle */
    GM_TAKES_ONE_LAYER = 1 << 8  /* --layer alone */
};

/* Shared options as given; defaults in brackets. What a run file in --params filled in is resolved
 * in the session, not here. */
typedef struct gm_shared {
    const char *model;          /* [NULL] */
    const char *logits;         /* [NULL: the model's only output] */
    const char *constants;      /* [NULL: none by name] */
    const char *params;         /* [NULL: initialization] */
    const char *data;           /* [NULL] */
    const char *test_data;      /* [NULL] */
    size_t subset;              /* [0: all] */
    double random_labels;       /* [0] */
    bool standardize;           /* [false] */
    gm_loss loss;               /* [cross_entropy] */
    gm_dtype precision;         /* [by the number of parameters] */
    uint64_t seed;              /* [0] */
    size_t threads;             /* [0: all processors] */
    size_t memory;              /* [0: half of the machine's] */
    double tol;                 /* [0: 1e-4 in f32, 1e-10 in f64] */
    gm_replacement replacement; /* [yes] */
    const char *layer;          /* [NULL: the whole net] */
    bool each_layer;            /* [false], true with --layers each */
    bool json;                  /* [false] */
    const char *output;         /* [NULL] */
    const char *watch;          /* [NULL] */
    size_t watch_until;         /* [0: no limit] */
    double watch_idle;          /* [0: no limit] */
    bool verbose, quiet;        /* [false] */
} gm_shared;

typedef struct gm_cli gm_cli;

/* How the ranks of gradiometer-mpi share the work of a command. */
typedef enum gm_sharing {
    GM_SHARING_NONE,    /* rank 0 works alone */
    GM_SHARING_SAMPLES, /* all do the same; each holds a share of the samples and sums over it */
    GM_SHARING_SUMS,    /* the same where all samples are held, since some are picked out of them */
    GM_SHARING_RUNS,    /* each does other runs, all of every one of them */
    GM_SHARING_PROBES,  /* each takes other probes where all samples fit it, else as with SAMPLES */
    GM_SHARING_TIMED,   /* all are asked in turn (bench) */
    GM_SHARING_COUNT
} gm_sharing;
/* What each rank does, for a notice; never NULL. */
const char *gm_sharing_text(gm_sharing sharing);

typedef struct gm_command {
    const char *name;         /* "spectrum" */
    const char *summary;      /* one line for the list of commands, lower case, no full stop */
    const char *usage;        /* what follows the name: "--model SPEC --data SPEC [OPTION]..." */
    const char *description;  /* paragraphs separated by "\n\n", wrapped by the help printer */
    const char *examples;     /* lines as they should be printed, each with its newline */
    unsigned takes;           /* GM_TAKES_... */
    const gm_option *options; /* the command's own, ended by a NULL name; NULL without */
    size_t settings_size;     /* of the struct that they fill, 0 without */
    const void *defaults;     /* [settings_size] its default values */
    int operands_min, operands_max; /* arguments that are no options; checked before run */
    /* What is wrong with the options by themselves, found without opening a file: called before
     * run, and by a study for the commands of its plan. NULL: the table says it all. */
    gm_status (*check)(gm_cli *cli, gm_error *err);
    /* Everything from the parsed options to the printed result. Returns the status that main turns
     * into the exit status and, where it failed, the one line on stderr. */
    gm_status (*run)(gm_cli *cli, gm_error *err);
    /* NULL; else asked as soon as the net is known, before data and parameters take memory. */
    gm_status (*check_net)(const gm_cli *cli, const gm_net *net, gm_error *err);
    /* How ranks share the invocation whose options are parsed; NULL: not at all. */
    gm_sharing (*sharing)(const gm_cli *cli);
} gm_command;

/* One invocation. Fields are set before run is called. */
struct gm_cli {
    const gm_command *command;
    gm_shared shared;
    void *settings; /* the command's own struct, filled */
    int operands;
    char **operand; /* [operands] */
    char *line;     /* the whole command as typed, shell-quoted, for the run file */
    double start;   /* gm_cli_seconds() counts from here */

    const gm_team *team;             /* whose ranks share the work; NULL: nobody does */
    const gm_row_solver *row_solver; /* NULL: the program was built without one */
    gm_sharing sharing;
    bool silent; /* this rank writes no file: rank 0 does */

    /* private to cli.c */
    struct gm_entry *entry; /* [entries]: the table of all its options */
    size_t entries;
    char **note; /* [notes] */
    size_t notes;
    bool begun;
};

/* True where the user gave the option of that long name. */
bool gm_cli_given(const gm_cli *cli, const char *name);
/* GM_ERR_USAGE "--NAME is needed ..." unless it was given. */
gm_status gm_cli_require(const gm_cli *cli, const char *name, gm_error *err);
/* GM_ERR_USAGE where an option beside --NAME and those listed (ended by NULL) was given. */
gm_status gm_cli_only(const gm_cli *cli, const char *name, const char *const *beside,
                      gm_error *err);
/* Seconds of wall clock since the start of the program. */
double gm_cli_seconds(const gm_cli *cli);

/* Adds a notice (a default chosen, a number that became null) to the JSON key `notes` and, with -v,
 * to stderr: at once after gm_cli_begin, held back before it. Never fails; without memory the
 * notice is lost. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void gm_cli_note(gm_cli *cli, const char *format, ...);
/* All options and inputs are checked: prints the notices held back. To be called by run right
 * before its computation starts, so that an error is the only line on stderr. */
void gm_cli_begin(gm_cli *cli);

/* GM_ERR_IO unless a file can be created at path: tried (and, where it did not exist, removed
 * again) before the computation, so that hours of work are not lost to a typing error. */
gm_status gm_cli_check_writable(const char *option, const char *path, gm_error *err);

extern const gm_command gm_command_data;
extern const gm_command gm_command_train;
extern const gm_command gm_command_spectrum;
extern const gm_command gm_command_decompose;
extern const gm_command gm_command_dynamics;
extern const gm_command gm_command_bound;
extern const gm_command gm_command_landscape;
extern const gm_command gm_command_study;
extern const gm_command gm_command_report;
extern const gm_command gm_command_export;
extern const gm_command gm_command_bench;

#endif
