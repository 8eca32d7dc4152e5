"""Every builder makes torchvision's state; small models agree with it in results and gradients.

The rest is compared by `make zoo`.
"""

import io

import numpy as np
import pytest

import conditioned
import harness
import zoo

torch = pytest.importorskip("torch")
# Small models of several families.
SMALL = (
    "squeezenet1_1",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
)


@pytest.fixture(scope="module", autouse=True)
def reference():
    harness.torchvision()


def families():
    """Builders by the module that they are in."""
    from cupola.models import _registry

    found = {}
    for name in zoo.names():
        found.setdefault(_registry.BUILDERS[name].__module__, []).append(name)
    return found


def test_torchvisions_builders_are_there():
    import cupola.models

    theirs = {n for n in harness.torchvision().models.list_models() if "quantized" not in n}
    assert theirs <= set(cupola.models.list_models())
    assert set(cupola.models.list_models()) - theirs == set(zoo.OURS)


@pytest.mark.parametrize("family", sorted(families()))
def test_state_of_every_builder(family):
    for name in families()[family]:
        zoo.compare_layout(name)


def test_what_is_compared_depends_on_the_images():
    """As initialised, this network's last layer gets zeros, to rounding."""
    pair = zoo.Pair.make("shufflenet_v2_x0_5").to("float32")
    theirs, _ = pair.inputs("float32")
    with torch.no_grad():
        first, second = zoo.flat(zoo.called(pair.theirs.eval(), theirs[0], pair.name))[0]
    assert np.linalg.norm(first - second) > 0.1 * np.linalg.norm(first)


def test_boxes_of_one_score_have_no_order():
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    boxes = np.arange(20.0).reshape(5, 4)
    want = {"boxes": boxes, "scores": scores, "labels": np.array([1, 1, 2, 1, 1])}
    other = [0, 3, 1, 2, 4]
    got = {key: value[other] for key, value in want.items()}
    for key, value in zoo.in_order(got, want).items():
        np.testing.assert_array_equal(value, want[key])
    got = {key: value[[1, 0, 2, 3, 4]] for key, value in want.items()}
    assert (zoo.in_order(got, want)["scores"] != scores).any()
    assert len(zoo.in_order({key: value[:3] for key, value in want.items()}, want)["boxes"]) == 3


@pytest.mark.parametrize("name", SMALL)
def test_results(name):
    pair = zoo.Pair.make(name)
    assert pair.initial_error() == 0
    pair.files()
    # torch's own float32 results are up to 3e-5 away from its float64 results.
    assert pair.to("float32").forward_error() < 1e-4
    assert pair.to("float64").forward_error("float64") < 1e-10
    loss, gradients = pair.backward_error("float64")
    assert loss < 1e-10 and gradients < 1e-6


