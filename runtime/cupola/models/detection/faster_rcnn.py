"""Faster R-CNN (Ren et al., 2015), and its second version (Li et al., "Benchmarking Detection
Transfer Learning", 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola import nn
from cupola.models._initial import he_normal, initialise
from cupola.models._registry import builder
from cupola.models.detection._detector import CLASSES, check_backbone
from cupola.models.detection.anchor_utils import AnchorGenerator, pyramid_anchors
from cupola.models.detection.backbone_utils import (
    BackboneWithFPN,
    on_mobilenet,
    on_resnet,
    trainable,
)
from cupola.models.detection.generalized_rcnn import GeneralizedRCNN
from cupola.models.detection.roi_heads import RoIHeads
from cupola.models.detection.rpn import RegionProposalNetwork, RPNHead
from cupola.models.detection.transform import MEAN, STD, GeneralizedRCNNTransform
from cupola.models.mobilenetv3 import mobilenet_v3_large
from cupola.models.resnet import resnet50
from cupola.nn import functional as F
from cupola.tensor import Tensor
from cupola.vision.misc import Conv2dNormActivation, FrozenBatchNorm2d
from cupola.vision.poolers import MultiScaleRoIAlign
from cupola.vision.pyramid import ExtraFPNBlock

__all__ = [
    "FasterRCNN",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
]
Norm = Callable[..., nn.Module]


def usual_anchors() -> AnchorGenerator:
    """Returns anchors of one size a level, in three shapes."""
    return pyramid_anchors([[size] for size in (32, 64, 128, 256, 512)])


def regions(output_size: int) -> MultiScaleRoIAlign:
    """Returns the pooling of regions from a pyramid's four levels."""
    return MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=output_size, sampling_ratio=2)


class TwoMLPHead(nn.Module):
    """Two linear layers on a region's features."""

    def __init__(self, in_channels: int, representation_size: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_channels, representation_size)
        self.fc7 = nn.Linear(representation_size, representation_size)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (L, representation_size)."""
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class FastRCNNConvFCHead(nn.Sequential):
    """Convolutions, then linear layers, on a region's features of `input_size` (C, H, W)."""

    def __init__(
        self,
        input_size: tuple[int, int, int],
        conv_layers: Sequence[int],
        fc_layers: Sequence[int],
        norm_layer: Norm | None = None,
    ) -> None:
        channels, height, width = input_size
        blocks: list[nn.Module] = []
        for wide in conv_layers:
            blocks.append(Conv2dNormActivation(channels, wide, norm_layer=norm_layer))
            channels = wide
        blocks.append(nn.Flatten())
        channels *= height * width
        for wide in fc_layers:
            blocks += [nn.Linear(channels, wide), nn.ReLU(inplace=True)]
            channels = wide
        super().__init__(*blocks)
        initialise(self, he_normal(), norms=())


class FastRCNNPredictor(nn.Module):
    """Scores, and four numbers a class, from a region's representation."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(in_channels, num_classes)
        self.bbox_pred = nn.Linear(in_channels, num_classes * 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (L, classes) and (L, 4 · classes).

        Raises:
            AssertionError: regions larger than one cell.
        """
        if x.dim() == 4 and tuple(x.shape[2:]) != (1, 1):
            raise AssertionError(
                "x has the wrong shape, expecting the last two dimensions to be [1,1] instead of "
                f"{list(x.shape[2:])}"
            )
        x = x.flatten(1)
        return self.cls_score(x), self.bbox_pred(x)


def check_pool(name: str, pool: Any) -> None:
    """Raises TypeError for a pooling of regions that is not `MultiScaleRoIAlign`."""
    if pool is not None and not isinstance(pool, MultiScaleRoIAlign):
        raise TypeError(
            f"{name} should be of type MultiScaleRoIAlign or None instead of {type(pool)}"
        )


