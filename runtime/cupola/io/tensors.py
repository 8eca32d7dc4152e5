"""How cupola's tensors meet the files: the runtime's side of `cupola.io.seam`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.errors import BackendError, UnsupportedError
from cupola.io.errors import CheckpointError
from cupola.io.pickler import Call, Name
from cupola.io.seam import Parts, View, array_parts, as_array, strided
from cupola.io.storage import NUMPY_DTYPES, TORCH_NAMES, Storage
from cupola.ir import source
from cupola.ir.device import device as Device
from cupola.ir.device import resolve
from cupola.ops import movement
from cupola.tensor import Size, Tensor, wrap
from cupola.tensor import layout as layouts
from cupola.tensor.alias import Chain, replay_numpy
from cupola.tensor.create import of_array

_KNOWN = {kind.name for kind in dtypes.ALL}
_parameter: type | None = None


def parameter_class(cls: type) -> type:
    """Declare the class that checkpoints mean by torch.nn.Parameter; a class decorator.

    `cupola.nn` lies above this package, so it says so rather than being imported here.
    """
    global _parameter
    _parameter = cls
    return cls


class CupolaFactory:
    """Makes cupola's tensors.

    Tensors that shared a storage when they were saved share it again. A tensor that has its storage
    to itself becomes contiguous, whatever its strides were, and keeps only the elements it shows.
    """

    def dtype(self, name: str) -> Any:
        if name not in _KNOWN:
            raise CheckpointError(
                f"the checkpoint uses torch.{name}, a dtype that cupola does not have; convert its "
                "tensors where torch is installed, or read it with cupola.io.load_numpy"
            )
        return getattr(dtypes, name)

    def device(self, name: str) -> Any:
        try:
            return Device(name)
        except RuntimeError as error:
            raise CheckpointError(f"the checkpoint names the device {name!r}: {error}") from None

    def size(self, dims: tuple[int, ...]) -> Any:
        return Size(dims)

    def layout(self, name: str) -> Any:
        return getattr(layouts, name) if name in ("strided", "sparse_coo", "sparse_csr") else name

    def tensor(self, storage: Storage, view: View) -> Any:
        dtype, place = self.dtype(view.dtype), _place(storage.root.device)
        if place.type == "meta":
            out = wrap(source.const(0, view.size, dtype, place))
        elif storage.root.uses > 1 and view.numel and not (view.conj or view.neg):
            out = _shared(storage, view, place)
        else:
            out = _alone(storage, view, place)
        if view.requires_grad:
            out.requires_grad = True
        return out

    def from_array(self, array: np.ndarray, dtype: str, device: str, grad: bool) -> Any:
        out = of_array(array.astype(NUMPY_DTYPES[dtype]), _place(device))
        if grad:
            out.requires_grad = True
        return out

    def cast(self, tensor: Any, dtype: str, device: str, grad: bool) -> Any:
        return self.from_array(engine.to_numpy(tensor.node), dtype, device, grad)

    def parameter(self, tensor: Any, requires_grad: bool) -> Any:
        if _parameter is not None:
            return _parameter(tensor, requires_grad)
        return tensor.requires_grad_(requires_grad)

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, Tensor)

    def set_attributes(self, tensor: Any, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            if not hasattr(tensor, name):  # never in the way of what a tensor has by itself
                setattr(tensor, name, value)


def _place(name: str) -> Device:
    try:
        place = resolve(name)
    except RuntimeError:
        raise CheckpointError(
            f"the checkpoint has tensors on {name!r}, a device that cupola does not have; load it "
            "with map_location='cpu' (or another device)"
        ) from None
    if place.type == "cuda":
        try:
            engine.backend("cuda")
        except BackendError as error:
            raise CheckpointError(
                f"the checkpoint has tensors on {name!r}, and CUDA is not available here: {error} "
                "To load it without a GPU, pass map_location='cpu'."
            ) from error
    return place


def _alone(storage: Storage, view: View, place: Device) -> Tensor:
    array = as_array(storage, view)
    once = tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)
    core = array[once]
    if core.nbytes > storage.nbytes() and core.size:  # windows that overlap: not to be unrolled
        return _shared(storage, view, place)
    # Dimensions by what they step over in memory: channels_last stays channels_last.
    order = sorted(range(core.ndim), key=lambda dim: -core.strides[dim])
    stored = core.transpose(order)
    if core.size and stored.flags.c_contiguous and not core.flags.c_contiguous:
        back = tuple(order.index(dim) for dim in range(core.ndim))
        out = of_array(stored, place).view_by(movement.permute, dims=back).detach()
    else:
        out = of_array(np.ascontiguousarray(core).reshape(core.shape), place)
    if core.shape != array.shape:
        out = out.view_by(movement.expand, shape=array.shape).detach()
    return out


def _shared(storage: Storage, view: View, place: Device) -> Tensor:
    root, width = storage.root, NUMPY_DTYPES[view.dtype].itemsize
    if storage.start % width:
        return of_array(as_array(storage, view).copy(), place)
    flat = root.views.get(view.dtype)
    if flat is None:
        flat = root.views[view.dtype] = of_array(root.numpy(view.dtype), place)
    start = storage.start // width + view.offset
    if view.contiguous:
        stop = start + view.numel
        part = flat.view_by(movement.slice, starts=(start,), stops=(stop,), steps=(1,))
        out = part.view_by(movement.reshape, shape=view.size)
    else:
        out = flat.view_by(movement.as_strided, shape=view.size, strides=view.stride, offset=start)
    # Shares memory, but is not a view of another tensor in the eyes of autograd.
    return out.detach()


class TakeApart:
    """Takes tensors apart for one call of `save`; values are fetched once for each storage."""

    def __init__(self) -> None:
        self._roots: dict[int, tuple[Any, np.ndarray]] = {}

    def __call__(self, obj: Any) -> Parts | None:
        if not isinstance(obj, Tensor):
            return None
        if obj.is_meta:
            raise UnsupportedError("cupola.save", "a tensor on the meta device has no data to save")
        storage = obj._storage
        owner = None if storage is None else self._root(storage)
        array = engine.to_numpy(obj.node) if owner is None else _replay(owner, obj._chain)
        parts = array_parts(array, owner) if obj.dtype.np in TORCH_NAMES else None
        if parts is None:
            raise UnsupportedError("cupola.save", f"the file format has no {obj.dtype}")
        view = parts.view
        view = View(view.dtype, view.offset, view.size, view.stride, obj.requires_grad)
        is_parameter = _parameter is not None and isinstance(obj, _parameter)
        key = id(storage) if owner is not None and parts.key == id(owner) else id(obj)
        return Parts(parts.data, key, view, is_parameter, str(obj.device))

    def _root(self, storage: Any) -> np.ndarray:
        """The whole of what aliases share, on the host."""
        if id(storage) not in self._roots:
            external = storage.external
            array = engine.to_numpy(storage.node) if external is None else external
            self._roots[id(storage)] = (storage, array)  # kept, so that its id stays its own
        return self._roots[id(storage)][1]


def _replay(array: np.ndarray, chain: Chain) -> np.ndarray:
    """What `chain` shows of `array`, as a NumPy view wherever NumPy can make one."""
    for op, attrs in chain:
        if op is movement.as_strided and array.flags.c_contiguous:
            kind = TORCH_NAMES[array.dtype]
            view = View(kind, attrs["offset"], tuple(attrs["shape"]), tuple(attrs["strides"]))
            array = strided(array.reshape(-1), view)
        else:
            array = replay_numpy(array, ((op, attrs),))
    return array


def translate(obj: Any) -> Any:
    """The runtime's small objects, as PyTorch's pickles name them; None for anything else."""
    if isinstance(obj, dtypes.dtype):
        return Name(f"torch {obj.name}")
    if isinstance(obj, Device):
        return Call("torch device", (obj.type,) if obj.index is None else (obj.type, obj.index))
    if isinstance(obj, Size):
        return Call("torch Size", (tuple(obj),))
    if isinstance(obj, layouts.layout):
        return Call("torch.serialization _get_layout", (repr(obj),))
    return None
