#!/usr/bin/env python3
"""A run file in pandas and NumPy, step by step, the way one would in a notebook.

    python3 examples/analyse_run.py [run.gmr]

Without a run file it makes one: a small net, its Hessian along the training, a spectral density. Cells are marked by
"# %%", which notebooks and editors understand. GRADIOMETER names the program (default: the one in the PATH).
docs/export.md describes the files that are read.
"""
# %% Which run
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd

program = os.environ.get("GRADIOMETER", "gradiometer")
work = tempfile.TemporaryDirectory(prefix="analyse-run-")
folder = work.name


def gradiometer(*words):
    """Runs the program; a failure shows its one line of explanation."""
    subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)


if len(sys.argv) > 1:
    run = sys.argv[1]
else:
    run = os.path.join(folder, "run.gmr")
    data = ["--data", "gauss:k=4,d=10,n=200"]
    gradiometer("train", "--model", "mlp:10-12-4", *data, "--test-data", data[1], "--batch", "10", "--steps", "2000", "-o", run, "-q")
    gradiometer("decompose", "--params", run + "@all", "--k", "4", "-o", run, "-q")
    gradiometer("spectrum", "--params", run, "--method", "density", "--deflate", "4", "-o", run, "-q")


def export(name, *items):
    """Writes items of the run as name, in the format of its ending; returns the path."""
    path = os.path.join(folder, name)
    gradiometer("export", run, *items, "-o", path)
    return path


# %% Metrics: one table, a line for each step. What was not measured at a step is NaN.
metrics = pd.read_csv(export("metrics.csv", "metrics"), index_col="step")
measured = metrics[["loss", "error_rate", "gradient_norm", "distance"]].dropna()
print(measured.iloc[np.unique(np.geomspace(1, len(measured), 8).astype(int)) - 1].to_string(), "\n")

# %% The noise of the batches: their losses about the loss of the whole set, by decades of training
steps = metrics["batch_loss"].dropna()
decade = pd.Series(np.log10(steps.index + 1).astype(int), steps.index, name="decade")
print(steps.groupby(decade).agg(["mean", "std", "count"]).to_string(), "\n")

# %% Settings and documents: JSON
everything = json.load(open(export("run.json", "settings", "results"), encoding="utf-8"))
print(everything["settings"]["model"], "on", everything["settings"]["data"])
for result in everything["results"]:
    print(f"  {result['item']}: {len(result['arrays'])} arrays, of {result['created']}")
print()

# %% Spectra along the run: arrays by the name of their item
arrays = np.load(export("arrays.npz", "results", "checkpoints"))
for name in arrays.files:
    if not name.endswith(":hessian/eigenvalues"):
        continue
    hessian, moment = arrays[name], arrays[name.replace("hessian/", "moment/")]
    at = arrays[name.replace("hessian/eigenvalues", "steps")].astype(int)
    table = pd.DataFrame({"lambda_1 of H": hessian[:, 0], "lambda_1 of M": moment[:, 0], "tr H": hessian.sum(1), "tr M": moment.sum(1)},
                         index=pd.Index(at, name="step"))
    print(table.iloc[::2].to_string(float_format="%.4g"), "\n")

# %% A density: it integrates to the share of eigenvalues that are not deflated, with an error from its probes
for name in arrays.files:
    if not name.endswith("density/grid"):
        continue
    grid, values = arrays[name], arrays[name.replace("grid", "values")]
    error = arrays[name.replace("grid", "stderr")]
    width = np.diff(grid).mean()
    high = grid > 0.1
    print(f"{name.split(':')[0]}: {100 * (values * width).sum():.2f} % of the eigenvalues in the density,")
    print(f"  {100 * (values[high] * width).sum():.2f} % above 0.1; largest standard error {error.max():.3g} of {values.max():.3g}\n")

# %% How far it went: distances between checkpoints, from their parameters
points = {int(name.split("/")[1]): arrays[name] for name in arrays.files if name.startswith("checkpoints/")}
order = sorted(points)
moves = pd.Series({b: np.linalg.norm(points[b] - points[a]) for a, b in zip(order, order[1:])}, name="moved")
moves.index.name = "step"
print(moves.to_string())
# The same number two ways: the recorded distance of the last step from the first, and the checkpoints'.
assert np.isclose(np.linalg.norm(points[order[-1]] - points[order[0]]), metrics["distance"].dropna().iloc[-1])
