"""Gradiometer and PyTorch side by side: agreement, one Hessian product, eigenpairs and a density, a
dense Hessian.

    compare.py BUILD [--mnist DIR] [--rounds N] [--wait SECONDS] [--only products|spectra|dense]
               [--threads N] [--probes N] [--agree] [--small]

Every setting runs in a process of its own, so that its peak memory is its own. First each setting of
PyTorch runs once; then, for each number of threads and each choice of OpenBLAS kernels, the fastest
two that compute the right result run again in turn with Gradiometer, N rounds. Ratios are those of
medians over all rounds. A child that other programs disturbed is tried again when they are quiet,
as long as --wait allows. Eigenpairs and density (spectra.py) run once for each. --threads takes one
number of threads instead of 1 and 2. Status 1 where results disagree.
"""

import argparse
import signal
import statistics
import sys
import tempfile

import numpy as np

import spectra
from children import DISTURBED, PATIENCE, PRODUCTS, THREADS, Work, core_types, processor

TOLERANCE = {"f32": 1e-4, "f64": 1e-9}  # relative, in the Euclidean norm

DENSE = [  # method of torch_dense.py, columns together (0 = all), freed memory held
    ("row_by_row", 1, False), ("row_by_row", 1, True),
    ("batched_double_backward", 8, False), ("batched_double_backward", 16, False),
    ("batched_double_backward", 16, True), ("batched_double_backward", 64, True),
    ("forward_over_reverse", 16, False), ("forward_over_reverse", 64, True),
    ("functional_hessian", 0, True), ("functional_hessian_forward", 0, True),
]


