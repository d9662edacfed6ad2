"""Eigenpairs and densities of a Hessian: Gradiometer beside PyTorch with SciPy's eigsh, and beside
stochastic Lanczos quadrature in PyTorch.

PyTorch gets, for each number of threads and each choice of OpenBLAS kernels, the way to a product
that is fastest here; eigsh runs with all of these, the density, which takes minutes, with the faster
kernels only. Gradiometer is `gradiometer bench` on the same theta and data.
"""

import sys

from children import DISTURBED, PRODUCTS, run

CORES = ["unset", "Haswell"]
K, TOL, STEPS = 10, 1e-4, 80
WAYS = [way for way in PRODUCTS if way[0] == "kept"]


def fastest_way(work, threads, core, ways):
    """(method, chunk, held, milliseconds) of the way whose product takes least."""
    tried = []
    for method, chunk, held in ways:
        result = work.torch("torch_products.py", work.precision, threads, 2, method, chunk, "peer",
                            core=core, held=held)
        if "failed" not in result:
            tried.append((min(result["hv"]), method, chunk, held))
    if not tried:
        sys.exit(f"spectra.py: no way to a product worked with {threads} threads, OpenBLAS {core}")
    seconds, method, chunk, held = min(tried)
    return method, chunk, held, 1e3 * seconds


def ours(work, threads, part, options):
    folder = work.folder
    result = run([f"{work.build}/gradiometer", "bench", "--json", "--quiet", "--model", work.model,
                          "--params", f"{folder}/theta.npy", "--data", f"npy:{folder}/x.npy,{folder}/y.npy",
                          "--precision", work.precision, "--threads", threads, "--rounds", 1,
                          "--parts", part, *options])
    if "failed" in result:
        sys.exit(f"spectra.py: gradiometer bench: {result['failed']}")
    found = result["bench"][part]
    return {**found, "peak": result["bench"]["peak_memory"], "others": result["others"]}


def heading():
    print(f"  thr {'OpenBLAS':<8} {'':<24}{'products':>9}{'s':>9}{'in products':>12}{'own':>7}{'peak MB':>9}")


def row(threads, core, name, result):
    head = f"  {threads:>3} {core:<8} {name:<24}"
    if "failed" in result:
        print(f"{head} failed: {result['failed']}", flush=True)
        return
    own = 1 - result["seconds_of_products"] / result["seconds"]
    disturbed = (f"  (disturbed: others used {result['others']:.1f} processors)"
                 if result["others"] >= DISTURBED else "")
    print(f"{head}{result['products']:>9}{result['seconds']:>9.2f}{result['seconds_of_products']:>12.2f}"
          f"{100 * own:>6.1f}%{result['peak'] / 1e6:>9.0f}{disturbed}", flush=True)


def verdict(threads, mine, best):
    print(f"  verdict, {threads} thread{'s' if threads > 1 else ''}: PyTorch at its best takes "
          f"{best['seconds'] / mine['seconds']:.2f} times Gradiometer's time, {best['products']} products "
          f"against {mine['products']}, {best['peak'] / mine['peak']:.2f} times its memory")


def eigenvalues_agree(mine, result):
    """To the tolerance of both, which bounds each residual and so each error of a value."""
    pairs = list(zip(mine["eigenvalues"], result["eigenvalues"]))
    worst = max(abs(a - b) for a, b in pairs) / abs(mine["eigenvalues"][0])
    agree = len(pairs) == K == len(mine["eigenvalues"]) and worst <= 2 * TOL
    print(f"      eigenvalues differ by at most {worst:.1e} of the largest one"
          f"{'' if agree else ': THEY DISAGREE'}")
    return agree


def densities_agree(mine, result, probes):
    """The outermost node, to the tolerance; traces, each of which has a standard error of at most
    sqrt(2 / probes) ||H||_F, to four times that of their difference."""
    norm = max(mine["frobenius"]["value"], result["frobenius"])
    error = abs(mine["trace"]["value"] - result["trace"]) / (2 * norm / probes**0.5)
    top = abs(mine["largest"] - result["largest"]) / abs(mine["largest"])
    agree = error <= 4 and top <= TOL
    print(f"      largest nodes differ by {top:.1e}, traces by {error:.1f} standard errors"
          f"{'' if agree else ': THEY DISAGREE'}")
    return agree


def compare_spectra(work, threads_list, probes, quick):
    """Prints tables and verdicts; True where all results agree."""
    agree = True
    ways, chosen = {}, {}
    for threads in threads_list:
        for core in CORES:
            way = ways[threads, core] = fastest_way(work, threads, core, WAYS[:: 3 if quick else 1])
            print(f"  PyTorch's fastest product, {threads} thread{'s' if threads > 1 else ''}, OpenBLAS {core}: "
                  f"{way[3]:.1f} ms, {way[1] or 'all'} samples together{', held' if way[2] else ''}", flush=True)

    print(f"\nThe {K} largest eigenpairs of H, tolerance {TOL:.0e}:")
    heading()
    for threads in threads_list:
        mine = ours(work, threads, "eigenpairs", ["--k", K, "--tol", TOL])
        row(threads, "", "Gradiometer", mine)
        results = []
        for core in CORES:
            method, chunk, held, _ = ways[threads, core]
            result = work.torch("torch_spectra.py", work.precision, threads, method, chunk, "eigsh", K, TOL,
                                core=core, held=held)
            row(threads, core, "PyTorch, eigsh", result)
            if "failed" in result:
                agree = False
                continue
            agree &= eigenvalues_agree(mine, result)
            results.append((result["seconds"], core, result))
        if results:
            _, chosen[threads], best = min(results, key=lambda r: r[0])
            verdict(threads, mine, best)

    print(f"\nDensity of H, {probes} probes x {STEPS} steps:")
    heading()
    for threads in threads_list:
        core = chosen.get(threads, CORES[0])
        method, chunk, held, _ = ways[threads, core]
        mine = ours(work, threads, "density", ["--probes", probes, "--steps", STEPS])
        row(threads, "", "Gradiometer", mine)
        result = work.torch("torch_spectra.py", work.precision, threads, method, chunk, "density", probes, STEPS,
                            core=core, held=held)
        row(threads, core, "PyTorch, Lanczos", result)
        if "failed" in result:
            agree = False
            continue
        agree &= densities_agree(mine, result, probes)
        verdict(threads, mine, result)
    return agree
