"""The networks of the data-parallel benchmarks, written once for either library.

``T`` is the module ``torch`` or ``cupola``.
"""

from __future__ import annotations

from typing import Any


def resnet(
    T: Any,
    depths: tuple[int, ...],
    wide: bool,
    classes: int = 1000,
    width: int = 64,
    small: bool = False,
) -> Any:
    """A residual network (He et al., 2016): bottleneck blocks if ``wide``, else basic ones.

    The last normalisation of every block starts at zero (Goyal et al., 2017). For ``small``
    pictures, such as CIFAR's, the first layer is 3 x 3 and nothing is thrown away after it.
    """
    nn = T.nn

    class Block(nn.Module):
        def __init__(self, inside: int, planes: int, stride: int) -> None:
            super().__init__()
            outside = planes * (4 if wide else 1)
            sizes = [(inside, planes, 1), (planes, planes, 3), (planes, outside, 1)]
            if not wide:
                sizes = [(inside, planes, 3), (planes, planes, 3)]
            layers: list[Any] = []
            for k, (a, b, size) in enumerate(sizes):
                step = stride if k == (1 if wide else 0) else 1
                layers.append(nn.Conv2d(a, b, size, step, size // 2, bias=False))
                layers.append(nn.BatchNorm2d(b))
                if k + 1 < len(sizes):
                    layers.append(nn.ReLU(inplace=True))
            nn.init.zeros_(layers[-1].weight)
            self.body = nn.Sequential(*layers)
            self.short = nn.Identity()
            if stride != 1 or inside != outside:
                self.short = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.short(x))

    first = nn.Conv2d(3, width, 3, 1, 1, bias=False)
    if not small:
        first = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    layers: list[Any] = [first, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    if not small:
        layers.append(nn.MaxPool2d(3, 2, 1))
    inside = width
    for stage, depth in enumerate(depths):
        planes = width << stage
        for k in range(depth):
            layers.append(Block(inside, planes, 2 if stage and not k else 1))
            inside = planes * (4 if wide else 1)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers)


def resnet50(T: Any, classes: int = 1000, width: int = 64) -> Any:
    return resnet(T, (3, 4, 6, 3), True, classes, width)


def resnet18(T: Any, classes: int = 10, width: int = 64) -> Any:
    return resnet(T, (2, 2, 2, 2), False, classes, width)


def resnet18_small(T: Any, classes: int = 10, width: int = 64) -> Any:
    return resnet(T, (2, 2, 2, 2), False, classes, width, small=True)


def gpt(
    T: Any, layers: int = 12, heads: int = 12, width: int = 768, vocabulary: int = 50304,
    context: int = 1024,
) -> Any:  # fmt: skip
    """A GPT-2 (Radford et al., 2019) without dropout; the defaults have 124 million parameters.

    Maps token numbers (N, T) to scores (N, T, vocabulary); embeddings are tied.
    """
    nn, F = T.nn, T.nn.functional

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            parts = self.qkv(x).split(width, dim=2)
            q, k, v = (p.reshape(n, t, heads, width // heads).transpose(1, 2) for p in parts)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(y.transpose(1, 2).reshape(n, t, width))

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width),
                nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            )

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(context, width)
            self.layers = nn.Sequential(*[Layer() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            for p in self.parameters():
                if p.dim() > 1:
                    nn.init.normal_(p, std=0.02)

        def forward(self, x: Any) -> Any:
            places = T.arange(x.shape[1], device=x.device)
            y = self.norm(self.layers(self.tokens(x) + self.places(places)))
            return F.linear(y, self.tokens.weight)

    return GPT()
