"""cupola.vision on a GPU: torchvision's compiled operators as recorded, the rest as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import cupola
import vision_samples as samples
from cupola import vision


@pytest.mark.parametrize("name", samples.CASES)
def test_compiled_operators(name):
    recorded = np.load(samples.RECORDED)
    for number, got in enumerate(samples.run(cupola, vision, samples.CASES[name], "cuda")):
        want = recorded[f"{name}/{number}"]
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=f"{name}/{number}")


def boxes(device, count=40):
    low = np.random.default_rng(0).random((count, 2), np.float32) * 20
    size = np.random.default_rng(1).random((count, 2), np.float32) * 15 + 1
    return cupola.from_numpy(np.concatenate([low, low + size], 1)).to(device)


FORMS = {
    "nms": lambda b, s: vision.nms(b, s, 0.4),
    "batched_nms": lambda b, s: vision.batched_nms(b, s, (s * 3).long(), 0.4),
    "box_iou": lambda b, s: vision.box_iou(b, b[:7]),
    "generalized_box_iou": lambda b, s: vision.generalized_box_iou(b, b[:7]),
    "box_convert": lambda b, s: vision.box_convert(b, "xyxy", "cxcywh"),
    "clip": lambda b, s: vision.clip_boxes_to_image(b, (15, 18)),
    "small": lambda b, s: vision.remove_small_boxes(b, 5.0),
    "focal": lambda b, s: vision.sigmoid_focal_loss(b - 10, (b > 12).float(), reduction="mean"),
    "giou loss": lambda b, s: vision.generalized_box_iou_loss(b, b.flip(0), reduction="sum"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_on_both_devices(name):
    scores = np.random.default_rng(2).random(40, np.float32)
    found = [
        FORMS[name](boxes(d), cupola.from_numpy(scores).to(d)).cpu().numpy()
        for d in ("cpu", "cuda")
    ]
    assert found[0].shape == found[1].shape
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)
