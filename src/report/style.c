#include "report/page.h"
#include "report/plot.h"

static const char light_and_layout[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1c1e;--quiet:#5c6166;--line:#d9d9d9;"
    "--panel:#f6f7f8;--accent:#0072b2;--yes:#00704f;--no:#b04a00}\n"
    "html{background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%}\n"
    "body{font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Liberation Sans\",Arial,"
    "sans-serif;max-width:66rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}\n"
    "h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0 .25rem}\n"
    "h2{font-size:1.4rem;line-height:1.3;margin:3rem 0 .5rem;padding-top:.75rem;"
    "border-top:2px solid var(--ink);overflow-wrap:anywhere}\n"
    "h3{font-size:1.15rem;margin:2rem 0 .5rem}\n"
    "h4{font-size:1rem;margin:0 0 .25rem}\n"
    "p{margin:.6rem 0;overflow-wrap:anywhere}\n"
    "a{color:var(--accent)}\n"
    "sub,sup{line-height:0}\n"
    "nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem "
    "0}\n"
    ".lead{color:var(--quiet);margin-top:0}\n"
    ".finding{border-left:4px solid var(--line);padding:.1rem 0 .1rem .9rem;margin:1rem 0}\n"
    ".finding.yes{border-color:var(--yes)}.finding.no{border-color:var(--no)}\n"
    ".verdict{font-weight:600}.yes .verdict{color:var(--yes)}.no .verdict{color:var(--no)}\n"
    ".criterion,figcaption,.note{color:var(--quiet);font-size:.9rem}\n"
    "figure{margin:2rem 0;break-inside:avoid}\n"
    "figure svg{display:block;width:100%;height:auto;font-family:inherit}\n"
    ".swatch{width:1.5em;height:.5em;margin-right:.5em;vertical-align:middle}\n"
    "figcaption{margin-top:.25rem;max-width:52rem}\n"
    ".missing{background:var(--panel);border:1px dashed var(--line);padding:.75rem 1rem;"
    "color:var(--quiet)}\n"
    /* Films: see report/film.h. */
    ".stepper,.film>figure,.film.live>figure{display:none}\n"
    ".film:not(.live)>figure.key,.film.live>figure.shown{display:block}\n"
    ".film.live>.stepper{display:flex;align-items:center;gap:.75rem;margin:2rem 0 -1rem;"
    "font-size:.9rem}\n"
    ".stepper input{flex:1;max-width:32rem;accent-color:var(--accent)}\n"
    ".stepper output{min-width:5rem;font-weight:600;font-variant-numeric:tabular-nums}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:.84rem;font-variant-numeric:tabular-nums;margin:"
    ".5rem 0}\n"
    "caption{text-align:left;color:var(--quiet);padding-bottom:.3rem}\n"
    "th,td{padding:.22rem .6rem .22rem 0;text-align:right;white-space:nowrap;vertical-align:top}\n"
    "thead th{border-bottom:1px solid var(--ink);vertical-align:bottom;font-weight:600}\n"
    "tr>:last-child{padding-right:0}\n"
    "tbody tr+tr>*{border-top:1px solid var(--line)}\n"
    "th[scope=row],.text{text-align:left;font-weight:400}\n"
    "td.text,.settings td{white-space:normal;overflow-wrap:anywhere;text-align:left}\n"
    ".grid td.text{white-space:nowrap}.grid th[scope=row]{white-space:normal;min-width:11rem}\n"
    ".differ td{text-align:left;white-space:normal;min-width:5rem;max-width:18rem;"
    "overflow-wrap:break-word}\n"
    "pre{background:var(--panel);border:1px solid var(--line);padding:.75rem 1rem;"
    "white-space:pre-wrap;overflow-wrap:anywhere;font:0.875rem/1.5 ui-monospace,\"Liberation "
    "Mono\",Menlo,Consolas,monospace}\n"
    "footer{margin-top:3rem;color:var(--quiet);font-size:.875rem}\n"
    "@media print{html{font-size:10pt}body{max-width:none;padding:0}nav{display:none}"
    "a{color:inherit;text-decoration:none}h2{break-before:page}h2.first{break-before:auto}"
    ".film.live>.stepper,.film.live>figure.shown{display:none}"
    ".film.live>figure.key{display:block}"
    "h3,h4{break-after:avoid}figure{margin:1rem 0}.scroll{overflow:visible}"
    "table{font-size:7.5pt}th,td{padding-right:.4rem}}\n";

static const char dark[] =
    ":root{--paper:#15181a;--ink:#e6e8ea;--quiet:#a3a9ae;--line:#3a3d40;--panel:#1e2225;"
    "--accent:#6db7ec;--yes:#2fc79b;--no:#f2813a}\n";

void gm_page_style(FILE *page)
{
    fputs("<style>\n", page);
    fputs(light_and_layout, page);
    fputs("@media screen and (prefers-color-scheme:dark){\n", page);
    fputs(dark, page);
    for (const gm_colour *colour = gm_colours; colour->name; colour++) {
        fprintf(page,
                "svg [stroke=\"%s\"]{stroke:%s}svg [fill=\"%s\"]{fill:%s}"
                "svg [color=\"%s\"]{color:%s}\n",
                colour->light, colour->dark, colour->light, colour->dark, colour->light,
                colour->dark);
    }
    fputs("}\n</style>\n", page);
}
