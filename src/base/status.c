#include "gradiometer/status.h"

#include <stdarg.h>
#include <stdio.h>

#define GM_STATUS_TEXT(code, exit_status, text) text,
static const char *const status_text[] = {GM_STATUS_LIST(GM_STATUS_TEXT)};
#define GM_STATUS_EXIT(code, exit_status, text) exit_status,
static const int status_exit[] = {GM_STATUS_LIST(GM_STATUS_EXIT)};

const char *gm_status_text(gm_status status)
{
    return (unsigned)status < GM_STATUS_COUNT ? status_text[status] : "unknown status";
}

int gm_status_exit(gm_status status)
{
    return (unsigned)status < GM_STATUS_COUNT ? status_exit[status] : 1;
}

gm_status gm_fail(gm_error *err, gm_status status, const char *format, ...)
{
    if (!err) return status;
    err->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    for (char *c = err->message; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 127) *c = ' ';
    }
    return status;
}
