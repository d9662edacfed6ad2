"""Hv, Gv, Mv and the gradient by autograd, as DIR/torch_KEY_PRECISION.npy.

    torch_agree.py DIR MODEL f32|f64

By routes of autograd alone, none of which knows how Gradiometer goes about it: G v as
J^T (second derivative of the loss at the logits) J v, M v as (1/n) sum g_i (g_i . v), the inner
products by a tangent of the samples' losses.
"""

import sys

import functorch
import torch
import torch.nn.functional as F

from problem import Problem


def main():
    directory, model, precision = sys.argv[1:]
    problem = Problem(directory, model, precision)
    v = problem.split(problem.vector("v"))
    theta, n = tuple(problem.theta), problem.n

    logits = lambda t: problem.logits(t, problem.x)
    at_logits = lambda z: F.cross_entropy(z, problem.y)
    samples = lambda t: F.cross_entropy(logits(t), problem.y, reduction="none")  # [n]

    leaves = problem.leaves()
    gradient = torch.autograd.grad(problem.loss(leaves), leaves, create_graph=True)
    hv = torch.autograd.grad(gradient, leaves, v)

    z, moved = functorch.jvp(logits, (theta,), (tuple(v),))
    root = torch.autograd.functional.hvp(at_logits, z, moved)[1]
    gv = functorch.vjp(logits, theta)[1](root)[0]

    weight = functorch.jvp(samples, (theta,), (tuple(v),))[1] / n
    mv = functorch.vjp(samples, theta)[1](weight)[0]

    for key, tensors in (("hv", hv), ("gv", gv), ("mv", mv), ("gradient", gradient)):
        problem.save(f"torch_{key}_{precision}", tensors)


if __name__ == "__main__":
    main()
