"""Grids, drawings, image files and layers inside models, as torchvision has them."""

import importlib

import numpy as np
import pytest

import harness

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def sides():
    import cupola
    import cupola_compat.torchvision as ours

    harness.torchvision()
    import torchvision as theirs

    return (cupola, ours), (torch, theirs)


def numbers(*shape):
    return np.random.default_rng(1).random(shape).astype("float32")


def picture(m, kind="uint8"):
    plain = (numbers(3, 20, 24) * 255).astype("uint8")
    return m.from_numpy(plain) if kind == "uint8" else m.from_numpy(plain).float() / 255


def boxes(m):
    return m.tensor([[2.0, 3.0, 10.0, 12.0], [5.0, 1.0, 20.0, 18.0]])


DRAWINGS = {
    "grid": lambda m, u: u.make_grid(m.from_numpy(numbers(7, 3, 5, 6)), nrow=3, pad_value=0.5),
    "grid, gray": lambda m, u: u.make_grid(
        m.from_numpy(numbers(4, 1, 5, 6)), nrow=3, padding=1, normalize=True
    ),
    "grid, each": lambda m, u: u.make_grid(
        [m.from_numpy(numbers(3, 5, 6)) * k for k in (1, 2)], normalize=True, scale_each=True
    ),
    "grid, one": lambda m, u: u.make_grid(m.from_numpy(numbers(5, 6)), value_range=(0, 1)),
    "boxes": lambda m, u: u.draw_bounding_boxes(picture(m), boxes(m), width=2, fill=True),
    "boxes, named": lambda m, u: u.draw_bounding_boxes(
        picture(m, "float"), boxes(m), labels=["a", None], colors=["red", (1, 2, 3)],
        fill_labels=True,
    ),
    "masks": lambda m, u: u.draw_segmentation_masks(
        picture(m), m.from_numpy(numbers(2, 20, 24) > 0.6), colors=["blue", "#00ff10"]
    ),
    "masks, float": lambda m, u: u.draw_segmentation_masks(
        picture(m, "float"), m.from_numpy(numbers(20, 24) > 0.6), alpha=0.3
    ),
    "points": lambda m, u: u.draw_keypoints(
        picture(m), boxes(m).view(2, 2, 2), connectivity=[(0, 1)], colors="red",
        visibility=m.tensor([[True, True], [True, False]]),
    ),
    "flow": lambda m, u: u.flow_to_image(m.from_numpy(numbers(2, 2, 6, 7) - 0.5)),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings(sides, name):
    got, want = (np.asarray(DRAWINGS[name](m, v.utils)) for m, v in sides)
    assert got.dtype == want.dtype and got.shape == want.shape
    if got.dtype == np.uint8:
        assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
        assert (got != want).mean() < 0.01
    else:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_save_image_and_read_it(sides, tmp_path):
    (m, ours), (t, theirs) = sides
    ours.utils.save_image(m.from_numpy(numbers(4, 3, 5, 6)), tmp_path / "a.png", nrow=2)
    theirs.utils.save_image(t.from_numpy(numbers(4, 3, 5, 6)), tmp_path / "b.png", nrow=2)
    got, want = (np.asarray(Image.open(tmp_path / n)) for n in ("a.png", "b.png"))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ours.io.read_image(tmp_path / "a.png"), want.transpose(2, 0, 1))


def test_files_and_bytes(sides, tmp_path):
    (m, ours), _ = sides
    image = picture(m)
    ours.io.write_png(image, tmp_path / "x.png")
    data = ours.io.read_file(tmp_path / "x.png")
    for read in (ours.io.decode_png(data), ours.io.decode_image(data, mode="RGB")):
        np.testing.assert_array_equal(read, image)
    ours.io.write_jpeg(image, tmp_path / "x.jpg", quality=95)
    jpeg = ours.io.decode_jpeg(ours.io.read_file(tmp_path / "x.jpg"), mode="GRAY")
    assert jpeg.shape == (1, 20, 24)
    with pytest.raises(RuntimeError):
        ours.io.encode_png(image.float())
    with pytest.raises(RuntimeError):
        ours.io.decode_image(image)


def test_layers_inside_a_model(sides):
    found = []
    for m, v in sides:
        tools = importlib.import_module(f"{v.__name__}.models.feature_extraction")
        from_ = tools.create_feature_extractor
        model = v.models.resnet18(weights=None).eval()
        with m.no_grad():
            for name, p in model.named_parameters():
                p.copy_(m.full_like(p, 0.01 * (len(name) % 7)))
        extractor = from_(
            model, {"layer1": "early", "layer2.0.relu_1": "middle", "avgpool": "late"}
        )
        found.append(extractor(m.from_numpy(numbers(1, 3, 32, 32))))
    ours, theirs = found
    assert list(ours) == list(theirs) == ["early", "middle", "late"]
    for key in ours:
        np.testing.assert_allclose(ours[key].detach(), theirs[key].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mobilenet_v3_large", "regnet_y_400mf", "convnext_tiny"]
)
def test_nodes_of_a_model_have_the_same_names(sides, name):
    found = []
    for _, v in sides:
        tools = importlib.import_module(f"{v.__name__}.models.feature_extraction")
        found.append(tools.get_graph_node_names(getattr(v.models, name)(weights=None)))
    assert found[0] == found[1]


def test_nodes_of_both_modes(sides):
    """Graphs for training and evaluation; what is not needed is left out; gradients flow."""
    found = []
    for m, v in sides:
        tools = importlib.import_module(f"{v.__name__}.models.feature_extraction")
        model = v.models.resnet18(weights=None).eval()
        with m.no_grad():
            for name, p in model.named_parameters():
                p.copy_(m.full_like(p, 0.01 * (len(name) % 7)))
        made = tools.create_feature_extractor(
            model,
            train_return_nodes=["layer1.0.add"],
            eval_return_nodes={"layer2": "a", "relu": "b"},
        )
        x = m.from_numpy(numbers(1, 3, 32, 32))
        test = made(x)
        test["a"].sum().backward()
        keys = [list(test), list(made.train()(x)), list(made.eval()(x))]
        names = [name for name, _ in made.named_parameters()]
        found.append((keys, names, made.training, test, model.conv1.weight.grad))
    (*ours, test, grad), (*theirs, wanted, wanted_grad) = found
    assert ours == theirs
    for a, b in ((grad, wanted_grad), (test["a"], wanted["a"]), (test["b"], wanted["b"])):
        np.testing.assert_allclose(a.detach(), b.detach(), rtol=1e-4, atol=1e-5)


def test_layers_that_are_not_there(sides):
    (_, ours), _ = sides
    tools = importlib.import_module(f"{ours.__name__}.models.feature_extraction")
    from_ = tools.create_feature_extractor
    model = ours.models.squeezenet1_1(weights=None)
    with pytest.raises(ValueError, match="is not present in model"):
        from_(model, ["no_such_layer"])
    with pytest.raises(ValueError):
        from_(model)