def relative_error(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def agreement(work, precisions):
    """Hv, Gv, Mv and gradient against autograd's. True where all agree."""
    agree = True
    print(f"Agreement with autograd, {work.model}: |ours - PyTorch| / |PyTorch|")
    for precision in precisions:
        work.ours("products", precision, 1, 1)
        result = work.torch("torch_agree.py", precision, core="Haswell")
        if "failed" in result:
            sys.exit(f"compare.py: torch_agree.py: {result['failed']}")
        words = []
        for key in ("hv", "gv", "mv", "gradient"):
            expected = work.load(f"torch_{key}_{precision}")
            error = relative_error(work.load(f"{key}_{precision}"), expected)
            agree &= error <= TOLERANCE[precision]
            words.append(f"{key} {error:.1e}")
        print(f"  {precision}  {'  '.join(words)}  (tolerance {TOLERANCE[precision]:.0e})")
    print(f"  verdict: {'all agree' if agree else 'THEY DISAGREE'}\n")
    return agree


class Setting:
    """One way to do it in PyTorch, and what came of it."""

    def __init__(self, threads, core="", method="Gradiometer", block=None, held=False):
        self.threads, self.core = threads, core
        self.method, self.block, self.held = method, block, held
        self.seconds, self.failed, self.peak, self.base, self.error = {}, None, 0, 0, 0.0
        self.others = 0.0

    def add(self, result, keys):
        self.failed = result.get("failed")
        if not self.failed:
            self.peak, self.base = max(self.peak, result["peak"]), result["base"]
            self.others = max(self.others, result["others"])
            for key in keys:
                self.seconds.setdefault(key, []).extend(result[key])

    def name(self):
        if self.block is None:
            return self.method
        return f"{self.method}, {self.block or 'all'}{', held' if self.held else ''}"

    def median(self, key):
        return statistics.median(self.seconds[key])


class Comparison:
    """One piece of work: a script of PyTorch's, how to judge its result, what to time."""

    def __init__(self, work, what, script, methods, keys, result):
        self.work, self.what, self.script, self.methods = work, what, script, methods
        self.keys, self.result = keys, result  # result: name of the array that must agree
        self.total = lambda setting: sum(setting.median(key) for key in self.score)
        self.score = keys[:1] if what == "products" else keys
        self.unit = "samples" if what == "products" else "columns"

    def measure(self, setting, rounds):
        """Runs it, and compares what it computed with Gradiometer's float64 result."""
        work = self.work
        result = work.torch(self.script, work.precision, setting.threads, rounds, setting.method,
                            setting.block, "peer", core=setting.core, held=setting.held)
        setting.add(result, self.keys)
        if setting.failed:
            return
        expected = work.load(f"{self.result}_f64").reshape(-1)
        setting.error = relative_error(work.load("peer").reshape(-1), expected)
        if self.what == "dense":
            values = relative_error(work.load("peer_eigenvalues"), work.load("eigenvalues_f64"))
            setting.error = max(setting.error, values)

    def right(self, setting):
        return not setting.failed and setting.error <= TOLERANCE[self.work.precision]

    def row(self, setting):
        head = f"  {setting.threads:>3} {setting.core:<8} {setting.name():<34}"
        if setting.failed:
            return f"{head} failed: {setting.failed}"
        numbers = "".join(f"{1e3 * setting.median(key):>15.1f}" for key in self.keys)
        memory = f"{setting.peak / 1e6:>9.0f} {(setting.peak - setting.base) / 1e6:>9.0f}"
        error = f"{setting.error:>9.1e}" if setting.error else f"{'-':>9}"
        verdict = "" if self.right(setting) else "  WRONG RESULT, disqualified"
        if setting.others >= DISTURBED:
            verdict += f"  (disturbed: others used {setting.others:.1f} processors)"
        return f"{head}{numbers}{memory} {error}{verdict}"

    def heading(self):
        columns = "".join(f"{key + ' ms':>15}" for key in self.keys)
        print(f"  thr {'OpenBLAS':<8} {'':<34}{columns}{'peak MB':>9} {'- base':>9} {'error':>9}")

    def best(self, settings, threads):
        fits = [s for s in settings if self.right(s) and s.threads == threads]
        return min(fits, key=self.total, default=None)

    def compare(self, rounds, quick):
        """Search, then rounds in turn. Prints the tables and the verdicts; False where nothing agrees."""
        self.work.ours(self.what, "f64", THREADS[-1], 1)
        print(f"Every setting of PyTorch, once (method, {self.unit} taken together, freed memory held):")
        self.heading()
        settings = [Setting(threads, core, *method) for threads in THREADS for core in core_types()
                    for method in self.methods[:: 4 if quick else 1]]
        for setting in settings:
            self.measure(setting, 3 if self.what == "products" else 1)
            print(self.row(setting), flush=True)

        finals, ours = [], []
        for threads in THREADS:
            ours.append(Setting(threads))
            for core in core_types():
                fits = [s for s in settings if self.right(s) and (s.threads, s.core) == (threads, core)]
                finals += [Setting(threads, core, fast.method, fast.block, fast.held)
                           for fast in sorted(fits, key=self.total)[:2]]
        for _ in range(rounds):
            for threads, mine in zip(THREADS, ours):
                inner = 5 if self.what == "products" else 1
                mine.add(self.work.ours(self.what, self.work.precision, threads, inner), self.keys)
                mine.error = relative_error(self.work.load(f"{self.result}_{self.work.precision}"),
                                            self.work.load(f"{self.result}_f64"))
                for setting in finals:
                    if setting.threads == threads:
                        self.measure(setting, inner if self.what == "products" else 1)
        print(f"\nThe fastest of them in turn with Gradiometer, medians over {rounds} rounds:")
        self.heading()
        for mine in ours:
            print(self.row(mine))
            for setting in finals:
                if setting.threads == mine.threads:
                    print(self.row(setting))
        self.verdicts(ours, finals, settings)
        return bool(finals)

    def verdicts(self, ours, finals, settings):
        print("\nRatios Gradiometer/PyTorch:")
        for mine in ours:
            threads = f"{mine.threads} thread{'s' if mine.threads > 1 else ''}"
            for setting in finals:
                if setting.threads != mine.threads or not self.right(setting):
                    continue
                words = [f"{key} {mine.median(key) / setting.median(key):.2f}" for key in self.keys]
                if self.what == "dense":
                    words.append(f"together {self.total(mine) / self.total(setting):.2f}")
                words.append(f"peak memory {mine.peak / setting.peak:.2f}")
                print(f"  {threads}, OpenBLAS {setting.core}, {setting.name()}: {', '.join(words)}")
            best = self.best(finals, mine.threads)
            if not best:
                print(f"  {threads}: no setting of PyTorch computed the right result")
                continue
            print(f"  verdict, {threads}: PyTorch at its best takes "
                  f"{self.total(best) / self.total(mine):.2f} times Gradiometer's time and "
                  f"{best.peak / mine.peak:.2f} times its memory")
            if self.what == "products":
                print(f"  verdict, {threads}: one product costs {mine.median('hv') / mine.median('gradient'):.2f} "
                      f"gradients, in PyTorch {best.median('hv') / best.median('gradient'):.2f}")
        wrong = [s for s in settings if not s.failed and not self.right(s)]
        print(f"  disqualified for wrong results: {len(wrong)} of {len(settings)} settings\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--mnist", help="folder of the MNIST files; without it Gaussian data of that shape")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=300, help="seconds in all to wait for a quiet machine")
    parser.add_argument("--only", choices=["products", "spectra", "dense"], help="one of the timings")
    parser.add_argument("--threads", type=int, choices=THREADS, help="this many only")
    parser.add_argument("--probes", type=int, default=2, help="random vectors of the density")
    parser.add_argument("--agree", action="store_true", help="agreement only, on a small net")
    parser.add_argument("--small", action="store_true", help="a small size of everything, to try the bench")
    options = parser.parse_args()
    if options.threads:
        THREADS[:] = [options.threads]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder below is removed
    PATIENCE.seconds = 0 if options.agree or options.small else options.wait
    with tempfile.TemporaryDirectory() as folder:
        if options.agree or options.small:
            model, count = "mlp:784-64-64-10", "1000"
        else:
            model, count = "mlp:784-512-512-10", "10000"
        if options.mnist:
            data, name = [f"mnist:{options.mnist}", "--subset", count], f"{count} images of MNIST"
        else:
            data = [f"gauss:k=10,d=784,n={count}"]
            name = f"synthetic data ({data[0]}), MNIST not being here"
        print(f"{processor()}; {model} on {name}\n")
        work = Work(options.build, f"{folder}/products", model, data, "f32")
        agree = agreement(work, ["f64", "f32"])
        if not options.agree and options.only in (None, "products"):
            print(f"One Hessian product, {model}, float32, {name}")
            agree &= Comparison(work, "products", "torch_products.py", PRODUCTS, ["hv", "gradient"], "hv").compare(
                options.rounds, options.small)
        if not options.agree and options.only in (None, "spectra"):
            print(f"Eigenpairs and density of H, {model}, float32, {name}")
            agree &= spectra.compare_spectra(work, THREADS, options.probes, options.small)
            print()
        if not options.agree and options.only in (None, "dense"):
            model = "mlp:50-12-12-10" if options.small else "mlp:50-30-30-10"
            work = Work(options.build, f"{folder}/dense", model, ["gauss:k=10,d=50,n=1000"], "f64")
            print(f"Dense Hessian and all eigenvalues, {model} ({work.parameters} parameters), float64, "
                  "gauss:k=10,d=50,n=1000")
            agree &= Comparison(work, "dense", "torch_dense.py", DENSE, ["hessian", "eigenvalues"],
                                "hessian").compare(options.rounds, options.small)
        if not options.agree:
            print(f"at the end: {processor()}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