def test_res2net_splits_its_channels():
    """Res2Net is not torchvision's: its keys are its authors', and it trains."""
    import cupola
    from cupola import models

    model = models.Res2Net(models.Bottle2neck, [1, 1, 1, 1], num_classes=4)
    keys = list(model.state_dict())
    assert "layer1.0.convs.2.weight" in keys and "layer1.0.bns.2.running_var" in keys
    with zoo.undrawn():
        assert sum(p.numel() for p in models.res2net50().parameters()) == 25_699_120
    loss = model(cupola.rand(2, 3, 48, 48)).logsumexp(1).sum()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_arguments_of_builders():
    """Builders take torchvision's arguments: auxiliary scores, dilation, dropout, widths."""
    import cupola
    from cupola import models

    with torch.device("meta"):
        theirs = harness.torchvision().models
        for name, given in (
            ("googlenet", {"aux_logits": False, "init_weights": False}),
            ("inception_v3", {"aux_logits": False, "init_weights": False}),
            ("resnet50", {"replace_stride_with_dilation": [False, True, True]}),
            ("mobilenet_v3_large", {"reduced_tail": True, "dilated": True}),
            ("mobilenet_v2", {"width_mult": 0.5}),
            ("vit_b_32", {"image_size": 96, "representation_size": 20}),
            ("densenet121", {"memory_efficient": True, "drop_rate": 0.1}),
            ("efficientnet_b0", {"dropout": 0.7, "stochastic_depth_prob": 0.1}),
            ("efficientnet_v2_s", {"dropout": 0.7}),
            ("resnext50_32x4d", {"groups": 32}),
        ):
            want = getattr(theirs, name)(num_classes=3, **given)
            with zoo.undrawn():
                got = getattr(models, name)(num_classes=3, **given)
            assert zoo.layout(got) == zoo.layout(want)
            chances = [[m.p for m in conditioned.chances(side)] for side in (got, want)]
            assert chances[0] == chances[1]
    with pytest.raises(ValueError, match="width_per_group is 4"):
        models.resnext50_32x4d(width_per_group=8)
    with pytest.raises(TypeError):
        models.resnet18(nonsense=1)
    model = models.resnet18(num_classes=2, zero_init_residual=True).eval()
    assert float(model.layer1[0].bn2.weight.abs().sum()) == 0
    assert isinstance(model(cupola.zeros(1, 3, 32, 32)), cupola.Tensor)


def test_weights_from_files(tmp_path):
    from cupola import models
    from cupola.io.safetensors import save_file

    theirs = harness.torchvision().models.squeezenet1_1(num_classes=3)
    plain, wrapped, safe = (tmp_path / name for name in ("a.pth", "b.pth", "c.safetensors"))
    torch.save(theirs.state_dict(), plain)
    torch.save({"model": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, wrapped)
    ours = models.get_model("SqueezeNet1_1", weights=plain, num_classes=3)
    save_file(ours.state_dict(), safe)
    opened = io.BytesIO(plain.read_bytes())
    for source in (str(wrapped), safe, opened, ours.state_dict()):
        again = models.squeezenet1_1(weights=source, num_classes=3)
        for key, value in theirs.state_dict().items():
            np.testing.assert_array_equal(again.state_dict()[key].numpy(), value.numpy())
    with pytest.raises(RuntimeError, match="size mismatch"):
        models.squeezenet1_1(weights=plain)
    with pytest.raises(ValueError, match="did you mean"):
        models.get_model("squeezenet1_2")


def test_published_weights_are_never_fetched(tmp_path):
    from cupola import hub, models

    assert repr(models.ResNet50_Weights.DEFAULT) == "ResNet50_Weights.IMAGENET1K_V2"
    assert models.get_weight("ResNet50_Weights.IMAGENET1K_V1").url.endswith("resnet50-0676ba61.pth")
    hub.set_dir(tmp_path)
    try:
        for name in ("DEFAULT", "IMAGENET1K_V1", models.SqueezeNet1_1_Weights.DEFAULT, True):
            with pytest.raises(FileNotFoundError, match="downloads nothing"):
                models.squeezenet1_1(weights=name)
        with pytest.raises(ValueError, match="no weights"):
            models.squeezenet1_1(weights="IMAGENET22K_V7")
        with pytest.raises(TypeError, match="Invalid Weight class"):
            models.squeezenet1_1(weights=models.ResNet50_Weights.DEFAULT)
        # Where the file has been put into torch.hub's folder, its name is enough.
        theirs = harness.torchvision().models.squeezenet1_1()
        path = models.SqueezeNet1_1_Weights.DEFAULT.path
        path.parent.mkdir(parents=True)
        torch.save(theirs.state_dict(), path)
        ours = models.squeezenet1_1(weights="DEFAULT")
        want = theirs.state_dict()["classifier.1.bias"].numpy()
        np.testing.assert_array_equal(ours.state_dict()["classifier.1.bias"].numpy(), want)
    finally:
        hub._folder = None


def test_the_module_prints_its_models():
    import cupola.models

    text = repr(cupola.models)
    assert "resnet50" in text and max(map(len, text.splitlines())) <= 100
