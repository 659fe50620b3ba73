"""Rendering: the vectors made with the webui extension; arrays of every kind; DLPack, on an emulated device too."""

import ctypes
import json
import sys
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

import unetdump
from conftest import ROOT
from unetdump import dlpack

COLOURS = {"White/Black": "white-black", "Red/Blue": "red-blue", "Custom": None}
TRANSFORMS = {"Auto [0,1]": "auto01", "Auto [-1,1]": "auto11", "Linear": "linear", "Sigmoid": "sigmoid"}
VECTORS = json.loads((ROOT / "tests" / "data" / "vectors" / "canvases.json").read_text())
MODULE = next(iter((ROOT / "build" / "tests" / "emulation").glob("libunetdump-cuda.so")), None)




@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case['method']} {case['transform']} {case['average']}")
def test_vectors(case: dict[str, Any]) -> None:
    tile_width, tile_height = case["tile"]
    values = np.array(case["values"], np.float32).reshape(case["channels"], tile_height, tile_width)
    color, transform = COLOURS[case["method"]], TRANSFORMS[case["transform"]]
    found = [unetdump.render(values, color, transform)]
    if case["average"]:
        found.insert(0, unetdump.render_average(values, case["average"], color, transform))
    assert len(found) == len(case["canvases"])
    for image, expected in zip(found, case["canvases"], strict=True):
        assert list(image.size) == expected["size"] and image.mode == expected["mode"]
        assert list(image.tobytes()) == expected["pixels"]


def values() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((21, 9, 13)).astype(np.float32)


@pytest.mark.parametrize(
    ("old", "new", "columns_first"), [((45, 37), (64, 64), 99), ((300, 45), (40, 20), 99), ((45, 300), (40, 20), 13), ((300, 300), (200, 50), 13)]
)
def test_resize(old: tuple[int, int], new: tuple[int, int], columns_first: int) -> None:
    """columns_first: from which version of Pillow on; then its bytes between the passes are others."""
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*old[::-1], 3), np.uint8))
    found, expected = (np.asarray(resized, np.int32) for resized in (unetdump.resize(image, *new), image.resize(new, Image.Resampling.LANCZOS)))
    most = 8 if int(PIL.__version__.split(".")[0]) >= columns_first else 0
    assert found.shape == expected.shape and abs(found - expected).max() <= most


def test_layouts_and_types() -> None:
    array = values()
    expected = unetdump.render(array, "red-blue", "auto11").tobytes()
    channels_last = np.ascontiguousarray(array.transpose(1, 2, 0))
    for same in (np.asfortranarray(array), channels_last.transpose(2, 0, 1), array.astype(np.float64), array.astype(">f4"), array.tolist()):
        assert unetdump.render(same, "red-blue", "auto11").tobytes() == expected
    halves = array.astype(np.float16)
    assert unetdump.render(halves).tobytes() == unetdump.render(halves.astype(np.float32)).tobytes()
    assert unetdump.render(array[::2, ::-1]).tobytes() == unetdump.render(array[::2, ::-1].copy()).tobytes()


def test_errors() -> None:
    with pytest.raises(unetdump.ArgumentError):
        unetdump.render(values()[0])
    with pytest.raises(unetdump.NotationError) as caught:
        unetdump.render(values(), "rgb:v;w;0")
    assert caught.value.column > 0
    for average in ("3-norm", "none", "", None):
        with pytest.raises(unetdump.ArgumentError, match="average: expected one of sum, 1-norm, 2-norm"):
            unetdump.render_average(values(), average)  # type: ignore[arg-type]
    for kind, code in ((np.float64, 2), (np.int32, 0)):
        with pytest.raises(TypeError, match=f"tensor: expected float32, float16 or bfloat16, found {np.dtype(kind)}"):
            unetdump.render(Foreign(values().astype(kind), dlpack.CPU, code))


class Foreign:
    """A tensor of another library: all that is known of it is DLPack's."""

    def __init__(self, array: NDArray[Any], device: int, code: int = 2, *, modern: bool = True) -> None:
        self.array, self.device, self.modern, self.streams = array, device, modern, list[Any]()
        shape, strides = array.shape, [stride // array.itemsize for stride in array.strides]
        self.shape = (ctypes.c_int64 * array.ndim)(*shape)
        self.strides = (ctypes.c_int64 * array.ndim)(*strides)
        self.described = dlpack._Tensor(
            array.ctypes.data - 64, device, 0, array.ndim, code, array.itemsize * 8, 1, self.shape, self.strides, 64
        )
        self.versioned = dlpack._Versioned(1, 1, None, None, 0, self.described)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, *, stream: Any = None, **newer: Any) -> Any:
        if newer and not self.modern:
            raise TypeError("max_version")
        self.streams.append(stream)
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        held, name = (self.versioned, b"dltensor_versioned") if self.modern else (self.described, b"dltensor")
        return new(ctypes.addressof(held), name, None)


@pytest.mark.parametrize("modern", [False, True])
def test_dlpack_on_the_host(modern: bool) -> None:
    array = np.ascontiguousarray(values().transpose(1, 2, 0)).transpose(2, 0, 1)
    assert unetdump.render(Foreign(array, dlpack.CPU, modern=modern)).tobytes() == unetdump.render(array).tobytes()
    upper = (array.view(np.uint32) >> 16).astype(np.uint16)  # bf16: cut off
    as_float = (upper.astype(np.uint32) << 16).view(np.float32)
    assert unetdump.render(Foreign(upper, dlpack.CPU, code=4, modern=modern)).tobytes() == unetdump.render(as_float).tobytes()


def test_torch_on_the_host() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(values())
    expected = unetdump.render(values()).tobytes()
    for same in (tensor, tensor.requires_grad_(), tensor.double(), tensor.contiguous()):
        assert unetdump.render(same).tobytes() == expected
    assert unetdump.render(tensor.bfloat16()).tobytes() == unetdump.render(tensor.bfloat16().float()).tobytes()


@pytest.mark.skipif(MODULE is None, reason="the emulated device is not built")
def test_dlpack_on_an_emulated_device() -> None:
    if "torch" in sys.modules:
        pytest.skip("torch's CUDA runtime would answer instead of the emulated one")
    renderer = unetdump.Renderer(cuda_module=MODULE)  # its memory is the host's
    array = values()
    for modern in (False, True):
        tensor = Foreign(array, dlpack.CUDA, modern=modern)
        for color in (None, "white-black", "red-blue", "rgb:v;0;-v"):
            assert renderer.render(tensor, color).tobytes() == unetdump.render(array, color).tobytes()
        assert set(tensor.streams) == {1}  # the default stream, which the owner's is made to come before


def test_without_a_device() -> None:
    try:
        unetdump.Renderer()
    except unetdump.DeviceError as error:
        with pytest.raises(unetdump.DeviceError, match=str(error)[:20]):
            unetdump.render(Foreign(values(), dlpack.CUDA))
    else:
        pytest.skip("there is a device")
