#!/usr/bin/env python3
"""The tables and figures of docs/findings.md, from the folders of the three studies.

    scripts/findings.py [--figures DIR [--format svg|png]] FOLDER...

FOLDER is what `gradiometer study studies/decompose-quick.yaml -o FOLDER` and its sisters wrote. Groups are cells
that differ in their seed alone: a +- b is their mean and its standard error, b being left out where there is one
seed. Python's standard library, and gnuplot for the figures (SVG). The tables are Markdown on standard output."""
import argparse
import json
import math
import os
import statistics
import subprocess

AXES = ("data", "model", "batch", "random_labels", "subset", "step")
CLASSES = 10
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")


# ---- reading ----


def load(folder):
    """The index, and a list of (cell, {task name: document}) of what is finished."""
    with open(os.path.join(folder, "index.json")) as file:
        index = json.load(file)
    cells = []
    for cell in index["cells"]:
        documents = {}
        for task in cell["tasks"]:
            path = os.path.join(folder, task["file"])
            if task["status"] == "finished" and os.path.exists(path):
                with open(path) as file:
                    documents[task["name"]] = json.load(file)
        cells.append((cell, documents))
    return index, cells


def grouped(cells):
    """{axes without the seed: [{task: document}, ...]}."""
    groups = {}
    for cell, documents in cells:
        groups.setdefault(tuple(cell[axis] for axis in AXES), []).append(documents)
    return groups


# ---- numbers ----


def digits(value, error):
    """Both with two digits of the error."""
    if not math.isfinite(value):
        return "inf"
    if error is None or not error > 0.0:
        return f"{value:.3g}"
    places = max(0, 1 - math.floor(math.log10(error)))
    if abs(value) < 1e-3 or places > 6:
        exponent = math.floor(math.log10(max(abs(value), error)))
        scale = 10.0**exponent
        places = max(0, 1 - math.floor(math.log10(error / scale)))
        return f"({value / scale:.{places}f} ± {error / scale:.{places}f})e{exponent}"
    return f"{value:.{places}f} ± {error:.{places}f}"


def mean_error(values):
    values = [v for v in values if v is not None]
    if not values:
        return None, None
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return statistics.fmean(values), error


def average(values):
    mean, error = mean_error(list(values))
    return "-" if mean is None else digits(mean, error)


def span(values):
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"


def table(title, head, rows):
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row) + " |")


def plot(path, commands, size="640,360"):
    """A figure by gnuplot, on white: SVG, or PNG where the path ends in that."""
    terminal = "pngcairo" if path.endswith(".png") else "svg"
    text = f"set terminal {terminal} size {size} font 'sans-serif,13' background '#ffffff'\nset output '{path}'\n"
    text += "set key outside right top\nset border 3\nset tics nomirror\n" + commands
    subprocess.run(["gnuplot"], input=text, text=True, check=True)


def data_block(name, rows):
    lines = "\n".join(" ".join(f"{value}" for value in row) for row in rows)
    return f"${name} << END\n{lines}\nEND\n"


# ---- question one ----


def points_of(documents, kinds):
    return [task for task in documents[0] if task.split("@")[0].split("-")[0] in kinds]


