"""Any [C, H, W] tensor as a picture of tiles: NumPy's, PyTorch's, CuPy's, on the host or on a GPU."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from PIL import Image

from ._c import ffi, lib
from .dlpack import Borrowed, UnknownType, on_device
from .errors import bad_argument, check, new_error
from .options import Struct, Style
from .owner import Owner
from .pictures import take_image
from .views import to_view

_kept = threading.local()  # renderers, by device: one thread at a time uses one


class Renderer(Owner):
    """Renders tensors that lie on a CUDA device where they lie. One thread at a time uses a renderer."""

    def __init__(self, device_index: int = 0, cuda_module: str | os.PathLike[str] | None = None) -> None:
        """cuda_module: the file libunetdump-cuda.so, if it is not beside the library.

        Raises DeviceError, ArgumentError, OutOfMemoryError.
        """
        options, held, error = Struct("udump_renderer_options"), ffi.new("udump_renderer **"), new_error()
        options.handle.device_index = device_index
        if cuda_module is not None:
            options.handle.cuda_module = options.path(cuda_module, "cuda_module")
        check(lib.udump_renderer_create(options.handle, held, error), error)
        self._handle = ffi.gc(held[0], lib.udump_renderer_destroy)

    def render(self, tensor: Any, color: str | None = None, transform: str | None = None) -> Image.Image:
        """As `render`, of a [C, H, W] tensor on the device (float32, float16 or bfloat16, any strides). Raises DeviceError besides."""
        style, image, error = Style(color, transform, None), ffi.new("udump_image *"), new_error()
        held = Borrowed(tensor)
        check(lib.udump_renderer_render(self._handle, held.view, ffi.NULL, style.handle, image, ffi.NULL, error), error)
        return take_image(image)


def _renderer(device_index: int) -> Renderer:
    renderers: dict[int, Renderer] = _kept.__dict__.setdefault("renderers", {})
    if device_index not in renderers:
        renderers[device_index] = Renderer(device_index)
    return renderers[device_index]


def _host_view(tensor: Any) -> tuple[Any, Any]:
    """A view of a tensor in host memory, and what it points into; nothing is copied if it is fp32 or fp16, or bf16 by DLPack."""
    if not isinstance(tensor, np.ndarray) and hasattr(tensor, "__dlpack__"):
        try:
            held = Borrowed(tensor)
            return held.view, held
        except UnknownType:  # float64, integers: NumPy converts them
            tensor = np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)
            if tensor.dtype == object:  # but not what has DLPack alone
                raise
    return to_view(np.asarray(tensor))


def render(tensor: Any, color: str | None = None, transform: str | None = None) -> Image.Image:
    """All channels of a [C, H, W] tensor as tiles of one picture, RGB, or grey for "white-black".

    tensor: an array, or anything with DLPack (torch, cupy, jax): float32, float16, bfloat16 without a copy, on a CUDA device too: there
    only the picture leaves the device. color: "white-black", "red-blue", "rgb:R;G;B", "hsl:H;S;L" (expressions of v);
    "hsl:(2+v)/3;1.0;0.5". transform: "auto01", "auto11" (by each tile's extremes; "auto01:canvas": by all tiles'),
    "linear:MIN,MAX", "sigmoid:GAIN,OFFSET"; "auto01".
    Thread-safe. Raises ArgumentError (the shape), NotationError (colour, transform, with the column), DeviceError, OutOfMemoryError.
    """
    device_index = on_device(tensor)
    if device_index is not None:
        return _renderer(device_index).render(tensor, color, transform)
    return _render(tensor, color, transform, None)[0]


def render_average(tensor: Any, average: str = "sum", color: str | None = None, transform: str | None = None) -> Image.Image:
    """The average over channels of a [C, H, W] tensor on the host as a picture of one tile.

    average: "sum" (the mean), "1-norm" (sum |v| / channels), "2-norm" (sqrt(sum v^2) / channels). The rest as in `render`.
    """
    if average not in ("sum", "1-norm", "2-norm"):
        raise bad_argument("average", "one of sum, 1-norm, 2-norm", repr(average))
    return _render(tensor, color, transform, average)[1]


def _render(tensor: Any, color: str | None, transform: str | None, average: str | None) -> list[Image.Image]:
    style, error = Style(color, transform, average), new_error()
    images = [ffi.new("udump_image *"), ffi.new("udump_image *")]
    view, _tensor = _host_view(tensor)
    check(lib.udump_render(view, style.handle, images[0], images[1] if average else ffi.NULL, error), error)
    return [take_image(image) for image in images[: 2 if average else 1]]
