"""Tensors of other programs by DLPack (https://dmlc.github.io/dlpack): where they lie, and a view of them without a copy."""

from __future__ import annotations

import ctypes
from typing import Any

from ._c import ffi, lib

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
_DEFAULT_STREAM = 1  # the legacy default stream, in DLPack's numbering
_DTYPES = {(2, 32): lib.UDUMP_F32, (2, 16): lib.UDUMP_F16, (4, 16): lib.UDUMP_BF16}  # code and bits
_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}


class UnknownType(TypeError):
    """A type of values that the library does not read."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_api = ctypes.pythonapi
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_api.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)


def on_device(tensor: Any) -> int | None:
    """The index of the CUDA device that the tensor lies on; None for one in host memory."""
    if not hasattr(tensor, "__dlpack_device__"):
        return None
    kind, index = tensor.__dlpack_device__()
    return int(index) if int(kind) in (CUDA, CUDA_MANAGED) else None


def _capsule(tensor: Any) -> Any:
    """A capsule whose memory is ready: on a device, in the default stream, which the owner's stream is made to come before."""
    if hasattr(tensor, "detach"):  # torch refuses tensors that require a gradient
        tensor = tensor.detach()
    stream = {} if on_device(tensor) is None else {"stream": _DEFAULT_STREAM}
    try:
        return tensor.__dlpack__(max_version=(1, 0), **stream)
    except TypeError:  # from before DLPack 1.0
        return tensor.__dlpack__(**stream)


def _described(capsule: Any) -> _Tensor:
    if _api.PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(_api.PyCapsule_GetPointer(capsule, b"dltensor_versioned"))
        if versioned.major != 1:
            raise TypeError(f"a tensor by DLPack {versioned.major}.{versioned.minor}: 1 is known")
        tensor: _Tensor = versioned.tensor
        return tensor
    return _Tensor.from_address(_api.PyCapsule_GetPointer(capsule, b"dltensor"))


def _view(described: _Tensor) -> Any:
    """A udump_view of what a capsule describes. Strides may be NULL: then C order."""
    dtype = _DTYPES.get((described.code, described.bits))
    if dtype is None or described.lanes != 1:
        found = f"{_CODES.get(described.code, f'DLPack type {described.code}, bits ')}{described.bits}, {described.lanes} lanes"
        raise UnknownType(f"tensor: expected float32, float16 or bfloat16, found {found}")
    view, stride = ffi.new("udump_view *"), 1
    if described.rank > len(view.shape):
        raise ValueError(f"expected at most {len(view.shape)} dimensions, found {described.rank}")
    view.data = ffi.cast("char *", described.data or 0) + described.byte_offset
    view.dtype, view.rank = dtype, described.rank
    for i in reversed(range(described.rank)):
        view.shape[i] = described.shape[i]
        view.stride[i] = described.strides[i] if described.strides else stride
        stride *= described.shape[i]
    return view


class Borrowed:
    """A tensor held by its capsule, and a view of it. The capsule is not consumed: it frees what it holds when it goes."""

    def __init__(self, tensor: Any) -> None:
        """Asks the tensor for a capsule. Raises TypeError for types that are not known."""
        self._held = _capsule(tensor)
        self.view = _view(_described(self._held))  #: udump_view, valid as long as this object