def decompose(cells, figures):
    rows, curves = [], {}
    for key, group in grouped(cells).items():
        group = [documents for documents in group if len(documents) > 1]
        if not group:
            continue
        for task in points_of(group, ("decompose", "products")):
            d = [documents[task] for documents in group if task in documents]
            if not d:
                continue
            top = [x["operators"]["hessian"]["leading"]["eigenvalues"] for x in d]
            cosine = [x["cosines"] for x in d]
            low = [x["operators"]["hessian"].get("min") for x in d]
            if low[0] is None:
                low = [x["operators"]["hessian"]["lowest"]["eigenvalues"][-1] for x in d]
            negative = [-l / t[0] for l, t in zip(low, top)]
            pair = [p for x in d for p in x["overlap"]["pairs"] if p["a"] == "hessian" and p["b"] == "moment"]
            ninth = [p["value"][CLASSES - 2] for p in pair]
            rows.append(
                (key[0], key[1], key[2], key[3], d[0]["step"], len(d), average(x["loss"] for x in d),
                 average(100.0 * x["error_rate"] for x in d), average(t[0] for t in top), average(negative),
                 average(x["moment_trace_share"] for x in d), average(x["residual_plus_hessian"] for x in d),
                 average(c[CLASSES - 1] for c in cosine), span([sum(v >= 0.9 for v in c) for c in cosine]),
                 average(ninth), f"{pair[0]['random'][CLASSES - 2]:.2g}",
                 span([x["operators"]["hessian"]["outliers"] for x in d]),
                 span([x["operators"]["moment"]["outliers"] for x in d]),
                 average(x["gradient_shares"][CLASSES - 1] for x in d)))
            curve = curves.setdefault(key, [])
            curve.append((d[0]["step"], *mean_error([c[CLASSES - 1] for c in cosine]),
                          *mean_error([x["residual_plus_hessian"] for x in d]),
                          *mean_error([x["moment_trace_share"] for x in d])))
    table("H and M: +- over seeds",
          ("data", "net", "batch", "random", "step", "runs", "loss", "error, %", "λmax(H)", "-λmin/λmax", "tr M / tr H",
           "‖H_p + H‖/‖H‖", "10th cosine", "cosines ≥ 0.9", "overlap, k = 9", "random", "outliers H", "outliers M",
           "gradient in top 10 of H"), rows)
    if figures:
        draw_decompose(curves, figures)


def draw_decompose(curves, figures):
    """10th cosine and distance of H_p from -H over the steps, a curve for each share of random labels."""
    chosen = {key[3]: rows for key, rows in curves.items() if key[0] == "gauss10" and key[2] == 5}
    blocks, cosine, residual = "", [], []
    for i, (share, rows) in enumerate(sorted(chosen.items())):
        blocks += data_block(f"d{i}", [[max(row[0], 50)] + [v or 0 for v in row[1:]] for row in rows])
        line = f"lc rgb '{COLOURS[i]}' pt {i + 5} lw 1.5"
        cosine.append(f"$d{i} using 1:2:3 with yerrorlines {line} title '{100 * share:.0f} %'")
        residual.append(f"$d{i} using 1:4:5 with yerrorlines {line} notitle")
    plot(figures("decompose"), blocks + f"""
set multiplot layout 1,2
set logscale x
set xlabel 'training step (the first is 0)'
set xrange [40:7000]
set ylabel '10th cosine, top 15 of H and M'
set yrange [0:1.02]
set key inside right bottom title 'random labels'
plot {", ".join(cosine)}
set ylabel '|| H_p + H || / || H ||'
unset key
set logscale y
set format y '10^{{%T}}'
set yrange [*:*]
plot {", ".join(residual)}
unset multiplot
""", "820,380")


# ---- question two ----


def dynamics(cells, figures):
    predicted_steps(cells, figures)
    martingales(cells)
    phases(cells)
    policies(cells)
    ensembles(cells, figures)


