#!/usr/bin/env python3
"""One Hessian product of a net on images, float32: `gradiometer bench` beside PyTorch's double
backward, time and peak memory, each setting in a process of its own.

    images.py BUILD CIFAR10_DIR [--model cnn:16-32-64|resnet20]... [--samples N] [--rounds N]

PyTorch gets the graph of the gradient kept between products (the best that it can do) and rebuilt for
each of them, all samples together or 100 at a time, one and two threads. Inputs and parameters are
random, of the right shapes: neither side's time depends on them.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

from children import THREADS, processor

MODELS = ("cnn:16-32-64", "resnet20")
SETTINGS = [(method, chunk) for method in ("kept", "rebuilt") for chunk in (0, 100)]


def build_net(model):
    from torch import nn

    from onnx_nets import ResNet20

    if model == "resnet20":
        return ResNet20().eval()
    layers, channels, size = [], 3, 32
    for width in map(int, model.removeprefix("cnn:").split("-")):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, size = width, size // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, 10))


def child(model, samples, method, chunk, threads, rounds):
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    net = build_net(model)
    theta = [p for p in net.parameters() if p.requires_grad]
    x, y = torch.randn(samples, 3, 32, 32), torch.randint(0, 10, (samples,))
    v = [torch.randn_like(p) for p in theta]
    step = chunk or samples

    def gradient(a):
        loss = F.cross_entropy(net(x[a:a + step]), y[a:a + step], reduction="sum") / samples
        return torch.autograd.grad(loss, theta, create_graph=True)

    starts = range(0, samples, step)
    graphs = [gradient(a) for a in starts] if method == "kept" else None

    def product():
        total = None
        for i, a in enumerate(starts):
            g = graphs[i] if graphs else gradient(a)
            hv = torch.autograd.grad(g, theta, v, retain_graph=graphs is not None)
            total = hv if total is None else [s + t for s, t in zip(total, hv)]
        return total

    seconds = []
    for _ in range(rounds + 1):
        start = time.monotonic()
        product()
        seconds.append(time.monotonic() - start)
    print(json.dumps({"seconds": statistics.median(seconds[1:]),
                      "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))


def ours(build, data, model, samples, threads, rounds):
    command = [f"{build}/gradiometer", "bench", "--model", model, "--data", f"cifar10:{data}",
               "--subset", str(samples), "--precision", "f32", "--parts", "products",
               "--rounds", str(rounds), "--threads", str(threads), "--json", "-q"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"images.py: {result.stderr.strip()}")
    bench = json.loads(result.stdout)["bench"]
    product = next(p for p in bench["products"] if p["operator"] == "hessian")
    return product["milliseconds"], product["share_of_bare"], bench["peak_memory"]


def peer(model, samples, method, chunk, threads, rounds):
    words = [sys.executable, "-B", __file__, "--child", model, samples, method, chunk, threads, rounds]
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    return json.loads(result.stdout) if result.returncode == 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("data")
    parser.add_argument("--model", action="append")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(f"one Hessian product, float32, {given.samples} images; medians of {given.rounds}; {processor()}")
    print(f"{'net':14} {'threads':>7}  {'':24} {'ms':>8} {'peak MB':>8}  {'of bare':>8} {'x ours':>7}")
    for model in given.model or MODELS:
        for threads in THREADS:
            ms, share, memory = ours(given.build, given.data, model, given.samples, threads, given.rounds)
            print(f"{model:14} {threads:7}  {'Gradiometer':24} {ms:8.0f} {memory / 1e6:8.0f}  {100 * share:7.0f}%")
            for method, chunk in SETTINGS:
                name = f"PyTorch, graph {method}" + (f", {chunk}" if chunk else "")
                result = peer(model, given.samples, method, chunk, threads, given.rounds)
                if result is None:
                    print(f"{model:14} {threads:7}  {name:24} failed (memory?)")
                    continue
                print(f"{model:14} {threads:7}  {name:24} {1e3 * result['seconds']:8.0f} "
                      f"{result['memory'] / 1e6:8.0f}  {'':8} {1e3 * result['seconds'] / ms:7.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _, _, model, samples, method, chunk, threads, rounds = sys.argv
        child(model, int(samples), method, int(chunk), int(threads), int(rounds))
    else:
        main()
