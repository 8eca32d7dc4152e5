"""Rewriting for the libraries changes no value: programs run by their references, before and after.

The GPU's rewriting is checked here too: it needs no GPU to be run by references.
"""

import numpy as np
import pytest

import cupola
from cupola import nn
from cupola.codegen import lower as lowering
from cupola.engine.realize import described, walk, written
from cupola.ir.program import Program, fixed_numbers
from cupola.nn import functional as F
from cupola.schedule import Lowering, expand, plan, simplify, split


def _program(nodes, device):
    order = walk(nodes)
    index = {id(n): i for i, n in enumerate(order)}
    wanted = frozenset(index[id(n)] for n in nodes)
    values = {i: n.value for i, n in enumerate(order) if n.value is not None}
    numbers = {i: n.attrs["value"] for i, n in enumerate(order) if n.op.name == "const"}
    program = Program(written(described(order)), wanted, device)
    program, place, _ = expand(program)
    values = {place[i]: v for i, v in values.items()}
    numbers = {place[i]: v for i, v in numbers.items()} | fixed_numbers(program.items)
    return program, values, numbers, [place[index[id(n)]] for n in nodes]


def _run(program, values, numbers):
    out = []
    for i, item in enumerate(program.items):
        if i in values:
            out.append(values[i])
        elif item.op.name == "const":
            number = item.attr("value") if item.attr("value") is not None else numbers[i]
            out.append(np.full(item.shape, number, item.dtype.np))
        elif item.op.kind == "alias":
            out.append(out[item.srcs[0]])
        else:
            result = item.op.reference(np, *[out[s] for s in item.srcs], **dict(item.attrs))
            assert result.shape == item.shape
            out.append(result)
    return out


def _names(program):
    return [item.op.name for item in program.items]


def _residual():
    cupola.manual_seed(0)
    stem = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
    norm, inner, short = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
    for layer in (stem, norm, inner, short):
        layer.eval().double()
    norm.running_mean.copy_(cupola.randn(8))
    norm.running_var.copy_(cupola.rand(8) + 0.5)

    def forward(x):
        y = F.max_pool2d(F.relu(norm(stem(x))), 3, 2, 1)
        y = F.relu(norm(inner(y)) + norm(short(y)))
        y = cupola.cat([y, F.relu(short(y)) * 2], 1)
        z = F.avg_pool2d(F.pad(y, (1, 0, 0, 1)), 2)
        return F.relu(F.linear(z.mean((2, 3)), weight, weight[:, 0]))

    weight = cupola.randn(4, 16, dtype=cupola.float64)
    return forward, cupola.randn(2, 3, 19, 22, dtype=cupola.float64)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("gradients", [False, True], ids=["forward", "gradients"])
def test_values_stay(device, gradients):
    forward, x = _residual()
    if gradients:
        x.requires_grad_()
        y = forward(x)
        (g,) = cupola.autograd.grad(y.square().sum(), x)
        nodes = [y.node, g.node]
    else:
        with cupola.no_grad():
            nodes = [forward(x).node]
    program, values, numbers, wanted = _program(nodes, device)
    before = _run(program, values, numbers)
    short, place = simplify(program)
    rest, where, prologue = split(short)
    names = _names(short)
    assert "convolution" not in names and "convolution_fused" in names
    moved = {place[i]: v for i, v in values.items() if place[i] >= 0}
    counts = {place[i]: v for i, v in numbers.items() if place[i] >= 0}
    after = _run(short, moved, counts)
    for i in wanted:
        np.testing.assert_allclose(after[place[i]], before[i], rtol=1e-9, atol=1e-9)
    assert prologue is not None
    early = _run(
        prologue.program,
        {prologue.place[p]: v for p, v in moved.items() if prologue.place[p] >= 0},
        {prologue.place[p]: v for p, v in counts.items() if prologue.place[p] >= 0},
    )
    given = {where[p]: v for p, v in moved.items() if where[p] >= 0}
    given |= {there: early[here] for here, there in prologue.roots}
    late = _run(rest, given, {where[p]: v for p, v in counts.items() if where[p] >= 0})
    for i in wanted:
        np.testing.assert_allclose(late[where[place[i]]], before[i], rtol=1e-9, atol=1e-9)