def predicted_steps(cells, figures):
    rows, shown = [], []
    for cell, documents in cells:
        for task, d in documents.items():
            if not task.startswith("predict"):
                continue
            for p, o, coverage in zip(d["predicted"], d["observed"], d["coverage"]):
                error = math.hypot(o["mean_stderr"], p["mean_stderr"])
                shown.append({"cell": cell, "step": d["step"], "batch": p["batch"], "eta": p["step"], "mean": p["mean"],
                              "seen": o["mean"], "error": error, "z": (o["mean"] - p["mean"]) / error,
                              "ratio": o["variance"] / p["variance"], "v": p["v"] / p["variance"],
                              "relative": o["mean"] / p["mean"], "coverage": coverage})
    groups = {}
    for s in shown:
        cell = s["cell"]
        groups.setdefault((cell["data"], cell["model"], cell["random_labels"], s["step"], s["batch"], s["eta"]), []).append(s)
    for key, group in groups.items():
        crossed = []
        for level in (2, 3, 5):
            upper = [c["upper"] for s in group for c in s["coverage"] if c["s"] == level]
            crossed.append("%.4f" % statistics.fmean(u["frequency"] for u in upper))
        rows.append((*key, len(group), average(s["mean"] for s in group), average(s["seen"] for s in group),
                     " ".join(f"{s['z']:.1f}" for s in group), average(s["ratio"] for s in group),
                     average(s["v"] for s in group), *crossed))
    table("One step: mean and variance of the loss change, and how often the upper band is crossed",
          ("data", "net", "random", "step", "batch", "eta", "runs", "predicted mean", "seen mean", "(seen - predicted)/error",
           "variance seen/predicted", "Gaussian V/predicted", "s = 2 (0.135)", "s = 3 (0.050)", "s = 5 (0.0067)"), rows)
    gauss = [s for s in shown if s["cell"]["data"] == "gauss10"]
    for eta in sorted({s["eta"] for s in gauss}):
        z = [s["z"] for s in gauss if s["eta"] == eta]
        over, pairs = {2: 0, 3: 0, 5: 0}, 0
        for s in (s for s in gauss if s["eta"] == eta):
            pairs += 1
            for c in s["coverage"]:
                for side in ("upper", "lower"):
                    if c["s"] in over and c[side]["ci"][0] > c["level"]:
                        over[c["s"]] += 1
        print(f"\neta {eta}: {sum(abs(v) <= 2 for v in z)} of {len(z)} means within 2 errors, largest |z| {max(map(abs, z)):.1f}; of "
              f"{2 * pairs} sides crossed surely more often than e^-s: s = 2 {over[2]}, s = 3 {over[3]}, s = 5 {over[5]}")
    if figures and gauss:
        blocks, curves = "", []
        for i, (step, name) in enumerate(((0, "start"), (250, "step 250"), (2000, "end"))):
            blocks += data_block(f"d{i}", [(s["eta"] * (1.0 + 0.06 * (i - 1)), s["relative"], abs(s["error"] / s["mean"]))
                                           for s in gauss if s["step"] == step and s["batch"] == 80])
            curves.append(f"$d{i} using 1:2:3 with yerrorbars lc rgb '{COLOURS[i]}' pt {i + 5} title '{name}'")
        plot(figures("predict"), blocks + f"""
set logscale x
set xlabel 'step size, batches of 80'
set ylabel 'E Delta, seen / predicted'
set yrange [0.6:1.1]
set key inside left bottom
set xtics (0.02, 0.1, 0.5)
set xrange [0.015:0.7]
plot 1 lc rgb '#888888' notitle, {", ".join(curves)}
""")


def martingales(cells):
    groups = {}
    for cell, documents in cells:
        d = documents.get("martingale@all")
        if not d:
            continue
        for name, points in zip(d["policies"], d["steps"]):
            for p in points:
                groups.setdefault((cell["batch"], cell["random_labels"], name.split(":")[0], p["step"]), []).append(p)
    rows = [(*key, len(g), average(p["eta"] for p in g), average(p["eta_lim"] for p in g), average(p["mean"] for p in g),
             f"{sum(p['ok'] for p in g)} of {len(g)}", f"{sum(p['eta'] <= p['eta_lim'] for p in g)} of {len(g)}",
             f"{sum(p['upper'] > p['bound'] + 1e-15 and p['mean'] - 1.96 * p['se'] > p['bound'] for p in g)} of {len(g)}")
            for key, g in groups.items()]
    table("Does the loss fall in expectation?",
          ("batch", "random", "policy", "step", "runs", "eta", "eta_lim", "mean Delta", "shown to fall", "eta <= eta_lim",
           "mean surely above the bound"), rows)


def phases(cells):
    groups = {}
    for cell, documents in cells:
        d = documents.get("phases@all")
        if d:
            groups.setdefault((cell["batch"], cell["random_labels"]), []).append(d)
    rows = []
    for key, group in groups.items():
        reached = [str(d["change"]["step"]) if d["change"]["reached"] else "no" for d in group]
        ratio = {}
        for d in group:
            for point in d["steps"]:
                ratio.setdefault(point["step"], []).append(point["ratio"])
        rows.append((*key, ", ".join(reached), "; ".join(f"{s}: {average(v)}" for s, v in ratio.items())))
    table("What the noise takes back of what the gradient gains", ("batch", "random", "slow from", "share by step"), rows)


