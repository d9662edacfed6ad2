"""Dense Hessian and all its eigenvalues in PyTorch, one setting in one process.

    torch_dense.py DIR MODEL f32|f64 THREADS ROUNDS METHOD BLOCK OUT

METHOD names a function of METHODS below; BLOCK columns are computed together where it asks. Writes
DIR/OUT.npy, the matrix, and DIR/OUT_eigenvalues.npy, descending. One JSON line on stdout: seconds
of every round and memory in bytes.
"""

import json
import os
import sys
import time

import functorch
import numpy as np
import torch

from problem import Problem, memory


def by_blocks(problem, block, rows):
    """rows applied to the identity, block by block."""
    matrix = torch.empty(len(problem.flat), len(problem.flat), dtype=problem.dtype)
    for start in range(0, len(matrix), block):
        identity = torch.zeros(min(block, len(matrix) - start), len(matrix), dtype=problem.dtype)
        identity.diagonal(start).fill_(1)
        matrix[start : start + block] = rows(identity)
    return matrix


def row_by_row(problem, _):
    """The graph of the gradient once, then backward through it for one column at a time."""
    theta = problem.leaves()
    gradient = torch.autograd.grad(problem.loss(theta), theta, create_graph=True)

    def row(v):
        parts = torch.autograd.grad(gradient, theta, problem.split(v[0]), retain_graph=True)
        return torch.cat([part.reshape(-1) for part in parts])

    return by_blocks(problem, 1, row)


def batched_double_backward(problem, block):
    """Likewise for a block of columns at a time. Its loss is one whose gradient maps over blocks."""
    flat = problem.flat.clone().requires_grad_()
    loss = problem.spelled_loss(problem.split(flat))
    (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
    rows = lambda v: torch.autograd.grad(
        gradient, flat, v, retain_graph=True, is_grads_batched=True
    )[0]
    return by_blocks(problem, block, rows)


def functional_hessian(problem, _):
    loss = lambda flat: problem.loss(problem.split(flat))
    return torch.autograd.functional.hessian(loss, problem.flat, vectorize=True)


def functional_hessian_forward(problem, _):
    loss = lambda flat: problem.spelled_loss(problem.split(flat))
    return torch.autograd.functional.hessian(
        loss, problem.flat, vectorize=True, outer_jacobian_strategy="forward-mode"
    )


def forward_over_reverse(problem, block):
    """functorch: the tangent of the gradient, mapped over a block of columns at a time."""
    slope = functorch.grad(lambda flat: problem.spelled_loss(problem.split(flat)))
    rows = functorch.vmap(lambda v: functorch.jvp(slope, (problem.flat,), (v,))[1])
    return by_blocks(problem, block, rows)


METHODS = {
    f.__name__: f
    for f in (
        row_by_row,
        batched_double_backward,
        functional_hessian,
        functional_hessian_forward,
        forward_over_reverse,
    )
}


def main():
    directory, model, precision, threads, rounds, method, block, out = sys.argv[1:]
    torch.set_num_threads(int(threads))
    base = memory("VmRSS")
    problem = Problem(directory, model, precision)
    seconds = {"hessian": [], "eigenvalues": []}
    for timed in range(-1, int(rounds)):
        start = time.perf_counter()
        matrix = METHODS[method](problem, int(block)).detach()
        middle = time.perf_counter()
        values = torch.linalg.eigvalsh(matrix)
        if timed >= 0:
            seconds["hessian"].append(middle - start)
            seconds["eigenvalues"].append(time.perf_counter() - middle)
    peak = memory("VmHWM")
    path = os.path.join(directory, out)
    np.save(path + ".npy", matrix.double().numpy())
    np.save(path + "_eigenvalues.npy", values.flip(0).double().numpy())
    print(json.dumps({**seconds, "base": base, "peak": peak}))


if __name__ == "__main__":
    main()