class FasterRCNN(GeneralizedRCNN):
    """Faster R-CNN on a backbone with `out_channels`.

    Args:
        min_size, max_size: pixels of the images' shorter and longer side.
        rpn_...: of the `RegionProposalNetwork`.
        box_...: of the `RoIHeads`.

    Raises:
        ValueError: a backbone that does not tell its channels; both or neither of `num_classes` and
            `box_predictor`.
        TypeError: anchors or a pooling of another class.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int | None = None,
        min_size: int | Sequence[int] = 800,
        max_size: int = 1333,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        rpn_anchor_generator: AnchorGenerator | None = None,
        rpn_head: nn.Module | None = None,
        rpn_pre_nms_top_n_train: int = 2000,
        rpn_pre_nms_top_n_test: int = 1000,
        rpn_post_nms_top_n_train: int = 2000,
        rpn_post_nms_top_n_test: int = 1000,
        rpn_nms_thresh: float = 0.7,
        rpn_fg_iou_thresh: float = 0.7,
        rpn_bg_iou_thresh: float = 0.3,
        rpn_batch_size_per_image: int = 256,
        rpn_positive_fraction: float = 0.5,
        rpn_score_thresh: float = 0.0,
        box_roi_pool: MultiScaleRoIAlign | None = None,
        box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None,
        box_score_thresh: float = 0.05,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 100,
        box_fg_iou_thresh: float = 0.5,
        box_bg_iou_thresh: float = 0.5,
        box_batch_size_per_image: int = 512,
        box_positive_fraction: float = 0.25,
        bbox_reg_weights: tuple[float, float, float, float] | None = None,
        **kwargs: Any,
    ) -> None:
        check_backbone(backbone)
        if not isinstance(rpn_anchor_generator, (AnchorGenerator, type(None))):
            raise TypeError(
                "rpn_anchor_generator should be of type AnchorGenerator or None instead of "
                f"{type(rpn_anchor_generator)}"
            )
        check_pool("box_roi_pool", box_roi_pool)
        if (num_classes is None) == (box_predictor is None):
            raise ValueError(
                "num_classes should be None when box_predictor is specified, and only then"
            )
        channels = backbone.out_channels
        anchors = rpn_anchor_generator or usual_anchors()
        head = rpn_head or RPNHead(channels, anchors.num_anchors_per_location()[0])
        rpn = RegionProposalNetwork(
            anchors,
            head,
            rpn_fg_iou_thresh,
            rpn_bg_iou_thresh,
            rpn_batch_size_per_image,
            rpn_positive_fraction,
            {"training": rpn_pre_nms_top_n_train, "testing": rpn_pre_nms_top_n_test},
            {"training": rpn_post_nms_top_n_train, "testing": rpn_post_nms_top_n_test},
            rpn_nms_thresh,
            score_thresh=rpn_score_thresh,
        )
        pool = box_roi_pool or regions(7)
        if box_head is None:
            box_head = TwoMLPHead(channels * pool.output_size[0] ** 2, 1024)
        if box_predictor is None:
            box_predictor = FastRCNNPredictor(1024, num_classes)
        heads = RoIHeads(
            pool,
            box_head,
            box_predictor,
            box_fg_iou_thresh,
            box_bg_iou_thresh,
            box_batch_size_per_image,
            box_positive_fraction,
            bbox_reg_weights,
            box_score_thresh,
            box_nms_thresh,
            box_detections_per_img,
        )
        transform = GeneralizedRCNNTransform(
            min_size, max_size, image_mean or MEAN, image_std or STD, **kwargs
        )
        super().__init__(backbone, rpn, heads, transform)


def usual_backbone(
    trained: bool,
    weights_backbone: Any,
    wanted: int | None,
    returned_layers: Sequence[int] | None = None,
    extra_blocks: Callable[[], ExtraFPNBlock] | None = None,
) -> BackboneWithFPN:
    """Returns ResNet-50 with a pyramid; its normalisation is frozen where weights are loaded.

    `extra_blocks` makes what comes on top, after the ResNet has drawn its weights.
    """
    layers = trainable(trained, wanted, 5, 3)
    norm = FrozenBatchNorm2d if trained else nn.BatchNorm2d
    whole = resnet50(weights=weights_backbone, norm_layer=norm)
    return on_resnet(whole, layers, returned_layers, extra_blocks and extra_blocks())


def second_version(
    trained: bool, weights_backbone: Any, wanted: int | None
) -> tuple[BackboneWithFPN, dict[str, Any]]:
    """Returns the backbone and the heads of the second versions."""
    layers = trainable(trained, wanted, 5, 3)
    backbone = on_resnet(resnet50(weights=weights_backbone), layers, norm_layer=nn.BatchNorm2d)
    channels, anchors = backbone.out_channels, usual_anchors()
    heads = {
        "rpn_anchor_generator": anchors,
        "rpn_head": RPNHead(channels, anchors.num_anchors_per_location()[0], conv_depth=2),
        "box_head": FastRCNNConvFCHead(
            (channels, 7, 7), [256] * 4, [1024], norm_layer=nn.BatchNorm2d
        ),
    }
    return backbone, heads


@builder
def fasterrcnn_resnet50_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN on ResNet-50 with a pyramid. Arguments of `FasterRCNN`."""
    backbone = usual_backbone(trained, weights_backbone, trainable_backbone_layers)
    return FasterRCNN(backbone, num_classes or CLASSES, **kwargs)


@builder
def fasterrcnn_resnet50_fpn_v2(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN, second version: normalisation everywhere, deeper heads."""
    backbone, heads = second_version(trained, weights_backbone, trainable_backbone_layers)
    return FasterRCNN(backbone, num_classes or CLASSES, **{**heads, **kwargs})


def _on_mobilenet(
    trained: bool, weights: Any, wanted: int | None, num_classes: int | None, **kwargs: Any
) -> FasterRCNN:
    layers = trainable(trained, wanted, 6, 3)
    norm = FrozenBatchNorm2d if trained else nn.BatchNorm2d
    whole = mobilenet_v3_large(weights=weights, norm_layer=norm)
    backbone = on_mobilenet(whole, True, layers)
    anchors = pyramid_anchors([(32, 64, 128, 256, 512)] * 3)
    return FasterRCNN(backbone, num_classes or CLASSES, rpn_anchor_generator=anchors, **kwargs)


@builder
def fasterrcnn_mobilenet_v3_large_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN on MobileNet v3, large."""
    options = {"rpn_score_thresh": 0.05, **kwargs}
    return _on_mobilenet(
        trained, weights_backbone, trainable_backbone_layers, num_classes, **options
    )


@builder
def fasterrcnn_mobilenet_v3_large_320_fpn(
    *,
    num_classes: int | None = None,
    weights_backbone: Any = None,
    trainable_backbone_layers: int | None = None,
    trained: bool = False,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN on MobileNet v3, large, for images of 320 pixels."""
    small = {
        "min_size": 320,
        "max_size": 640,
        "rpn_pre_nms_top_n_test": 150,
        "rpn_post_nms_top_n_test": 150,
        "rpn_score_thresh": 0.05,
    }
    return _on_mobilenet(
        trained, weights_backbone, trainable_backbone_layers, num_classes, **{**small, **kwargs}
    )
