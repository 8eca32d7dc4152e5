"""torch.nn.utils beside parametrizations and pruning: clipping, packing, fusing, vectors."""

from __future__ import annotations

import itertools

from func.outcomes import differences


def parameters(m):
    made = [m.ones(2, 2).requires_grad_(), m.ones(3).requires_grad_()]
    made[0].grad, made[1].grad = m.full((2, 2), 2.0), m.full((3,), -3.0)
    return made


def clipped(m, name, *args, **options):
    made = parameters(m)
    found = getattr(m.nn.utils, name)(made, *args, **options)
    return [found, [p.grad for p in made]]


def test_clipping():
    inf = float("inf")
    programs = {
        f"{kind} {each}": lambda m, kind=kind, each=each: clipped(
            m, "clip_grad_norm_", 1.0, norm_type=kind, foreach=each
        )
        for kind, each in itertools.product((1, 2, 2.5, inf, -inf, 0), (None, True, False))
    }

    def not_finite(m):
        made = parameters(m)
        made[0].grad[0, 0] = float("nan")
        return m.nn.utils.clip_grad_norm_(made, 1.0, error_if_nonfinite=True)

    programs |= {
        "values": lambda m: clipped(m, "clip_grad_value_", 1.0),
        "known norm": lambda m: clipped(m, "clip_grads_with_norm_", 1.0, m.tensor(4.0)),
        "norm": lambda m: m.nn.utils.get_total_norm([p.grad for p in parameters(m)]),
        "one": lambda m: m.nn.utils.clip_grad_norm_(parameters(m)[0], 1.0),
        "none": lambda m: m.nn.utils.clip_grad_norm_([], 1.0),
        "without gradients": lambda m: m.nn.utils.clip_grad_norm_([m.ones(2)], 1.0),
        "not finite": not_finite,
    }
    assert differences(programs) == []


def rows(m):
    parts = m.arange(6.0).reshape(3, 2), m.arange(2.0).reshape(1, 2) + 9
    return [*parts, m.arange(4.0).reshape(2, 2) - 5]


def packed(m, first, ordered):
    rnn, x = m.nn.utils.rnn, m.arange(24.0).reshape(3, 4, 2)
    lengths = [4, 3, 2] if ordered else [4, 2, 3]
    x = x if first else x.transpose(0, 1)
    made = rnn.pack_padded_sequence(x, lengths, batch_first=first, enforce_sorted=ordered)
    back = rnn.pad_packed_sequence(made, batch_first=first, padding_value=7.0, total_length=6)
    order = [made.batch_sizes, made.sorted_indices, made.unsorted_indices]
    return [made.data, order, back, made.double().data, rnn.unpack_sequence(made)]


def recurrent(m, kind, both):
    m.manual_seed(0)
    rnn, net = m.nn.utils.rnn, getattr(m.nn, kind)(2, 3, 2, bidirectional=both)
    out, state = net(rnn.pack_sequence(rows(m), enforce_sorted=False))
    rnn.pad_packed_sequence(out)[0].square().sum().backward()
    return [out.data, state, [p.grad for p in net.parameters()]]


def test_packing():
    two = (True, False)
    programs = {
        f"pad {first} {side}": lambda m, first=first, side=side: m.nn.utils.rnn.pad_sequence(
            rows(m), batch_first=first, padding_value=-1.0, padding_side=side
        )
        for first, side in itertools.product(two, ("right", "left"))
    }
    for first, ordered in itertools.product(two, two):
        programs[f"pack {first} {ordered}"] = lambda m, a=first, b=ordered: packed(m, a, b)
    for kind, both in itertools.product(("RNN", "LSTM", "GRU"), two):
        programs[f"{kind} {both}"] = lambda m, kind=kind, both=both: recurrent(m, kind, both)
    programs |= {
        "not sorted": lambda m: m.nn.utils.rnn.pack_sequence(rows(m)[::-1][1:]),
        "rising": lambda m: m.nn.utils.rnn.pack_padded_sequence(m.ones(3, 2, 2), [3, 4]),
        "no length": lambda m: m.nn.utils.rnn.pack_padded_sequence(m.ones(3, 2, 2), [3, 0]),
        "unpad": lambda m: m.nn.utils.rnn.unpad_sequence(
            m.nn.utils.rnn.pad_sequence(rows(m)), m.tensor([3, 1, 2])
        ),
        "inverse": lambda m: m.nn.utils.rnn.invert_permutation(m.tensor([2, 0, 1])),
    }
    assert differences(programs) == []


def fused(m, transpose):
    m.manual_seed(0)
    kind = m.nn.ConvTranspose2d if transpose else m.nn.Conv2d
    layer, norm = kind(2, 3, 3).eval(), m.nn.BatchNorm2d(3).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    made = m.nn.utils.fusion.fuse_conv_bn_eval(layer, norm, transpose)
    return [repr(made), made.weight, made.bias]


def fused_linear(m):
    m.manual_seed(0)
    layer, norm = m.nn.Linear(2, 3).eval(), m.nn.BatchNorm1d(3).eval()
    norm.running_mean.normal_()
    made = m.nn.utils.fusion.fuse_linear_bn_eval(layer, norm)
    return [made.weight, made.bias]


def vector(m, n):
    made = parameters(m)
    m.nn.utils.vector_to_parameters(m.arange(n), made)
    return made


def formats(m):
    net = m.nn.Sequential(m.nn.Conv2d(2, 3, 3), m.nn.Conv3d(2, 3, 3))
    m.nn.utils.convert_conv2d_weight_memory_format(net, m.channels_last)
    m.nn.utils.convert_conv3d_weight_memory_format(net, m.channels_last_3d)
    return [layer.weight.stride() for layer in net]


def test_others():
    programs = {
        "fused": lambda m: fused(m, False),
        "fused, transposed": lambda m: fused(m, True),
        "fused, linear": fused_linear,
        "in training": lambda m: m.nn.utils.fusion.fuse_conv_bn_eval(
            m.nn.Conv2d(2, 3, 3), m.nn.BatchNorm2d(3)
        ),
        "to a vector": lambda m: m.nn.utils.parameters_to_vector(parameters(m)),
        "from a vector": lambda m: vector(m, 7.0),
        "from a short vector": lambda m: vector(m, 5.0),
        "from a list": lambda m: m.nn.utils.vector_to_parameters([1], parameters(m)),
        "skip_init": lambda m: repr(m.nn.utils.skip_init(m.nn.Linear, 2, 3)),
        "skip_init of no layer": lambda m: m.nn.utils.skip_init(3),
        "skip_init without device": lambda m: m.nn.utils.skip_init(m.nn.Identity, 2),
        "memory formats": formats,
    }
    assert differences(programs) == []
