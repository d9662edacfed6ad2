"""The net, its loss and the arrays that both sides read, for the PyTorch side of the comparison."""

import os

import numpy as np
import torch
import torch.nn.functional as F

DTYPE = {"f32": torch.float32, "f64": torch.float64}


def memory(key):
    """A number of /proc/self/status in bytes. VmHWM, unlike ru_maxrss, starts anew with the program."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(key + ":"):
                return 1024 * int(line.split()[1])
    return 0


def widths_of(model):
    """mlp:50-30-10 -> [50, 30, 10]."""
    return [int(width) for width in model.removeprefix("mlp:").split("-")]


class Problem:
    """f(theta) = mean cross-entropy of a ReLU net, parameters as a list [W1, b1, W2, b2, ...]."""

    def __init__(self, directory, model, precision):
        load = lambda name: np.load(os.path.join(directory, name + ".npy"))
        self.dtype = DTYPE[precision]
        self.directory, self.precision = directory, precision
        self.x = torch.from_numpy(load("x")).to(self.dtype).flatten(1)
        self.y = torch.from_numpy(load("y").astype(np.int64))
        self.n = len(self.x)
        widths = widths_of(model)
        self.shapes = [s for i, o in zip(widths, widths[1:]) for s in ((o, i), (o,))]
        self.flat = torch.from_numpy(load("theta")).to(self.dtype)
        self.theta = self.split(self.flat)

    def split(self, flat):
        """Flat vector, layers in order, each weight [out, in] then its bias -> list of tensors."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        return [part.reshape(shape) for part, shape in zip(flat.split(sizes), self.shapes)]

    def vector(self, name):
        return torch.from_numpy(np.load(os.path.join(self.directory, name + ".npy"))).to(self.dtype)

    def leaves(self):
        """Parameters as separate tensors that ask for gradients: what a training script has."""
        return [t.clone().requires_grad_() for t in self.theta]

    def logits(self, theta, x):
        for layer in range(0, len(theta), 2):
            x = F.linear(torch.relu(x) if layer else x, theta[layer], theta[layer + 1])
        return x

    def loss(self, theta, start=0, stop=None):
        """Part of f that the samples start ... stop-1 make up."""
        z = self.logits(theta, self.x[start:stop])
        return F.cross_entropy(z, self.y[start:stop], reduction="sum") / self.n

    def spelled_loss(self, theta, start=0, stop=None):
        """The same out of operations whose gradients have forward derivatives in this PyTorch."""
        z, y = self.logits(theta, self.x[start:stop]), self.y[start:stop]
        return (torch.logsumexp(z, 1).sum() - z.gather(1, y[:, None]).sum()) / self.n

    def save(self, name, tensors):
        flat = torch.cat([t.reshape(-1) for t in tensors]).detach()
        np.save(os.path.join(self.directory, f"{name}.npy"), flat.double().numpy())
