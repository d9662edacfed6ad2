#include "report/axis.h"

#include <math.h>
#include <stdbool.h>

double gm_axis_place(const gm_axis *axis, double value)
{
    switch (axis->scale) {
    case GM_SCALE_LOG:
        return value > 0.0 ? log10(value) : (double)NAN;
    case GM_SCALE_SIGNED:
        return copysign(log10(1.0 + fabs(value) / axis->unit), value);
    case GM_SCALE_LINEAR:
        break;
    }
    return value;
}

gm_axis gm_axis_for(size_t count, const double *value, double span, int decades)
{
    double low = HUGE_VAL, high = -HUGE_VAL, smallest = HUGE_VAL, largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(value[i])) continue;
        double size = fabs(value[i]);
        low = fmin(low, value[i]);
        high = fmax(high, value[i]);
        largest = fmax(largest, size);
        if (size > 0.0) smallest = fmin(smallest, size);
    }
    if (low > high) return (gm_axis){GM_SCALE_LINEAR, 1.0, 0.0, 1.0};
    if (!(largest > span * smallest)) return (gm_axis){GM_SCALE_LINEAR, 1.0, low, high};
    double unit = fmax(smallest, largest * pow(10.0, -decades));
    if (low > 0.0) return (gm_axis){GM_SCALE_LOG, unit, fmax(low, unit), high};
    return (gm_axis){GM_SCALE_SIGNED, unit, low, high};
}

/* A label in the fewest characters: 0.01, 20, -5, 15k. */
static void plain_label(double value, char label[32])
{
    double size = fabs(value);
    bool thousands = size >= 1e4;
    snprintf(label, 32, "%s%.10g%s", value < 0.0 ? "−" : "", thousands ? size / 1e3 : size,
             thousands ? "k" : "");
}

/* Multiples of 1, 2 or 5 times a power of ten, four to nine of them. */
static void write_steps(const gm_axis *axis, const char *which, bool bare, FILE *script)
{
    enum { INTERVALS = 5 };
    double range = axis->high - axis->low;
    if (!(range > 0.0)) range = fmax(fabs(axis->high), 1.0);
    double power = pow(10.0, floor(log10(range / INTERVALS))), ratio = range / INTERVALS / power;
    double step = power * (ratio > 5.0 ? 10.0 : ratio > 2.0 ? 5.0 : ratio > 1.0 ? 2.0 : 1.0);
    const char *separator = "";
    fprintf(script, "set %stics (", which);
    double first = ceil(axis->low / step - 1e-9), last = floor(axis->high / step + 1e-9);
    for (int i = 0; i <= (int)(last - first); i++) {
        double value = (first + i) * step;
        char label[32] = "";
        if (!bare) plain_label(value, label);
        fprintf(script, "%s\"%s\" %.8g", separator, label, value);
        separator = ", ";
    }
    fputs(*separator ? ")\n" : "\"\" 0)\n", script);
}

typedef struct tick_writer {
    const gm_axis *axis;
    FILE *script;
    bool bare;
    bool plain; /* 0.01 rather than 10^-2 */
    bool first;
} tick_writer;

/* One tick at digit * 10^power with the sign given; minor ticks have no label. */
static void write_tick(tick_writer *w, int sign, int digit, int power, bool minor)
{
    double value = sign * digit * pow(10.0, power);
    double slack = 1e-9 * fabs(value);
    if (value < w->axis->low - slack || value > w->axis->high + slack) return;
    fputs(w->first ? "" : ", ", w->script);
    w->first = false;
    if (w->bare || minor) {
        fputs("\"\"", w->script);
    } else if (w->plain) {
        char label[32];
        plain_label(value, label);
        fprintf(w->script, "\"%s\"", label);
    } else {
        char mantissa[16] = "";
        if (digit != 1) snprintf(mantissa, sizeof mantissa, "%d·", digit);
        fprintf(w->script, "\"%s%s10^{%s%d}\"", sign < 0 ? "−" : "", mantissa, power < 0 ? "−" : "",
                power < 0 ? -power : power);
    }
    fprintf(w->script, " %.8g%s", gm_axis_place(w->axis, value), minor ? " 1" : "");
}

/* Zero where it is on the axis, powers of ten thinned to at most five on a side, 2 and 5 times them
 * where there are hardly any, and minor ticks where there is room. */
static void write_powers(const gm_axis *axis, const char *which, bool bare, FILE *script)
{
    enum { MOST = 5, MOST_BESIDE = 3, PLAIN_FIRST = -2, PLAIN_LAST = 4 };
    bool is_signed = axis->scale == GM_SCALE_SIGNED;
    double largest = fmax(fabs(axis->low), fabs(axis->high));
    double smallest = is_signed ? axis->unit : axis->low;
    int last = (int)floor(log10(largest) + 1e-9);
    /* The first decade of a signed axis is nearly linear: a label there would touch that of 0. */
    int first = (int)ceil(log10(smallest) + (is_signed ? 0.3 : -1e-9));
    int decades = last - first + 1;
    /* Labels side by side take more room than one over the other. */
    int most = axis->low < 0.0 && *which == 'x' ? MOST_BESIDE : MOST;
    int every = decades > most ? (decades + most - 1) / most : 1;
    /* Labels at 2 and 5 times a power stand a third of a decade apart. */
    double length = gm_axis_place(axis, axis->high) - gm_axis_place(axis, axis->low);
    bool fine = decades <= 2 && (*which != 'x' || length < 2.0);
    tick_writer w = {axis, script, bare,
                     first >= PLAIN_FIRST - (fine ? 1 : 0) && last <= PLAIN_LAST, true};
    fprintf(script, "set %stics (", which);
    if (is_signed) {
        fprintf(script, "%s 0", bare ? "\"\"" : "\"0\"");
        w.first = false;
    }
    /* What a label on a horizontal axis needs between it and that of zero. */
    double room = is_signed && axis->low < 0.0 && *which == 'x' ? 0.11 * length : 0.0;
    for (int sign = 1; sign >= (is_signed ? -1 : 1); sign -= 2) {
        for (int power = last; power >= first - 1; power--) {
            bool labelled = power >= first && (last - power) % every == 0 &&
                            (!(room > 0.0) || gm_axis_place(axis, pow(10.0, power)) >= room);
            if (power >= first) write_tick(&w, sign, 1, power, !labelled);
            for (int digit = 2; every == 1 && digit <= 9; digit++) {
                if (is_signed && power < first) continue;
                write_tick(&w, sign, digit, power, !(fine && (digit == 2 || digit == 5)));
            }
        }
    }
    fputs(")\n", script);
}

void gm_axis_script(const gm_axis *axis, const char *which, gm_labels labels, FILE *script)
{
    bool bare = labels == GM_LABELS_BARE;
    double low = gm_axis_place(axis, axis->low), high = gm_axis_place(axis, axis->high);
    double margin = high > low ? 0.03 * (high - low) : fmax(0.05 * fabs(high), 1e-3);
    fprintf(script, "set %srange [%.8g:%.8g]\n", which, low - margin, high + margin);
    if (axis->scale == GM_SCALE_LINEAR) {
        write_steps(axis, which, bare, script);
    } else {
        write_powers(axis, which, bare, script);
    }
}
