"""A net of your own: trained in PyTorch, its checkpoints analysed by Gradiometer, the results read back.

    /usr/bin/python3 examples/pytorch/bring_your_own.py [FOLDER]

Needs Debian's python3-torch and gradiometer on the PATH (or its path in the variable GRADIOMETER). Writes to
FOLDER (default: byo). Ends with status 1 unless the loss that Gradiometer finds at the last checkpoint is PyTorch's.
"""

import json
import os
import sqlite3
import struct
import subprocess
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

GRADIOMETER = os.environ.get("GRADIOMETER", "gradiometer")


# ---- a net and its training: yours goes here ----

def make_net():
    return nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 8, 3, padding=1), nn.GELU(), nn.AvgPool2d(2),
                         nn.Flatten(), nn.Linear(8 * 4 * 4, 4))


def make_data(n=400):
    """16 x 16 images with a bright quarter that tells the class."""
    y = torch.arange(n) % 4
    x = 0.8 * torch.randn(n, 1, 16, 16)
    for i, label in enumerate(y.tolist()):
        x[i, 0, 8 * (label // 2):8 * (label // 2) + 8, 8 * (label % 2):8 * (label % 2) + 8] += 0.2
    return x, y


def save_safetensors(path, state):
    """The format is a length, a JSON header, and the numbers one after the other."""
    header, at = {}, 0
    for name, tensor in state.items():
        size = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in state.values():
            file.write(tensor.detach().cpu().float().contiguous().numpy().tobytes())


def train(net, x, y, folder, steps=300):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps + 1):
        if step in (0, 10, 30, 100, steps):
            save_safetensors(f"{folder}/ckpt-{step}.safetensors", dict(net.named_parameters()))
        batch = torch.randint(0, len(x), (32,))
        optimizer.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        if step < steps:
            optimizer.step()


# ---- out to files ----

def export(net, x, folder):
    net.eval()
    net.training = True  # of the net itself, not of its parts: else equal initializers are merged into one
    torch.onnx.export(net, x[:1], f"{folder}/net.onnx", input_names=["x"], output_names=["logits"],
                      dynamic_axes={"x": {0: "batch"}}, opset_version=13, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)
    net.training = False


def gradiometer(*arguments):
    subprocess.run([GRADIOMETER, *arguments, "-q"], check=True)


# ---- and back ----

def read_back(path):
    """Eigenvalues at every checkpoint, from the run file, which is a SQLite database."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT step, array.dim0, data FROM result JOIN array ON array.result = result.id "
                          "WHERE command = 'spectrum' AND name = 'net/eigenvalues' ORDER BY step").fetchall()
        loss = dict(db.execute("SELECT step, value FROM metric WHERE name = 'loss'"))
    steps = np.array([step for step, _, _ in rows])
    return steps, np.stack([np.frombuffer(data, "<f8", count) for _, count, data in rows]), loss


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "byo"
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)
    net, (x, y) = make_net(), make_data()
    np.save(f"{folder}/X.npy", x.numpy())
    np.save(f"{folder}/Y.npy", y.numpy().astype(np.int32))
    train(net, x, y, folder)
    export(net, x, folder)

    run = f"{folder}/spectra.gmr"
    if os.path.exists(run):
        os.remove(run)
    model = ["--model", f"{folder}/net.onnx", "--data", f"npy:{folder}/X.npy,{folder}/Y.npy"]
    gradiometer("spectrum", "--model", f"{folder}/net.onnx", "--describe")
    gradiometer("spectrum", *model, "--params", f"{folder}/ckpt-*.safetensors", "--method", "lanczos", "--k", "5",
                "-o", run)
    gradiometer("report", run, "-o", f"{folder}/page.html")

    steps, values, loss = read_back(run)
    np.savez(f"{folder}/spectra.npz", steps=steps, eigenvalues=values)
    for step, row in zip(steps, values):
        print(f"step {step:4d}: loss {loss[step]:.5f}, largest eigenvalues of H " + " ".join(f"{v:.4g}" for v in row))
    with torch.no_grad():
        expected = F.cross_entropy(net.double()(x.double()), y).item()
    print(f"PyTorch's loss at the end: {expected:.5f}")
    sys.exit(0 if abs(loss[steps[-1]] - expected) < 1e-6 * expected else 1)


if __name__ == "__main__":
    main()