def policies(cells):
    groups = {}
    for cell, documents in cells:
        if "train" in documents and cell["data"] == "gauss10":
            groups.setdefault((cell["batch"], cell["random_labels"], cell["step"]), []).append(documents["train"])
    table("Training loss at the end, by policy", ("batch", "random", "step", "runs", "loss", "error, %"),
          [(*key, len(g), average(d["loss"] for d in g), average(100.0 * d["error_rate"] for d in g))
           for key, g in groups.items()])


def ensembles(cells, figures):
    rows, blocks, curves = [], "", []
    for cell, documents in cells:
        d = documents.get("ensemble@start")
        if not d:
            continue
        delta, square = d["quantities"]["delta"], d["quantities"].get("gradient_square")
        cosine, loss, distance = (d["quantities"][name] for name in ("cosine", "loss", "distance"))
        for at in (0, 25, 100, 250, 498):
            rows.append((cell["batch"], cell["random_labels"], d["steps"][at], digits(loss["mean"][at], loss["stderr"][at]),
                         digits(delta["mean"][at], delta["stderr"][at]), f"{delta['sd'][at]:.3g}",
                         digits(cosine["mean"][at], cosine["stderr"][at]), digits(distance["mean"][at], distance["stderr"][at])))
        if cell["random_labels"]:
            continue
        number = len(curves)
        blocks += data_block(f"d{number}", [(s + 1, abs(m), sd) for s, m, sd in zip(d["steps"], delta["mean"], delta["sd"])
                                         if m and (s < 20 or s % 25 == 0)])
        name = f"batch {cell['batch']}"
        curves.append((number, name))
    table("Ensembles of 200 runs from one start",
          ("batch", "random", "step", "loss", "mean Delta", "sd of Delta", "cosine of successive gradients", "distance"), rows)
    if figures and curves:
        parts = [f"$d{i} using 1:2 with lines lw 2 lc rgb '{COLOURS[i]}' title '{name}: |mean|', "
                 f"$d{i} using 1:3 with lines lw 1 dt 2 lc rgb '{COLOURS[i]}' title 'sd'" for i, name in curves]
        plot(figures("ensemble"), blocks + f"""
set logscale xy
set format y '10^{{%T}}'
set xlabel 'training step + 1'
set ylabel 'change of the loss in one step'
set key inside left bottom
plot {", ".join(parts)}
""")


# ---- question three ----


def bound_row(d):
    g = d["gibbs"]
    scale, n = d["prior"]["scale"], d["data"]["n"]
    return {"bound": d["bound"], "kl": d["kl"] / n, "curvature": d["effective_curvature"], "distance": d["distance"],
            "free": d["distance"] * scale**2, "scale": scale, "lambda": d["posterior"]["scale"] / n,
            "gibbs": g["train"], "gibbs_test": g.get("test"), "error": d.get("training_error"), "test": d.get("test_error")}


def deterministic(value):
    return value["value"] if isinstance(value, dict) else value


def bounds(cells, figures):
    rows, seen = [], {}
    for key, group in grouped(cells).items():
        d = [documents[task] for documents in group for task in ("bound@end", "images@end") if task in documents]
        if not d:
            continue
        values = [bound_row(x) for x in d]
        n = d[0]["data"]["n"]
        gap = [deterministic(v["test"]) - deterministic(v["error"]) for v in values
               if v["test"] is not None and v["error"] is not None]
        seen[(key[0], key[2], key[3], n)] = {name: mean_error([v[name] for v in values])
                                             for name in ("bound", "curvature", "distance", "gibbs_test", "kl")}
        rows.append((key[0], key[1], n, key[2], key[3], len(d), average(v["curvature"] for v in values),
                     average(v["distance"] for v in values), span([v["scale"] for v in values]),
                     span([float(f"{v['lambda']:.3g}") for v in values]), average(v["free"] for v in values),
                     average(v["kl"] for v in values), average(v["gibbs"] for v in values),
                     average(v["gibbs_test"] for v in values), average(v["bound"] for v in values), average(gap),
                     average(x["measures"]["lambda_max"]["value"] for x in d if "lambda_max" in x["measures"]),
                     average(x["measures"]["trace"]["value"] for x in d if "trace" in x["measures"])))
    table("The bound and its terms",
          ("data", "net", "n", "batch", "random", "runs", "curvature", "distance", "c", "lambda/n", "distance at c = 1", "KL/n", "Gibbs, training",
           "Gibbs, test", "bound", "gap of the net", "λmax(H)", "tr H"), rows)
    along(cells)
    rescaled(cells)
    if figures:
        draw_bounds(seen, figures)