def test_a_residual_block_is_three_calls_and_nothing_else():
    cupola.manual_seed(0)
    layers = [nn.Conv2d(8, 8, k, padding=k // 2, bias=False).eval() for k in (1, 3, 1)]
    norms = [nn.BatchNorm2d(8).eval() for _ in layers]
    x = cupola.randn(2, 8, 6, 6)
    for t in (x, *(t for layer in norms for t in layer.state_dict().values())):
        t.numpy()  # arrays, as after training: constants would be folded away
    with cupola.no_grad():
        y = x
        for k, (layer, norm) in enumerate(zip(layers, norms, strict=True)):
            y = norm(layer(y))
            y = F.relu(y + x) if k == 2 else F.relu(y)
    program, *_ = _program([y.node], "cpu")
    rest, _, prologue = split(simplify(program)[0])
    kinds = [i for i in rest.items if i.op.kind not in ("source", "movement")]
    assert _names(Program(kinds, frozenset())) == ["convolution_fused"] * 3
    assert [i.attr("activation") for i in kinds] == ["relu"] * 3
    assert [i.attr("residual") for i in kinds] == [False, False, True]
    assert prologue is not None


def test_small_strided_convolutions_become_blocks_on_a_gpu():
    x, w = cupola.randn(1, 3, 12, 12), cupola.randn(4, 3, 7, 7)
    for t in (x, w):
        t.numpy()
    program, *_ = _program([F.conv2d(x, w, stride=2, padding=3).node], "cuda")
    short, _ = simplify(program)
    (conv,) = [i for i in short.items if i.op.name == "convolution_fused"]
    assert conv.attr("stride") == (1, 1)
    assert short.items[conv.srcs[1]].shape == (4, 4, 4, 12)


def _simplified(nodes, device):
    """Values before and after; the simplified program."""
    program, values, numbers, wanted = _program(nodes, device)
    before = _run(program, values, numbers)
    short, place = simplify(program)
    moved, counts = (
        {place[p]: v for p, v in d.items() if place[p] >= 0} for d in (values, numbers)
    )
    after = _run(short, moved, counts)
    for i in wanted:
        np.testing.assert_allclose(after[place[i]], before[i], rtol=1e-9, atol=1e-9)
    return short


def _launches(program):
    made = plan(program, Lowering(lowering.lower, lowering.view))
    return [step for step in made.steps if step[0] in ("kernel", "kernels", "call")]


@pytest.mark.parametrize(
    ("space", "kernel", "extra"),
    [((28, 28), (14, 14), {}), ((6, 12, 17), (2, 4, 4), {}), ((9, 9), (4, 4), {"padding": 1})],
)
def test_patches_of_images_are_a_product_on_a_gpu(space, kernel, extra):
    x = cupola.randn(2, 3, *space, dtype=cupola.float64)
    w = cupola.randn(8, 3, *kernel, dtype=cupola.float64)
    for t in (x, w):
        t.numpy()
    function = F.conv2d if len(kernel) == 2 else F.conv3d
    node = (function(x, w, stride=kernel, **extra).flatten(2).transpose(1, 2) + 1).node
    short = _simplified([node], "cuda")
    (conv,) = [i for i in short.items if i.op.name == "convolution_fused"]
    assert set(short.items[conv.srcs[1]].shape[1:-1]) == {1}
    rest, _, prologue = split(short)
    assert prologue is not None
    assert len(_launches(rest)) == 3  # the pixels are put in order by one kernel


def test_a_residual_is_added_by_the_product_on_a_gpu():
    a, w, bias = (cupola.randn(*s, dtype=cupola.float64) for s in ((2, 3, 4), (5, 4), (5,)))
    x = cupola.randn(2, 3, 5, dtype=cupola.float64)
    for t in (a, w, bias, x):
        t.numpy()
    nodes = {
        "bias": (x + F.linear(a, w, bias)).node,
        "no bias": (F.linear(a, w) + x).node,
        "addmm": cupola.addmm(x[0], a[0], w.T).node,
    }
    for node in nodes.values():
        short = _simplified([node], "cuda")
        (product,) = [i for i in short.items if i.op.name == "matmul_fused"]
        assert product.attr("residual")
        assert "add" not in _names(short)
    short = _simplified([(F.linear(a, w, bias) + x[:1, :1]).node], "cuda")
    assert not [i for i in short.items if dict(i.attrs).get("residual")]  # broadcast, no residual
    assert "add" in _names(_simplified([nodes["bias"]], "cpu"))


def test_what_is_joined_and_read_often_is_stored():
    cupola.manual_seed(0)
    tokens, first = cupola.randn(2, 9, 8), cupola.randn(1, 1, 8)
    places, weight = cupola.randn(1, 10, 8), cupola.randn(8, 8)
    for t in (tokens, first, places, weight):
        t.numpy()
    x = cupola.cat([first.expand(2, 1, 8), tokens], 1) + places
    for _ in range(3):
        x = x + F.linear(F.layer_norm(x, (8,)), weight)
    program, *_ = _program([x.node], "cuda")
    short, _ = simplify(program)
    # The sequence once, with the first layer's normalisation; then a product and a normalisation.
    assert len(_launches(short)) <= 2 + 3 + 2


def test_half_types_keep_their_scale_unless_frozen():
    layer, norm = nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)
    layer.eval().bfloat16()
    norm.eval().bfloat16()
    x = cupola.randn(1, 8, 6, 6).bfloat16()
    with cupola.no_grad():
        node = norm(layer(x)).node
    program, *_ = _program([node], "cpu")
    kept, frozen = simplify(program)[0], simplify(program, half=True)[0]
    wide = [i for i in kept.items if i.op.name == "mul" and len(i.shape) == 4]
    assert wide and not [i for i in frozen.items if i.op.name == "mul" and i.shape == wide[0].shape]


def test_what_changes_between_replays_is_no_weight():
    x, w = cupola.randn(1, 8, 6, 6), cupola.randn(4, 8, 3, 3)
    for t in (x, w):
        t.numpy()
    program, values, *_ = _program([F.conv2d(x, w * 2).node], "cuda")
    short, place = simplify(program)
    assert split(short)[2] is not None
    assert split(short, frozenset(place[i] for i in values))[2] is None


def test_one_element_a_row_is_picked_before_the_logarithms_of_the_row():
    logits, classes = cupola.randn(6, 9).bfloat16(), cupola.randint(0, 9, (6,))
    for t in (logits, classes):
        t.tolist()
    loss = F.cross_entropy(logits.float(), classes)
    program, values, numbers, (end,) = _program([loss.node], "cpu")
    short, place = simplify(program)
    (pick,) = [i for i in short.items if i.op.name == "gather"]
    assert short.items[pick.srcs[0]].op.name == "buffer"
    assert short.items[pick.srcs[0]].dtype is cupola.bfloat16
    moved, counts = (
        {place[p]: v for p, v in d.items() if place[p] >= 0} for d in (values, numbers)
    )
    before, after = _run(program, values, numbers)[end], _run(short, moved, counts)[place[end]]
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_an_observed_row_is_picked_from_where_it_lies():
    x = cupola.randn(4, 5)
    x.numpy()
    y = x - 1
    program, *_ = _program([y.node, y.max(1).values.node], "cpu")
    short, _ = simplify(program)
    (pick,) = [i for i in short.items if i.op.name == "gather"]
    assert short.items[pick.srcs[0]].op.name == "sub"
