"""Values that TensorBoard's plugins show: hyperparameters, curves, meshes, layouts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from google.protobuf.struct_pb2 import ListValue, Value
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as tags
from tensorboard.plugins.mesh import metadata as mesh_metadata
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData
from tensorboard.plugins.pr_curve.plugin_data_pb2 import PrCurvePluginData

from cupola.tensor import Tensor
from cupola.utils.tensorboard.arrays import make_np
from cupola.utils.tensorboard.summary import floats, metadata, one, shape_of

# More of them break the plugin's message.
_MOST_THRESHOLDS = 127


def hparams(values: Any, metrics: Any, domains: Any = None) -> tuple[Any, Any, Any]:
    """Hyperparameters and names of metrics: an experiment, a session's start and its end.

    Raises:
        TypeError: not dictionaries, or a domain that is no list of its value's type.
        ValueError: a value that is no number, text or tensor.
    """
    domains = domains or {}
    for name, given in (
        ("hparam_dict", values),
        ("metric_dict", metrics),
        ("hparam_domain_discrete", domains),
    ):
        if not isinstance(given, dict):
            raise TypeError(f"parameter: {name} should be a dictionary, nothing logged.")
    for key, domain in domains.items():
        fits = key in values and isinstance(domain, list)
        if not fits or not all(isinstance(d, type(values[key])) for d in domain):
            raise TypeError(
                f"parameter: hparam_domain_discrete[{key}] should be a list of same type as "
                f"hparam_dict[{key}]."
            )
    start = plugin_data_pb2.SessionStartInfo()
    infos = []
    for key, value in values.items():
        if value is None:
            continue
        if isinstance(value, Tensor):
            field, kind, value = "number_value", "DATA_TYPE_FLOAT64", float(value)
        elif isinstance(value, (int, float)):
            field, kind = "number_value", "DATA_TYPE_FLOAT64"
        elif isinstance(value, str):
            field, kind = "string_value", "DATA_TYPE_STRING"
        else:
            raise ValueError("value should be one of int, float, str, bool, or torch.Tensor")
        setattr(start.hparams[key], field, value)
        domain = None
        if key in domains:
            domain = ListValue(values=[Value(**{field: d}) for d in domains[key]])
        kind = api_pb2.DataType.Value(kind)
        infos.append(api_pb2.HParamInfo(name=key, type=kind, domain_discrete=domain))
    shown = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=key)) for key in metrics]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=shown)
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value("STATUS_SUCCESS"))

    def message(tag: str, **field: Any) -> Any:
        data = plugin_data_pb2.HParamsPluginData(version=tags.PLUGIN_DATA_VERSION, **field)
        return one(tag, metadata=metadata(tags.PLUGIN_NAME, data.SerializeToString()))

    return (
        message(tags.EXPERIMENT_TAG, experiment=experiment),
        message(tags.SESSION_START_INFO_TAG, session_start_info=start),
        message(tags.SESSION_END_INFO_TAG, session_end_info=end),
    )


def custom_scalars(layout: dict[str, dict[str, list[Any]]]) -> Any:
    """Charts of several scalars: category, title, then ``["Multiline" or "Margin", tags]``."""
    categories = []
    for category, charts in layout.items():
        shown = []
        for title, (kind, names) in charts.items():
            if kind == "Margin":
                if len(names) != 3:
                    raise AssertionError("a margin chart has three tags: value, lower, upper")
                series = dict(zip(("value", "lower", "upper"), names, strict=True))
                content = layout_pb2.MarginChartContent(
                    series=[layout_pb2.MarginChartContent.Series(**series)]
                )
                shown.append(layout_pb2.Chart(title=title, margin=content))
            else:
                lines = layout_pb2.MultilineChartContent(tag=names)
                shown.append(layout_pb2.Chart(title=title, multiline=lines))
        categories.append(layout_pb2.Category(title=category, chart=shown))
    text = layout_pb2.Layout(category=categories).SerializeToString()
    tensor = TensorProto(dtype="DT_STRING", string_val=[text], tensor_shape=shape_of([]))
    return one("custom_scalars__config__", tensor=tensor, metadata=metadata("custom_scalars"))


def pr_curve_raw(tag: str, rows: Any, num_thresholds: int = _MOST_THRESHOLDS) -> Any:
    """A precision-recall curve at hand: true and false positives, true and false negatives,
    precision and recall, each at every threshold.
    """
    num_thresholds = min(num_thresholds, _MOST_THRESHOLDS)
    data = PrCurvePluginData(version=0, num_thresholds=num_thresholds).SerializeToString()
    message = floats(np.stack([make_np(row) for row in rows]))
    return one(tag, metadata=metadata("pr_curves", data), tensor=message)


def pr_curve(
    tag: str, labels: Any, predictions: Any, num_thresholds: int = _MOST_THRESHOLDS, weights=None
) -> Any:
    """The curve of predictions between 0 and 1 for labels 0 and 1."""
    count = min(num_thresholds, _MOST_THRESHOLDS)
    wanted = make_np(labels).astype(np.float64)
    weight = 1.0 if weights is None else make_np(weights)
    places = np.floor(make_np(predictions) * (count - 1)).astype(np.int32)

    def at_least(what: np.ndarray) -> np.ndarray:
        """What lies at or above each threshold."""
        counted, _ = np.histogram(places, bins=count, range=(0, count - 1), weights=what)
        return np.cumsum(counted[::-1])[::-1]

    tp, fp = at_least(wanted * weight), at_least((1.0 - wanted) * weight)
    tn, fn = fp[0] - fp, tp[0] - tp
    precision = tp / np.maximum(1e-7, tp + fp)
    recall = tp / np.maximum(1e-7, tp + fn)
    return pr_curve_raw(tag, (tp, fp, tn, fn, precision, recall), count)


def mesh(tag: str, vertices: Any, colors: Any, faces: Any, config: Any) -> Any:
    """Points (N, count, 3), their colors and the triangles between them."""
    parts = [
        (make_np(value), kind)
        for value, kind in (
            (vertices, MeshPluginData.VERTEX),
            (faces, MeshPluginData.FACE),
            (colors, MeshPluginData.COLOR),
        )
        if value is not None
    ]
    components = mesh_metadata.get_components_bitmask([kind for _, kind in parts])
    settings = "{}" if config is None else json.dumps(config, sort_keys=True)
    return Summary(
        value=[
            Summary.Value(
                tag=mesh_metadata.get_instance_name(tag, kind),
                tensor=floats(array),
                metadata=mesh_metadata.create_summary_metadata(
                    tag, None, kind, components, array.shape, None, json_config=settings
                ),
            )
            for array, kind in parts
        ]
    )
