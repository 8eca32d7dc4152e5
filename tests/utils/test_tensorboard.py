"""Event files hold what torch's ``SummaryWriter`` puts into its own, message for message."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorboard")
import torch.utils.tensorboard  # noqa: F401
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util.tensor_util import make_ndarray

import cupola
import cupola.utils.tensorboard
from nn.twin import PAIR, given

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(50, 3)).astype(np.float32)
PICTURES = RNG.random((5, 3, 6, 7)).astype(np.float32)
SOUND = np.sin(np.arange(800) / 9).astype(np.float32)[None]
VIDEO = RNG.integers(0, 256, (3, 4, 3, 8, 6)).astype(np.uint8)
CURVE = RNG.random((6, 20)).astype(np.float32)
LAYOUT = {"a": {"one": ["Multiline", ["x", "y"]], "two": ["Margin", ["x", "y", "z"]]}}
HPARAMS = {"lr": 0.1, "bias": True, "name": "adam", "none": None, "layers": 3}
CASES = {
    "scalar": lambda w, m: [w.add_scalar("a/b", m.tensor(1.5 * i), i) for i in range(3)],
    "numbers": lambda w, m: [w.add_scalar("x", v, np.int64(2)) for v in (1, 2.5, np.float32(3))],
    "new style": lambda w, m: w.add_scalar("x", 0.1, 1, new_style=True),
    "double": lambda w, m: w.add_scalar("x", 0.1, new_style=True, double_precision=True),
    "scalars": lambda w, m: w.add_scalars("run/14", {"sin": 0.5, "cos": m.tensor([0.25])}, 3),
    "tensor": lambda w, m: [
        w.add_tensor(f"t{i}", given(NOISE[:4], m).to(getattr(m, kind)), i)
        for i, kind in enumerate(("bool", "float32", "float64", "int64", "uint8", "complex64"))
    ],
    "histogram": lambda w, m: w.add_histogram("h", given(NOISE, m), 1),
    "histogram, bfloat16": lambda w, m: w.add_histogram("h", given(NOISE, m).bfloat16(), 1),
    "bins": lambda w, m: w.add_histogram("h", given(NOISE, m), bins="auto"),
    "few bins": lambda w, m: w.add_histogram("h", given(NOISE, m), max_bins=30),
    "equal values": lambda w, m: w.add_histogram("h", m.zeros(4)),
    "raw histogram": lambda w, m: w.add_histogram_raw("h", 0, 9, 6, 20, 60, [1, 5, 9], [1, 2, 3]),
    "picture": lambda w, m: w.add_image("p", given(PICTURES[0], m), 2),
    "picture, bytes": lambda w, m: w.add_image(
        "p", (given(PICTURES[0], m) * 255).to(m.uint8).permute(1, 2, 0), dataformats="HWC"
    ),
    "gray": lambda w, m: w.add_image("p", given(PICTURES[0, 0], m), dataformats="HW"),
    "gray, one channel": lambda w, m: w.add_image("p", given(PICTURES[0, :1], m) * 2 - 0.5),
    "pictures": lambda w, m: w.add_images("p", given(PICTURES, m)),
    "pictures, gray": lambda w, m: w.add_images("p", given(PICTURES[:, :1], m)),
    "sound": lambda w, m: w.add_audio("s", given(SOUND, m), 1, sample_rate=8000),
    "text": lambda w, m: w.add_text("note", "ä *text*", 4),
    "curve": lambda w, m: w.add_pr_curve(
        "c", given((NOISE[:, 0] > 0).astype(np.int64), m), given(NOISE[:, 1] % 1, m), 2
    ),
    "curve, weights": lambda w, m: w.add_pr_curve(
        "c", NOISE[:, 0] > 0, NOISE[:, 1] % 1, num_thresholds=20, weights=NOISE[:, 2] ** 2
    ),
    "raw curve": lambda w, m: w.add_pr_curve_raw("c", *given(CURVE, m), num_thresholds=20),
    "layout": lambda w, m: w.add_custom_scalars(LAYOUT),
    "chart": lambda w, m: w.add_custom_scalars_multilinechart(["x", "y"], "c", "t"),
    "margin": lambda w, m: w.add_custom_scalars_marginchart(["x", "y", "z"]),
    "mesh": lambda w, m: w.add_mesh(
        "m", given(NOISE[None], m), m.ones(1, 50, 3).int(), m.ones(1, 2, 3).int(), {"a": 1}, 2
    ),
    "hyperparameters": lambda w, m: w.add_hparams(
        {**HPARAMS, "t": m.tensor([2.0])},
        {"loss": 0.25}, {"lr": [0.1, 0.2], "name": ["sgd"]}, "r", 7,
    ),
    "embedding": lambda w, m: w.add_embedding(
        given(NOISE, m).double(), [f"p{i}" for i in range(50)],
        given(PICTURES[[0] * 50], m), 3, "a/b",
    ),
    "columns": lambda w, m: w.add_embedding(
        given(NOISE[:2], m).double(), [["a", 1], ["b", 2]], metadata_header=["name", "size"]
    ),
}  # fmt: skip


def events(folder):
    """All events below a folder, by file, and the other files' text."""
    found = {}
    for path in sorted(folder.rglob("*")):
        where = str(path.parent.relative_to(folder))
        if path.name.startswith("events."):
            read = EventFileLoader(str(path)).Load()
            found[where] = [(e.step, plain(e.summary)) for e in read if e.HasField("summary")]
        elif path.suffix in (".tsv", ".pbtxt"):
            found[where, path.name] = path.read_text()
        elif path.suffix == ".png":
            found[where, path.name] = np.asarray(Image.open(path)).tolist()
    return found


