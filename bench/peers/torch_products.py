"""One Hessian product and one gradient in PyTorch, one setting in one process.

    torch_products.py DIR MODEL f32|f64 THREADS ROUNDS METHOD CHUNK OUT

METHOD names a function of METHODS below; CHUNK samples go through the net together, 0 = all. Writes
the product as DIR/OUT.npy. One JSON line on stdout: seconds of every round and memory in bytes.
"""

import json
import sys
import time

import functorch
import torch

from problem import Problem, memory


def parts(problem, chunk):
    step = chunk or problem.n
    return [(start, min(start + step, problem.n)) for start in range(0, problem.n, step)]


def total(terms):
    """Sum of lists of tensors, list by list."""
    sums = None
    for term in terms:
        sums = list(term) if sums is None else torch._foreach_add(sums, list(term))
    return sums


def kept(problem, v, chunk):
    """Double backward; the graph of the gradient is built once, as repeated products allow."""
    theta = problem.leaves()
    gradients = [
        torch.autograd.grad(problem.loss(theta, a, b), theta, create_graph=True)
        for a, b in parts(problem, chunk)
    ]
    return lambda: total(
        torch.autograd.grad(g, theta, v, retain_graph=True) for g in gradients
    )


def rebuilt(problem, v, chunk):
    """Double backward; forward and backward pass anew for every product."""
    theta = problem.leaves()

    def part(a, b):
        gradient = torch.autograd.grad(problem.loss(theta, a, b), theta, create_graph=True)
        return torch.autograd.grad(gradient, theta, v)

    return lambda: total(part(a, b) for a, b in parts(problem, chunk))


def functional_hvp(problem, v, chunk):
    theta, v = tuple(problem.theta), tuple(v)
    part = lambda a, b: torch.autograd.functional.hvp(
        lambda *t: problem.loss(t, a, b), theta, v
    )[1]
    return lambda: total(part(a, b) for a, b in parts(problem, chunk))


def functional_vhp(problem, v, chunk):
    theta, v = tuple(problem.theta), tuple(v)
    part = lambda a, b: torch.autograd.functional.vhp(
        lambda *t: problem.loss(t, a, b), theta, v
    )[1]
    return lambda: total(part(a, b) for a, b in parts(problem, chunk))


def forward_over_reverse(problem, v, chunk):
    """functorch: tangent of the gradient."""
    theta, v = tuple(problem.theta), tuple(v)
    part = lambda a, b: functorch.jvp(
        functorch.grad(lambda t: problem.spelled_loss(t, a, b)), (theta,), (v,)
    )[1]
    return lambda: total(part(a, b) for a, b in parts(problem, chunk))


def gradient(problem, chunk):
    theta = problem.leaves()
    return lambda: total(
        torch.autograd.grad(problem.loss(theta, a, b), theta) for a, b in parts(problem, chunk)
    )


METHODS = {
    f.__name__: f for f in (kept, rebuilt, functional_hvp, functional_vhp, forward_over_reverse)
}


def main():
    directory, model, precision, threads, rounds, method, chunk, out = sys.argv[1:]
    torch.set_num_threads(int(threads))
    base = memory("VmRSS")
    problem = Problem(directory, model, precision)
    product = METHODS[method](problem, problem.split(problem.vector("v")), int(chunk))
    slope = gradient(problem, int(chunk))
    seconds = {"hv": [], "gradient": []}
    problem.save(out, product())
    peak = memory("VmHWM")
    slope()
    for _ in range(int(rounds)):
        for key, function in (("hv", product), ("gradient", slope)):
            start = time.perf_counter()
            function()
            seconds[key].append(time.perf_counter() - start)
    print(json.dumps({**seconds, "base": base, "peak": peak}))


if __name__ == "__main__":
    main()
