"""Samples of views, joining, indexing and matrix products."""

from cases import B, Case, F, I


def _write(m, x):
    y = x.clone()
    y[0] = 1.0
    y[:, 1] += 2
    y[1:, ::2] *= 3
    y.t()[0] = y[:, 1]
    return y


def _write_mask(m, x):
    y = x.clone()
    y[y > 0] = 0.5
    y[[0, 2], [1, 3]] = 9.0
    y[m.tensor([0, 1]), :2] = y[1, 2:4]
    return y


def _chain(m, x):
    y = x * 2
    v = y.view(4, 3).t()[1]
    v.add_(1)
    w = y[1:]
    w.mul_(v.sum())
    return y, v, w


CASES = [
    Case("reshape", lambda m, x: x.reshape(2, -1) + x.view(4, 3).reshape(2, 6), (F(3, 4),)),
    Case("reshape.permuted", lambda m, x: x.permute(2, 0, 1).reshape(-1, 3) * 2, (F(3, 4, 5),)),
    Case("flatten", lambda m, x: x.flatten(1) + x.flatten(1), (F(3, 4, 5),)),
    Case("squeeze", lambda m, x: x.squeeze().unsqueeze(0).unsqueeze(-1), (F(3, 1, 5),)),
    Case("transpose", lambda m, x: x.transpose(0, 1).contiguous() + x.T, (F(3, 4),)),
    Case("movedim", lambda m, x: m.movedim(x, 0, -1) * 3, (F(3, 4, 5),)),
    Case("expand", lambda m, x: x.expand(4, 3, 5) * m.ones(4, 1, 5), (F(3, 1),)),
    Case("repeat", lambda m, x: x.repeat(2, 3), (F(3, 4),)),
    Case("repeat_interleave", lambda m, x: x.repeat_interleave(2, 1), (F(3, 4),)),
    Case("tile", lambda m, x: m.tile(x, (2,)), (F(3, 4),)),
    Case("cat", lambda m, x, y: m.cat([x, y, x], 1), (F(3, 4), F(3, 2))),
    Case("stack", lambda m, x, y: m.stack([x, y * 2], -1), (F(3, 4), F(3, 4))),
    Case(
        "hstack",
        lambda m, x, y: m.hstack([x, y]) + m.vstack([x.t(), y.t()]).t(),
        (F(3, 4), F(3, 4)),
    ),
    Case("split", lambda m, x: [a * (i + 1) for i, a in enumerate(x.split(3, 1))], (F(3, 7),)),
    Case("chunk", lambda m, x: [a * (i + 1) for i, a in enumerate(x.chunk(3, 1))], (F(3, 7),)),
    Case("unbind", lambda m, x: x.unbind(1)[2] + x.unbind(1)[0], (F(3, 4),)),
    Case("flip", lambda m, x: x.flip(0, 1) * 2, (F(3, 4),)),
    Case("roll", lambda m, x: m.roll(x, (1, -2), (0, 1)), (F(3, 4),)),
    Case("rot90", lambda m, x: m.rot90(x), (F(3, 4),)),
    Case("tril", lambda m, x: m.tril(x) + m.triu(x, 1) * 2, (F(4, 5),)),
    Case("diag", lambda m, x: m.diag(x) + x.diagonal(0), (F(4, 4),)),
    Case("diag_embed", lambda m, x: m.diag_embed(x, 1), (F(2, 3),)),
    Case("meshgrid", lambda m, x, y: m.meshgrid(x, y, indexing="xy"), (F(3), F(4))),
    Case("unfold", lambda m, x: x.unfold(1, 3, 2), (F(3, 8),)),
    Case("as_strided", lambda m, x: x.as_strided((2, 3), (1, 4), 1) * 2, (F(3, 4),)),
    Case(
        "index.basic",
        lambda m, x: x[1:, ::2] + x[0, None, 1:3] + x[-1, -1] + x[1:, ..., :2],
        (F(3, 4),),
    ),
    Case("index.list", lambda m, x: x[[0, 2, 0]], (F(3, 4),)),
    Case("index.two", lambda m, x, i: x[i, :, i], (F(5, 4, 5), I(6, low=-5, high=5))),
    Case("index.adjacent", lambda m, x, i: x[:, i, i], (F(3, 5, 5), I(2, 6, low=0, high=5))),
    Case("index.mask", lambda m, x, b: x[b] * 2, (F(3, 4), B(3, 4))),
    Case("index.mask_rows", lambda m, x, b: x[:, b] * 2, (F(3, 4), B(4))),
    Case("nonzero", lambda m, x: x.nonzero(), (B(3, 4),), grad=False),
    Case("setitem", _write, (F(3, 4),)),
    Case("setitem.advanced", _write_mask, (F(3, 4),)),
    Case("views.chain", _chain, (F(3, 4),)),
    Case("gather", lambda m, x, i: x.gather(1, i), (F(3, 5), I(3, 4, low=0, high=5))),
    Case(
        "scatter",
        lambda m, x, i, s: x.scatter_add(1, i, s),
        (F(3, 5), I(3, 4, low=0, high=5), F(3, 4)),
    ),
    Case("scatter.value", lambda m, x, i: x.scatter(1, i, 7.0), (F(3, 5), I(3, 1, low=0, high=5))),
    Case("index_select", lambda m, x, i: x.index_select(1, i), (F(3, 5), I(4, low=0, high=5))),
    Case(
        "index_add",
        lambda m, x, i, s: x.index_add(0, i, s),
        (F(5, 3), I(4, low=0, high=5), F(4, 3)),
    ),
    Case("masked_fill", lambda m, x, b: x.masked_fill(b, -1e9), (F(3, 4), B(4))),
    Case("masked_select", lambda m, x, b: x.masked_select(b), (F(3, 4), B(3, 4))),
    Case("take_along_dim", lambda m, x: m.take_along_dim(x, x.argsort(1), 1), (F(3, 4),)),
    Case("matmul", lambda m, x, y: x @ y, (F(3, 4), F(4, 5))),
    Case("matmul.batch", lambda m, x, y: x @ y, (F(2, 1, 3, 4), F(5, 4, 6))),
    Case("matmul.vector", lambda m, x, y: (x @ y) @ y.new_ones(3), (F(2, 3, 4), F(4))),
    Case("matmul.transposed", lambda m, x, y: x.t() @ y.t(), (F(4, 3), F(5, 4))),
    Case("bmm", lambda m, x, y: m.bmm(x, y.transpose(1, 2)), (F(2, 3, 4), F(2, 5, 4))),
    Case("addmm", lambda m, b, x, y: m.addmm(b, x, y, beta=0.5, alpha=2), (F(5), F(3, 4), F(4, 5))),
    Case("einsum", lambda m, x, y: m.einsum("bij,bjk->bik", x, y), (F(2, 3, 4), F(2, 4, 5))),
    Case(
        "einsum.heads",
        lambda m, x, y: m.einsum("bqhd,bkhd->bhqk", x, y),
        (F(2, 3, 4, 5), F(2, 6, 4, 5)),
    ),
    Case("einsum.trace", lambda m, x: m.einsum("ii->i", x), (F(3, 3),)),
    Case("outer", lambda m, x, y: m.outer(x, y) + m.dot(x, x), (F(3), F(4))),
    Case("tensordot", lambda m, x, y: m.tensordot(x, y, dims=([1], [0])), (F(3, 4), F(4, 5))),
    Case("cdist", lambda m, x, y: m.cdist(x, y), (F(3, 4), F(5, 4))),
    Case("arange", lambda m: m.arange(2, 11, 3) + m.arange(3.0), (), grad=False),
    Case("linspace", lambda m: m.linspace(-1, 2, 7), (), grad=False),
    Case("eye", lambda m: m.eye(3, 4) + m.full((3, 4), 2.5) + m.zeros(3, 4), (), grad=False),
]
