/* Version of the library, for records of what was run. */
#ifndef GRADIOMETER_VERSION_H
#define GRADIOMETER_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

/* "major.minor.patch"; never NULL. Equal to the program's --version. */
const char *gm_version(void);

#ifdef __cplusplus
}
#endif
#endif
