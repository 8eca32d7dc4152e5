"""``SummaryWriter``: what a training shows, written to event files."""

from __future__ import annotations

import datetime
import os
import socket
import time
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from cupola.errors import UnsupportedError
from cupola.utils.tensorboard import embedding, plugins, summary
from cupola.utils.tensorboard.arrays import figure_pixels, make_np
from cupola.utils.tensorboard.graphs import graph

__all__ = ["FileWriter", "SummaryWriter"]


class FileWriter:
    """One event file; a thread of the package tensorboard writes it."""

    def __init__(
        self,
        log_dir: Any,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        self.event_writer = EventFileWriter(str(log_dir), max_queue, flush_secs, filename_suffix)
        self._shown: set[str] = set()

    def get_logdir(self) -> str:
        """The folder of the file."""
        return self.event_writer.get_logdir()

    def add_event(self, event: Any, step: Any = None, walltime: float | None = None) -> None:
        """Adds an event; ``walltime`` in seconds since 1970, now unless given."""
        event.wall_time = time.time() if walltime is None else walltime
        if step is not None:
            event.step = int(step)
        self.event_writer.add_event(event)

    def add_summary(
        self, message: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """Adds values."""
        self.add_event(event_pb2.Event(summary=message), global_step, walltime)

    def add_graph(self, message: Any, walltime: float | None = None) -> None:
        """Adds a graph."""
        event = event_pb2.Event(graph_def=message.SerializeToString())
        self.add_event(event, None, walltime)

    def flush(self) -> None:
        """Writes what waits."""
        self.event_writer.flush()

    def close(self) -> None:
        """Writes what waits and closes the file."""
        self.event_writer.close()

    def reopen(self) -> None:
        """Opens another file in the same folder."""
        self.event_writer.reopen()


def _default_bins() -> list[float]:
    """Edges of the buckets that TensorBoard's own histograms have: tenths more, from 1e-12 on."""
    edges, edge = [], 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    return [-e for e in reversed(edges)] + [0] + edges


class SummaryWriter:
    """Writes scalars, histograms, pictures, sound, text, graphs and more for TensorBoard.

    Steps are counted by the caller; ``walltime`` is in seconds since 1970, now unless given. The
    folder is ``runs/DATE_HOST`` and ``comment`` unless ``log_dir`` names one.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            now = datetime.datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = log_dir
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self.default_bins = _default_bins()
        self.file_writer: FileWriter | None = None
        self.all_writers: dict[str, FileWriter] | None = None
        self._projector = ProjectorConfig()
        self._get_file_writer()

    def _open(self, folder: Any) -> FileWriter:
        return FileWriter(folder, self.max_queue, self.flush_secs, self.filename_suffix)

    def _get_file_writer(self) -> FileWriter:
        """The writer; another one after ``close``."""
        if self.all_writers is None or self.file_writer is None:
            self.file_writer = self._open(self.log_dir)
            self.all_writers = {self.file_writer.get_logdir(): self.file_writer}
            if self.purge_step is not None:
                log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
                for event in (
                    event_pb2.Event(step=self.purge_step, file_version="brain.Event:2"),
                    event_pb2.Event(step=self.purge_step, session_log=log),
                ):
                    self.file_writer.add_event(event)
                self.purge_step = None
        return self.file_writer

    def _add(self, message: Any, step: Any, walltime: float | None) -> None:
        self._get_file_writer().add_summary(message, step, walltime)

    def get_logdir(self) -> Any:
        """The folder of the event files."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A number."""
        message = summary.scalar(tag, scalar_value, new_style, double_precision)
        self._add(message, global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, Any],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Several numbers in one chart: each has a folder with an event file of its own."""
        walltime = time.time() if walltime is None else walltime
        home = self._get_file_writer().get_logdir()
        assert self.all_writers is not None
        for tag, value in tag_scalar_dict.items():
            folder = f"{home}/{main_tag.replace('/', '_')}_{tag}"
            if folder not in self.all_writers:
                self.all_writers[folder] = self._open(folder)
            message = summary.scalar(main_tag, value)
            self.all_writers[folder].add_summary(message, global_step, walltime)

    def add_tensor(
        self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """A whole tensor."""
        self._add(summary.tensor_proto(tag, tensor), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """How often values of all elements occur; ``bins`` as ``numpy.histogram`` takes them."""
        if isinstance(bins, str) and bins == "tensorflow":
            bins = self.default_bins
        self._add(summary.histogram(tag, values, bins, max_bins), global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: int,
        sum: float,
        sum_squares: float,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """A histogram that is at hand: right edges of buckets and what they count."""
        if len(bucket_limits) != len(bucket_counts):
            raise ValueError(
                "len(bucket_limits) != len(bucket_counts), see the document for more information."
            )
        limits, counts = make_np(bucket_limits).tolist(), make_np(bucket_counts).tolist()
        message = summary.histogram_raw(tag, min, max, num, sum, sum_squares, limits, counts)
        self._add(message, global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """A picture: bytes, or numbers between 0 and 1."""
        message = summary.image(tag, img_tensor, dataformats=dataformats)
        self._add(message, global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Several pictures, in a grid eight wide."""
        if isinstance(img_tensor, list):
            if len({tuple(picture.shape) for picture in img_tensor}) > 1:
                raise ValueError("all images of a list have to have the same size")
            img_tensor = make_np(img_tensor)
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Any = None,
    ) -> None:
        """A picture with boxes (x1, y1, x2, y2) and their labels."""
        if isinstance(labels, str):
            labels = [labels]
        if labels is not None and len(labels) != len(box_tensor):
            labels = None
        message = summary.image_boxes(tag, img_tensor, box_tensor, rescale, dataformats, labels)
        self._add(message, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """A figure of matplotlib, or several, as a picture; ``close`` ends the figure."""
        formats = "NCHW" if isinstance(figure, list) else "CHW"
        self.add_image(tag, figure_pixels(figure, close), global_step, walltime, formats)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: Any = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Videos (N, time, channels, H, W) beside each other, as an animated GIF."""
        self._add(summary.video(tag, vid_tensor, fps), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: Any = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Sound (1, samples) between -1 and 1; ``sample_rate`` in Hz."""
        self._add(summary.audio(tag, snd_tensor, sample_rate), global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """A text in Markdown."""
        self._add(summary.text(tag, text_string), global_step, walltime)

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Not supported: ONNX files are not read here."""
        raise UnsupportedError("SummaryWriter.add_onnx_graph", "use add_graph with the model")

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,
        use_strict_trace: bool = True,
    ) -> None:
        """A model's layers and what flows between them; calls the model once."""
        message = graph(model, input_to_model)
        if verbose:
            print(message)
        self._get_file_writer().add_graph(message)

    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: Any = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Points (N, D) for the projector, with labels and pictures (N, C, H, W)."""
        step = 0 if global_step is None else int(global_step)
        home = Path(self._get_file_writer().get_logdir())
        folder = f"{step:05d}/{embedding.folder_name(tag)}"
        points = make_np(mat)
        info = embedding.write(
            home, folder, tag, step, points, metadata, metadata_header, label_img
        )
        self._projector.embeddings.extend([info])
        text = text_format.MessageToString(self._projector)
        (home / "projector_config.pbtxt").write_text(text, encoding="utf-8")

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Precision and recall of predictions between 0 and 1 for labels 0 and 1."""
        message = plugins.pr_curve(tag, labels, predictions, num_thresholds, weights)
        self._add(message, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """A precision-recall curve that is at hand."""
        rows = (
            true_positive_counts,
            false_positive_counts,
            true_negative_counts,
            false_negative_counts,
            precision,
            recall,
        )
        self._add(plugins.pr_curve_raw(tag, rows, num_thresholds), global_step, walltime)

    def add_custom_scalars_multilinechart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """One chart of several scalars."""
        self._add(plugins.custom_scalars({category: {title: ["Multiline", tags]}}), None, None)

    def add_custom_scalars_marginchart(
        self, tags: list[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """A chart of a value between a lower and an upper one."""
        if len(tags) != 3:
            raise AssertionError("a margin chart has three tags: value, lower, upper")
        self._add(plugins.custom_scalars({category: {title: ["Margin", tags]}}), None, None)

    def add_custom_scalars(self, layout: dict[str, dict[str, list[Any]]]) -> None:
        """Charts by category and title: ``["Multiline", tags]`` or ``["Margin", three tags]``."""
        self._add(plugins.custom_scalars(layout), None, None)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Any = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Points (N, count, 3), their colors and the triangles between them."""
        message = plugins.mesh(tag, vertices, colors, faces, config_dict)
        self._add(message, global_step, walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Hyperparameters of a run and what came of them, in a folder of their own."""
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        messages = plugins.hparams(hparam_dict, metric_dict, hparam_domain_discrete)
        home = self._get_file_writer().get_logdir()
        with SummaryWriter(os.path.join(home, run_name or str(time.time()))) as writer:
            for message in messages:
                writer._add(message, global_step, None)
            for key, value in metric_dict.items():
                writer.add_scalar(key, value, global_step)

    def flush(self) -> None:
        """Writes what waits to the disk."""
        for writer in (self.all_writers or {}).values():
            writer.flush()

    def close(self) -> None:
        """Writes what waits and closes the files; adding more opens others."""
        for writer in (self.all_writers or {}).values():
            writer.flush()
            writer.close()
        self.file_writer = self.all_writers = None

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
