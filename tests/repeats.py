"""Loops whose runs come again, for the tests of recorded runs on a stand-in and on a GPU."""

import cupola
from cupola import nn
from cupola.engine import repeat
from cupola.engine.run import stats

F = nn.functional


def plain(monkeypatch, loop, device):
    """What the loop gives when nothing is recorded."""
    with monkeypatch.context() as patch:
        patch.setattr(repeat, "enabled", False)
        cupola.manual_seed(3)
        return loop(device)


def recorded(loop, device):
    """What it gives otherwise, and how many runs were repeated."""
    before = stats["graphs"]
    cupola.manual_seed(3)
    return loop(device), stats["graphs"] - before


def _model(device):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 16, 32), nn.GELU(), nn.LayerNorm(32),
        nn.Linear(32, 5),
    ).to(device)  # fmt: skip


def training(device):
    """Steps with numbers that change: a schedule, Adam's corrections, dropout's draws."""
    model = _model(device)
    optimizer = cupola.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = cupola.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    losses = []
    for _ in range(12):
        x, y = cupola.randn(4, 3, 8, 8).to(device), cupola.randint(0, 5, (4,)).to(device)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return [losses, *(p.tolist() for p in model.state_dict().values())]


def momentum(device):
    """SGD, and gradients that are looked at."""
    model = _model(device)
    optimizer = cupola.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    seen = []
    for _ in range(10):
        x = cupola.randn(4, 3, 8, 8).to(device)
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        seen.append([loss.item(), *(p.grad.sum().item() for p in model.parameters())])
        optimizer.step()
    return seen


def inference(device):
    """The same weights, inputs that move; then other weights."""
    model = _model(device).eval()
    seen, held = [], []
    with cupola.no_grad():
        for k in range(16):
            x = cupola.randn(4, 3, 8, 8).to(device)
            if k % 3 == 0:
                held.append(x.realize())
            y = model(x)
            held.append(y)
            seen.append(y.tolist())
            if k == 9:
                for p in model.parameters():
                    p.mul_(1.5)
    assert [y.tolist() for y in held if y.shape == (4, 5)] == seen  # no result was overwritten
    return seen


def layouts(device):
    """Results that are views, of what was computed and of what was given; strided inputs."""
    seen = []
    base = cupola.arange(48.0).reshape(2, 4, 6).to(device).realize()
    for k in range(10):
        x = (base + k).realize().transpose(1, 2)
        a = (x * 2 + 1).sin()
        b, c = a.transpose(0, 1), x[1:, ::2]
        d = (a.sum(2, keepdim=True) / (k + 1)).expand(2, 6, 4)
        e = (x @ x.transpose(1, 2)).exp() * 1e-9
        f = (e.cumsum(1) * b.sum()).softmax(-1)
        f.realize()
        seen.append([t.tolist() for t in (a, b, c, d, e, f)])
        seen.append([tuple(t.stride()) for t in (a, b, c, d, e, f)])
    return seen


def signs(device):
    """Numbers that compare equal and are not: 0.0 and -0.0; and NaN."""
    seen = []
    x = cupola.ones(3).to(device).realize()
    for k in range(12):
        n = (0.5, -0.0, 2.5, float("nan"), 0.0, float("inf"))[k % 6]
        y = ((x * 3).exp() * n).cumsum(0)
        z = ((y.neg() + n) @ y.outer(y).softmax(0)).cumsum(0) @ (y.outer(y) @ y)
        seen.append(str([*y.tolist(), z.item()]))
    return seen


LOOPS = (training, momentum, inference, layouts, signs)
