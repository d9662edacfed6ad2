"""Nets exported from PyTorch: what Gradiometer imports against autograd.

    onnx_agree.py BUILD [NET]...
    onnx_agree.py --list

For every net of onnx_nets.py: the order of the parameters, loss, gradient, H v, G v, M v and the five
largest eigenvalues of H, in float64 to 1e-9 and in float32 to 1e-4, relative in the Euclidean norm.
G v as J^T (L (J v)) with L the Hessian of the loss at the logits, M v as (1/n) sum g_i (g_i . v), the
eigenvalues by SciPy's eigsh on double backward; the largest by magnitude by power iteration too, as PyHessian
does it. Status 1 where something disagrees.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.nn.utils import parameters_to_vector

from onnx_nets import NETS, export

TOLERANCE = {"f32": 1e-4, "f64": 1e-9}
POWER_STEPS, POWER_CHANGE = 100, 1e-6  # power iteration ends at so small a relative change,
POWER_TOLERANCE = 1e-3  # which says less about its error where eigenvalues are close


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"onnx_agree.py: {' '.join(command[:3])} ...: {result.stderr.strip()}")
    return result.stdout


def flat(tensors):
    return torch.cat([t.reshape(-1) for t in tensors])


class Peer:
    """The same numbers by autograd."""

    def __init__(self, net, x, y):
        self.net, self.x, self.y = net, x, y
        self.parameters = list(net.parameters())

    def loss(self, of=slice(None)):
        z = self.net(self.x[of])
        return F.cross_entropy(z.reshape(-1, z.shape[-1]), self.y[of].reshape(-1))

    def split(self, v):
        parts = torch.split(v, [p.numel() for p in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters)]

    def gradient(self, of=slice(None), graph=False):
        return torch.autograd.grad(self.loss(of), self.parameters, create_graph=graph)

    def hv(self, v):
        return flat(torch.autograd.grad(self.gradient(graph=True), self.parameters, self.split(v)))

    def gv(self, v):
        z = self.net(self.x)
        u = torch.zeros_like(z, requires_grad=True)
        back = torch.autograd.grad(z, self.parameters, u, create_graph=True)
        moved = torch.autograd.grad(back, u, self.split(v), retain_graph=True)[0]
        p = z.detach().softmax(-1)
        rows = z.numel() // z.shape[-1]
        root = (p * moved - p * (p * moved).sum(-1, keepdim=True)) / rows
        return flat(torch.autograd.grad(z, self.parameters, root))

    def mv(self, v):
        total = torch.zeros_like(v)
        for i in range(len(self.x)):
            g = flat(self.gradient(slice(i, i + 1)))
            total += g * (g @ v)
        return total / len(self.x)

    def eigenvalues(self, k=5):
        p = sum(q.numel() for q in self.parameters)
        operator = LinearOperator((p, p), matvec=lambda v: self.hv(torch.from_numpy(v.reshape(-1))).numpy(),
                                  dtype=np.float64)
        start = np.random.default_rng(1).standard_normal(p)
        return np.sort(eigsh(operator, k, which="LA", v0=start, tol=1e-12, return_eigenvectors=False))[::-1]


    def largest(self):
        """The eigenvalue that is largest by magnitude, and the products that it took."""
        v = torch.randn(sum(q.numel() for q in self.parameters), generator=torch.Generator().manual_seed(2))
        value = None
        for step in range(1, POWER_STEPS + 1):
            v = v / v.norm()
            image = self.hv(v)
            before, value = value, (v @ image).item()
            if before is not None and abs(value - before) <= POWER_CHANGE * abs(value):
                break
            v = image
        return value, step


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def compare(build, name, directory):
    make, samples, classes, shape, opset = NETS[name]
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    warnings.simplefilter("ignore")  # of the exporter about itself
    net, x, y = make().eval(), samples(), torch.randint(0, classes, shape)
    peer, path = Peer(net, x, y), os.path.join(directory, "net.onnx")
    export(net, x, path, opset)
    theta = parameters_to_vector(net.parameters()).detach()
    v = torch.randn_like(theta)
    for key, array in (("x", x.numpy().astype(np.float64)), ("y", y.numpy().astype(np.int32)), ("v", v.numpy()),
                       ("theta", theta.numpy())):
        np.save(os.path.join(directory, key + ".npy"), array)
    expected = {"gradient": flat(peer.gradient()), "hv": peer.hv(v), "gv": peer.gv(v), "mv": peer.mv(v)}
    values, loss, good = peer.eigenvalues(), peer.loss().item(), True
    print(f"{name}: {len(theta)} parameters, opset {opset}")
    described = json.loads(run(f"{build}/gradiometer", "spectrum", "--model", path, "--describe", "--json"))
    kept = [entry["name"] for entry in described["onnx"]["initializers"] if entry["role"] == "parameter"]
    ordered = kept == [n for n, _ in net.named_parameters()]
    good &= ordered
    for precision in ("f64", "f32"):
        run(f"{build}/peers_gradiometer", "products", directory, path, precision, "1", "1")
        load = lambda key: np.load(os.path.join(directory, f"{key}_{precision}.npy"))
        errors = {key: relative(load(key), value.detach().numpy()) for key, value in expected.items()}
        if precision == "f64":
            errors["as stored"] = relative(load("stored"), theta.numpy())
        spectrum = json.loads(run(f"{build}/gradiometer", "spectrum", "--model", path, "--data",
                                  f"npy:{directory}/x.npy,{directory}/y.npy", "--method", "lanczos", "--k", "5",
                                  "--tol", "1e-10" if precision == "f64" else "1e-4", "--precision", precision,
                                  "--json", "-q"))
        errors["loss"] = abs(spectrum["loss"] - loss) / abs(loss)
        errors["top 5"] = relative(np.array(spectrum["eigenvalues"][:5]), values)
        good &= all(error <= TOLERANCE[precision] for error in errors.values())
        if precision == "f64":
            most = json.loads(run(f"{build}/gradiometer", "spectrum", "--model", path, "--data",
                                  f"npy:{directory}/x.npy,{directory}/y.npy", "--method", "lanczos", "--k", "1",
                                  "--which", "LM", "--precision", precision, "--json", "-q"))["eigenvalues"][0]
            power, steps = peer.largest()
            errors[f"power iteration, {steps} steps"] = abs(power - most) / abs(most)
            good &= abs(power - most) <= POWER_TOLERANCE * abs(most)
        print(f"  {precision}  " + "  ".join(f"{key} {error:.1e}" for key, error in errors.items()))
    print(f"  parameters {'in the order of PyTorch' if ordered else 'OUT OF ORDER: ' + ', '.join(kept)}")
    return good


def main():
    if sys.argv[1:] == ["--list"]:
        print(*NETS)
        return
    build, names = sys.argv[1], sys.argv[2:] or list(NETS)
    good = True
    for name in names:
        with tempfile.TemporaryDirectory() as directory:
            good &= compare(build, name, directory)
    print(f"verdict: {'all agree' if good else 'THEY DISAGREE'}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
