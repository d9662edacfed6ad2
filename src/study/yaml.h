/* Places in a YAML file: what libcyaml does not keep is the line that a value came from. */
#ifndef GM_STUDY_YAML_H
#define GM_STUDY_YAML_H

#include "study/study.h"

/* GM_OK where path holds one YAML document that is a mapping; else GM_ERR_IO, or GM_ERR_INPUT with
 * file and line. */
gm_status gm_yaml_check(const char *path, gm_error *err);
/* The line, from 1, of the innermost part of field that the file has: of a key's own line for a
 * value in a mapping. 0 where the file is no YAML. */
size_t gm_yaml_line(const char *path, const char *field);

#endif