def plain(message):
    """A summary with its pictures decoded."""
    pictures = []
    for value in message.value:
        if value.HasField("image"):
            pixels = np.asarray(Image.open(io.BytesIO(value.image.encoded_image_string)))
            pictures.append(pixels.tolist())
            value.image.encoded_image_string = b""
    return str(message), pictures


def written(m, name, folder):
    with m.utils.tensorboard.SummaryWriter(str(folder)) as writer:
        CASES[name](writer, m)
    return events(folder)


@pytest.mark.parametrize("name", CASES)
def test_messages(name, tmp_path):
    want, got = (written(m, name, tmp_path / m.__name__) for m in PAIR)
    assert list(got) == list(want) and got
    for place in want:
        assert got[place] == want[place]


def test_bad_values(tmp_path):
    for m in PAIR:
        with m.utils.tensorboard.SummaryWriter(tmp_path / m.__name__) as writer:
            for error, call in (
                (AssertionError, lambda w, m=m: w.add_scalar("x", m.ones(2))),
                (ValueError, lambda w, m=m: w.add_histogram("x", m.ones(0))),
                (AssertionError, lambda w, m=m: w.add_image("x", m.ones(2, 2))),
                (TypeError, lambda w: w.add_hparams([], {})),
                (ValueError, lambda w: w.add_hparams({"a": []}, {})),
                (AssertionError, lambda w: w.add_custom_scalars_marginchart(["a"])),
                (AssertionError, lambda w, m=m: w.add_embedding(m.ones(2, 2), ["a"])),
                (NotImplementedError, lambda w: w.add_scalar("x", {})),
            ):
                with pytest.raises(error):
                    call(writer)


def test_a_training_as_tensorboard_reads_it(tmp_path):
    net = cupola.nn.Sequential(cupola.nn.Linear(3, 4), cupola.nn.ReLU(), cupola.nn.Linear(4, 1))
    writer = cupola.utils.tensorboard.SummaryWriter(tmp_path, purge_step=0)
    writer.add_graph(net, cupola.ones(2, 3))
    for step in range(5):
        writer.add_scalar("loss", net(cupola.ones(2, 3)).mean(), step)
        for name, parameter in net.named_parameters():
            writer.add_histogram(name, parameter, step)
    writer.flush()
    writer.close()
    writer.add_scalar("late", 1.0)  # after close another file is opened
    writer.close()
    seen = EventAccumulator(str(tmp_path), {"histograms": 0}).Reload()
    assert [e.step for e in seen.Scalars("loss")] == list(range(5))
    assert len(seen.Histograms("0.weight")) == 5 and seen.Scalars("late")[0].value == 1.0
    nodes = {node.name: node for node in seen.Graph().node}
    assert list(nodes["Sequential/2"].input) == ["Sequential/1"]
    assert nodes["Sequential/0"].op == "Linear" and list(nodes["output"].input) == ["Sequential/2"]


def test_tensors_of_half_types(tmp_path):
    """As the field is defined; torch writes bits of single precision into it."""
    values = cupola.tensor([[0.5, -3.0], [1e-3, 100.0]])
    with cupola.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_tensor("half", values.half())
        writer.add_tensor("bfloat16", values.bfloat16())
    seen = EventAccumulator(str(tmp_path)).Reload()
    half = make_ndarray(seen.Tensors("half")[0].tensor_proto)
    assert half.dtype == np.float16 and half.tolist() == values.half().tolist()
    message = seen.Tensors("bfloat16")[0].tensor_proto
    wide = (np.array(message.half_val, np.uint32) << 16).view(np.float32)
    assert wide.tolist() == values.bfloat16().flatten().tolist()


def test_videos_boxes_and_figures(tmp_path):
    from matplotlib import pyplot

    with cupola.utils.tensorboard.SummaryWriter(tmp_path) as writer:
        writer.add_video("v", cupola.from_numpy(VIDEO), fps=5)
        boxes = cupola.tensor([[1.0, 1.0, 5.0, 4.0]])
        writer.add_image_with_boxes("b", cupola.zeros(3, 12, 14), boxes, labels=["x"])
        figure = pyplot.figure(figsize=(2, 1), dpi=50)
        writer.add_figure("f", figure)
        writer.add_figure("fs", [pyplot.figure(figsize=(2, 1), dpi=50) for _ in range(2)])
    assert not pyplot.get_fignums()
    seen = EventAccumulator(str(tmp_path)).Reload()
    video, box, one, two = (seen.Images(tag)[0] for tag in ("v", "b", "f", "fs"))
    frames = Image.open(io.BytesIO(video.encoded_image_string))
    assert frames.n_frames == 4 and frames.size == (24, 8) and frames.info["duration"] == 200
    red = np.asarray(Image.open(io.BytesIO(box.encoded_image_string)))
    summary = pytest.importorskip("torch.utils.tensorboard.summary")
    picture, corners = np.zeros((3, 12, 14), np.float32), np.array([[1.0, 1.0, 5.0, 4.0]])
    theirs = summary.image_boxes("b", picture, corners, labels=["x"]).value[0].image
    want = np.asarray(Image.open(io.BytesIO(theirs.encoded_image_string)))
    np.testing.assert_array_equal(red, want)
    assert (one.width, one.height) == (100, 50) and (two.width, two.height) == (200, 50)


def test_without_the_package(tmp_path):
    (tmp_path / "tensorboard.py").write_text("raise ImportError('no tensorboard')\n")
    text = "import cupola.utils.data\nimport cupola.utils.tensorboard\n"
    path = [str(tmp_path), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{text}"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert "ModuleNotFoundError" in run.stderr and "pip install tensorboard" in run.stderr