def along(cells):
    groups = {}
    for cell, documents in cells:
        for d in documents.get("along@all", {}).get("checkpoints", []):
            groups.setdefault((cell["random_labels"], d["step"]), []).append(bound_row(d))
    rows = [(*key, len(g), *(average(v[name] for v in g)
                             for name in ("curvature", "distance", "scale", "free", "kl", "gibbs", "gibbs_test", "bound")))
            for key, g in groups.items()]
    if rows:
        table("The bound over the training, n = 1,000, batches of 64",
              ("random", "step", "runs", "curvature", "distance", "c", "distance at c = 1", "KL/n", "Gibbs, training", "Gibbs, test", "bound"), rows)


def rescaled(cells):
    rows = []
    for cell, documents in cells:
        d = documents.get("rescale@end")
        if not d:
            continue
        cases = d["rescaling"]["cases"]
        for magnitude in sorted({c["magnitude"] for c in cases}):
            g = [c for c in cases if c["magnitude"] == magnitude]
            rows.append((cell["seed"], magnitude, len(g),
                         *(span([float(f"{c['measures'][m]['value']:.3g}") for c in g]) for m in ("lambda_max", "trace", "frobenius")),
                         *(span([float(f"{c['terms'][m]:.6g}") for c in g])
                           for m in ("effective_curvature", "distance", "bound"))))
        print(f"\nseed {cell['seed']}: largest relative change of what stays {d['rescaling']['max_relative_change']:.2g} "
              f"({d['rescaling']['changed_most']})")
    if rows:
        table("Re-scaled layers", ("seed", "largest factor", "cases", "λmax(H)", "tr H", "‖H‖_F", "curvature", "distance", "bound"), rows)


def draw_bounds(seen, figures):
    """Over the share of random labels at n = 1,000, by batch size; over n at batches of 64, by share."""
    blocks, shares, sizes = "", [], []
    gauss = {key: value for key, value in seen.items() if key[0] == "gauss10"}
    middle = 1000
    for i, batch in enumerate(sorted({key[1] for key in gauss})):
        rows = sorted((100 * key[2], *value["bound"]) for key, value in gauss.items() if key[1] == batch and key[3] == middle)
        blocks += data_block(f"b{i}", [(x, v, e or 0) for x, v, e in rows])
        shares.append(f"$b{i} using 1:2:3 with yerrorlines lc rgb '{COLOURS[i]}' pt {i + 5} title 'batch {batch}'")
    for i, share in enumerate(sorted({key[2] for key in gauss})):
        rows = sorted((key[3], *value["bound"]) for key, value in gauss.items() if key[2] == share and key[1] == 64)
        blocks += data_block(f"n{i}", [(x, v, e or 0) for x, v, e in rows])
        sizes.append(f"$n{i} using 1:2:3 with yerrorlines lc rgb '{COLOURS[i]}' pt {i + 5} title '{100 * share:.0f} % random'")
    plot(figures("bound"), blocks + f"""
set multiplot layout 1,2
set key inside left bottom
set yrange [0:1.05]
set ylabel 'bound on the Gibbs error'
set xlabel 'random labels, % (n = 1,000)'
set xrange [-5:105]
plot {", ".join(shares)}
set xlabel 'samples (batches of 64)'
set logscale x
set xrange [200:5000]
set xtics (250, 1000, 4000)
plot {", ".join(sizes)}
unset multiplot
""", "820,380")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", nargs="+")
    parser.add_argument("--figures", metavar="DIR")
    parser.add_argument("--format", choices=("svg", "png"), default="svg", help="of the figures")
    given = parser.parse_args()

    def figure(name):
        return os.path.join(given.figures, f"findings-{name}.{given.format}")

    for folder in given.folder:
        index, cells = load(folder)
        states = [cell["status"] for cell, _ in cells]
        print(f"\n## {index['name']}: {states.count('finished')} of {len(states)} cells finished")
        question = index["name"].split("-")[0]
        {"decompose": decompose, "dynamics": dynamics, "bound": bounds}[question](cells, figure if given.figures else None)


if __name__ == "__main__":
    main()
