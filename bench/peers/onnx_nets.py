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


def images(n, size):
    return torch.randn(n, 3, size, size, dtype=torch.float64)


# name: net, samples, classes, shape of the labels, opset
NETS = {
    "mlp": (Mlp, lambda: torch.randn(9, 6, dtype=torch.float64), 4, (9,), 9),
    "poolings": (Poolings, lambda: images(7, 19), 4, (7,), 11),
    "resnet20": (ResNet20, lambda: images(4, 32), 10, (4,), 13),
    "vit": (Vit, lambda: images(6, 8), 4, (6,), 17),
    "gpt": (Gpt, lambda: torch.randint(0, 11, (5, 6)), 11, (5, 6), 14),
}


def export(net, x, path, opset):
    net.training = True  # of the net itself, not of its parts: else the exporter merges equal initializers
    torch.onnx.export(net, x[:1], path, input_names=["x"], output_names=["logits"],
                      dynamic_axes={"x": {0: "batch"}}, opset_version=opset, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)
    net.training = False
