"""Nets as people write them in PyTorch, for the comparison of what Gradiometer imports."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.Softplus(), nn.Linear(7, 4))

    def forward(self, x):
        return self.net(x)


class Poolings(nn.Module):
    """A convolutional net with groups, dilation, strides that do not divide, and every pooling."""

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.c2 = nn.Conv2d(6, 8, 3, padding=2, dilation=2, groups=2)
        self.c3 = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), bias=False)
        self.mean = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.whole = nn.AvgPool2d(2, stride=1, padding=1)
        self.most = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.most(F.leaky_relu(self.c1(x), 0.1))
        x = self.whole(F.elu(self.c2(x)))
        x = self.mean(F.silu(self.c3(x)))
        return self.head(torch.cat([F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)], 1).flatten(1))


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.added = stride, (out - channels) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:  # He et al. 2016, option A
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks = []
        for stage, (channels, out) in enumerate([(16, 16), (16, 32), (32, 64)]):
            for block in range(3):
                first = block == 0
                blocks.append(Block(channels if first else out, out, 2 if first and stage else 1))
        self.layers = nn.Sequential(*blocks)
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.uniform_(module.bias, -0.2, 0.2)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.avg_pool2d(x, 8).view(x.size(0), -1))


class Attention(nn.Module):
    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.causal = causal
        if causal:
            self.register_buffer("mask", torch.tril(torch.ones(causal, causal)).bool())

    def forward(self, x):
        n, t, width = x.shape
        qkv = self.qkv(x).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
        if self.causal:
            scores = scores.masked_fill(~self.mask[:t, :t], float("-inf"))
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, width))


class Layer(nn.Module):
    def __init__(self, width, heads, causal=0):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class Vit(nn.Module):
    def __init__(self, width=12, layers=2):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.cls = nn.Parameter(0.3 * torch.randn(1, 1, width))
        self.pos = nn.Parameter(0.3 * torch.randn(1, 5, width))
        self.blocks = nn.ModuleList(Layer(width, 3) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class Gpt(nn.Module):
    def __init__(self, vocabulary=11, places=6, width=12, layers=2):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(places, width)
        self.blocks = nn.ModuleList(Layer(width, 2, places) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        places = torch.arange(tokens.shape[1])
        x = self.wte(tokens) + self.wpe(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


class Padded(nn.Module):
    """Attention by einsum with masks that the graph computes: causal from ranges, padding from the tokens (0)."""

    def __init__(self, vocabulary=9, places=5, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Parameter(0.3 * torch.randn(places, width))
        self.query = nn.Parameter(0.3 * torch.randn(width, heads, width // heads))
        self.key = nn.Parameter(0.3 * torch.randn(width, heads, width // heads))
        self.value = nn.Linear(width, width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe
        n, t, width = x.shape
        q, k = torch.einsum("btd,dhk->bhtk", x, self.query), torch.einsum("btd,dhk->bhtk", x, self.key)
        v = self.value(x).view(n, t, self.heads, width // self.heads)
        scores = torch.einsum("bhtk,bhsk->bhts", q, k) / (width // self.heads) ** 0.5
        places = torch.arange(t)
        scores = scores.masked_fill(places[:, None] < places[None, :], float("-inf"))
        present = (tokens != 0).to(scores.dtype)
        scores = scores + (1 - present[:, None, None, :]) * -1e9
        mixed = torch.einsum("bhts,bshk->bthk", scores.softmax(-1), v).reshape(n, t, width)
        return self.head(torch.where(mixed > 0, mixed, 0.1 * mixed) + x)


class Resized(nn.Module):
    """Convolutions with a fixed filter and with a normalized weight, and every interpolation.

    The normalization is written out: the second derivative of torch.nn.utils.weight_norm by v is wrong in PyTorch
    1.13, by 7 % here against central differences of its own gradient."""

    def __init__(self):
        super().__init__()
        self.g = nn.Parameter(0.5 + torch.rand(4, 1, 1, 1))
        self.v = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.bias = nn.Parameter(torch.randn(4))
        self.up = nn.Conv2d(4, 3, 3, padding=1)
        self.head = nn.Linear(3, 4)

    def forward(self, x):
        weight = self.g * self.v / self.v.pow(2).sum((1, 2, 3), keepdim=True).sqrt()
        x = F.conv2d(x, weight, self.bias, stride=2, padding=1)
        blur = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=x.dtype) / 16
        x = F.conv2d(torch.tanh(x), blur.expand(4, 1, 3, 3), padding=1, groups=4)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        x = F.interpolate(torch.tanh(self.up(x)), size=(11, 5), mode="bilinear", align_corners=True)
        x = F.interpolate(x, size=(7, 9), mode="bicubic", align_corners=False)
        x = F.interpolate(F.softplus(x), scale_factor=0.5, mode="nearest")
        return self.head(x.mean((2, 3)))


def images(n, size):
    return torch.randn(n, 3, size, size, dtype=torch.float64)


# name: net, samples, classes, shape of the labels, opset
NETS = {
    "mlp": (Mlp, lambda: torch.randn(9, 6, dtype=torch.float64), 4, (9,), 9),
    "poolings": (Poolings, lambda: images(7, 19), 4, (7,), 11),
    "resnet20": (ResNet20, lambda: images(4, 32), 10, (4,), 13),
    "vit": (Vit, lambda: images(6, 8), 4, (6,), 17),
    "padded": (Padded, lambda: torch.randint(1, 9, (6, 5)) * (torch.arange(5) < torch.randint(2, 6, (6, 1))),
               9, (6, 5), 14),
    "resized": (Resized, lambda: torch.randn(6, 2, 8, 6, dtype=torch.float64), 4, (6,), 13),
    "gpt": (Gpt, lambda: torch.randint(0, 11, (5, 6)), 11, (5, 6), 14),
}


def export(net, x, path, opset):
    net.training = True  # of the net itself, not of its parts: else the exporter merges equal initializers
    torch.onnx.export(net, x[:1], path, input_names=["x"], output_names=["logits"],
                      dynamic_axes={"x": {0: "batch"}}, opset_version=opset, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)
    net.training = False
