#include "gradiometer/version.h"

const char *gm_version(void)
{
    return GM_VERSION; /* the project's version in CMakeLists.txt */
}
