"""Between the library's views of tensors and NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._c import ffi, lib

Array = NDArray[np.float32]


def shape_of(view: Any) -> tuple[int, ...]:
    """A view's shape."""
    return tuple(view.shape[i] for i in range(view.rank))


def borrow(view: Any) -> tuple[NDArray[Any], Any]:
    """The view's own memory as an array (bf16 as uint16), and the object that such arrays hold; valid as long as the memory."""
    shape, strides = shape_of(view), [view.stride[i] for i in range(view.rank)]
    dtype = np.dtype({lib.UDUMP_F32: np.float32, lib.UDUMP_F16: np.float16, lib.UDUMP_BF16: np.uint16}[view.dtype])
    extent = 0 if 0 in shape else 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    holder = ffi.buffer(ffi.cast("char *", view.data), extent * dtype.itemsize)
    return np.ndarray(shape, dtype, buffer=holder, strides=[stride * dtype.itemsize for stride in strides]), holder


def from_bf16(bits: NDArray[np.uint16]) -> Array:
    """fp32 values of bf16 ones: these are the upper halves."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bf16(values: Array) -> NDArray[np.uint16]:
    """Rounded to nearest, ties to even; a NaN stays one."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), ((bits >> 16) | 0x40).astype(np.uint16), rounded)


def copy(view: Any) -> Array:
    """The view's values as an fp32 array of its own, C order."""
    array, _ = borrow(view)
    if view.dtype == lib.UDUMP_BF16:
        return from_bf16(np.ascontiguousarray(array))
    return np.array(array, np.float32, order="C")


def to_view(array: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
    """A view of the array, and the array that it points into: the same one if it is fp32 or fp16 with whole strides, else an fp32 copy."""
    if array.dtype not in (np.float32, np.float16) or any(stride % array.itemsize for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, np.float32)
    view = ffi.new("udump_view *")
    if array.ndim > len(view.shape):
        raise ValueError(f"expected at most {len(view.shape)} dimensions, found {array.ndim}")
    view.data = ffi.cast("void *", array.ctypes.data)
    view.dtype = lib.UDUMP_F32 if array.dtype == np.float32 else lib.UDUMP_F16
    view.rank = array.ndim
    for i in range(array.ndim):
        view.shape[i], view.stride[i] = array.shape[i], array.strides[i] // array.itemsize
    return view, array
