#include "base/natural.h"

#include <string.h>

static const char digits[] = "0123456789";

/* Sign of the difference of the numbers that *a and *b begin with; both move behind them. */
static int compare_numbers(const char **a, const char **b)
{
    *a += strspn(*a, "0");
    *b += strspn(*b, "0");
    size_t x = strspn(*a, digits), y = strspn(*b, digits);
    int order = x != y ? (x < y ? -1 : 1) : strncmp(*a, *b, x);
    *a += x;
    *b += y;
    return order;
}

int gm_natural_compare(const char *a, const char *b)
{
    const char *x = a, *y = b;
    int order = 0;
    while (order == 0 && *x && *y) {
        if (strchr(digits, *x) && strchr(digits, *y)) {
            order = compare_numbers(&x, &y);
        } else {
            order = (unsigned char)*x - (unsigned char)*y;
            x++;
            y++;
        }
    }
    if (order == 0) order = (unsigned char)*x - (unsigned char)*y;
    return order ? order : strcmp(a, b);
}
