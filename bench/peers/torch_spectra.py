"""Largest eigenpairs, or a spectral density, of the Hessian in PyTorch, one setting in one process.

    torch_spectra.py DIR MODEL f32|f64 THREADS METHOD CHUNK eigsh K TOL
    torch_spectra.py DIR MODEL f32|f64 THREADS METHOD CHUNK density PROBES STEPS

Products as torch_products.py makes them (METHOD kept or rebuilt, CHUNK samples together, 0 = all).
eigsh is SciPy's, that is ARPACK; the density is stochastic Lanczos quadrature as PyHessian does it,
with full reorthogonalization. Vectors are in the precision of the products, which costs least. One
JSON line on stdout: seconds in all and in products, their number, the results, memory in bytes.
"""

import json
import sys
import time

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from problem import Problem, memory
from torch_products import METHODS

SEED = 1


class Hessian:
    """v -> H v on flat tensors, with a watch."""

    def __init__(self, problem, method, chunk):
        self.problem, self.size = problem, len(problem.flat)
        self.direction = problem.split(torch.zeros_like(problem.flat))  # what the product reads
        self.product = METHODS[method](problem, self.direction, chunk)
        self.seconds, self.products = 0.0, 0

    def apply(self, v):
        start = time.perf_counter()
        self.direction[:] = self.problem.split(v)
        result = torch.cat([part.reshape(-1) for part in self.product()])
        self.seconds += time.perf_counter() - start
        self.products += 1
        return result


def largest(hessian, k, tol):
    dtype = hessian.problem.flat.numpy().dtype
    operator = LinearOperator((hessian.size,) * 2, dtype=dtype,
                              matvec=lambda v: hessian.apply(torch.from_numpy(v.reshape(-1))).numpy())
    start = np.random.default_rng(SEED).standard_normal(hessian.size).astype(dtype)
    values, _ = eigsh(operator, int(k), which="LA", tol=float(tol), v0=start)
    return {"eigenvalues": sorted(map(float, values), reverse=True)}


def tridiagonal(hessian, v, steps):
    """Lanczos from the unit vector v: diagonal and off-diagonal of T."""
    basis = torch.empty(steps, hessian.size, dtype=v.dtype)
    alpha, beta = [], []
    for j in range(steps):
        basis[j] = v
        w = hessian.apply(v)
        alpha.append(float(w @ v))
        w = w - basis[: j + 1].T @ (basis[: j + 1] @ w)  # takes alpha v and beta v_{j-1} along
        beta.append(float(w.norm()))
        if j + 1 == steps or beta[-1] < 1e-6 * max(map(abs, alpha)):
            break
        v = w / beta[-1]
    return np.array(alpha), np.array(beta[: len(alpha) - 1])


def density(hessian, probes, steps):
    generator = torch.Generator().manual_seed(SEED)
    first, second, nodes = [], [], []
    for _ in range(int(probes)):
        v = 2.0 * torch.randint(0, 2, (hessian.size,), generator=generator) - 1
        v = v.to(hessian.problem.dtype) / hessian.size**0.5
        alpha, beta = tridiagonal(hessian, v, int(steps))
        node, vector = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
        weight = vector[0] ** 2
        first.append(hessian.size * float(weight @ node))
        second.append(hessian.size * float(weight @ node**2))
        nodes.extend(map(float, node))
    return {"trace": float(np.mean(first)), "frobenius": float(np.mean(second)) ** 0.5,
            "largest": max(nodes), "smallest": min(nodes)}


def main():
    directory, model, precision, threads, method, chunk, what, *numbers = sys.argv[1:]
    torch.set_num_threads(int(threads))
    base = memory("VmRSS")
    hessian = Hessian(Problem(directory, model, precision), method, int(chunk))
    hessian.apply(hessian.problem.flat)  # the first one finds everything cold
    hessian.seconds, hessian.products = 0.0, 0
    start = time.perf_counter()
    result = {"eigsh": largest, "density": density}[what](hessian, *numbers)
    seconds = time.perf_counter() - start
    print(json.dumps({**result, "seconds": seconds, "seconds_of_products": hessian.seconds,
                      "products": hessian.products, "base": base, "peak": memory("VmHWM")}))


if __name__ == "__main__":
    main()
