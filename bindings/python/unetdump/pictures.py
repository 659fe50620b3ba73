"""Pictures: Pillow's images to and from the library's, PNG files with the webui's text."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._c import ffi, lib
from .errors import c_path, c_text, check, new_error


def from_picture(picture: Any, parameters: str = "") -> Image.Image:
    """A Pillow image of its own, "RGB" or "L"; `parameters` goes into its `info`."""
    width, height, channels = picture.width_px, picture.height_px, picture.channels
    rows = ffi.buffer(picture.pixels, picture.row_bytes * (height - 1) + width * channels)
    mode = "RGB" if channels == 3 else "L"
    image = Image.frombytes(mode, (width, height), bytes(rows), "raw", mode, picture.row_bytes)
    if parameters:
        image.info["parameters"] = parameters
    return image


def to_picture(image: Image.Image | NDArray[np.uint8], where: str, channels: int | None = None) -> tuple[Any, Any]:
    """The library's view of an image or an array of bytes [h, w], [h, w, 1] or [h, w, 3], and what it points into.

    where: the option. Raises TypeError.
    """
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB" if channels == 3 or image.mode != "L" else "L"))
    pixels = np.ascontiguousarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise TypeError(f"{where}: expected Pillow's image, or uint8 [h, w] or [h, w, channels], found {found}")
    picture = ffi.new("udump_picture *")
    picture.pixels = ffi.cast("const uint8_t *", pixels.ctypes.data)
    picture.height_px, picture.width_px = pixels.shape[:2]
    picture.channels = pixels.shape[2] if pixels.ndim == 3 else 1
    picture.row_bytes = picture.width_px * picture.channels
    return picture, pixels


def take_image(image: Any) -> Image.Image:
    """A udump_image as Pillow's; frees it."""
    try:
        return from_picture(image.picture)
    finally:
        lib.udump_image_free(image)


def read_png(path: str | os.PathLike[str]) -> Image.Image:
    """Reads a PNG as the library does: RGB, what is transparent laid over white.

    Raises FileError, FormatError, UnsupportedError, OutOfMemoryError.
    """
    image, error = ffi.new("udump_image *"), new_error()
    check(lib.udump_png_read(c_path(path), image, error), error)
    return take_image(image)


def write_png(path: str | os.PathLike[str], image: Image.Image | NDArray[np.uint8], parameters: str | None = None) -> None:
    """Writes the PNG that the command would write, whole or not at all.

    image: Pillow's (grey stays grey, else RGB), or bytes [h, w] or [h, w, 3]. parameters: the webui's text; None takes the image's own.
    Raises ArgumentError, FileError, OutOfMemoryError.
    """
    if parameters is None and isinstance(image, Image.Image):
        parameters = image.info.get("parameters")
    picture, _pixels = to_picture(image, "image")
    error = new_error()
    words = ffi.NULL if parameters is None else c_text(parameters, "parameters")
    check(lib.udump_png_write(c_path(path), picture, words, error), error)


def resize(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resizes to width x height pixels by the library's Lanczos filter, which is that of Pillow up to 12.

    Pillow 13 resizes the columns first where the height loses more than twice as many pixels as the width: other by single levels.
    Raises ArgumentError, OutOfMemoryError.
    """
    picture, _pixels = to_picture(image, "image", 3)
    resized, error = ffi.new("udump_image *"), new_error()
    check(lib.udump_picture_resize(picture, width, height, resized, error), error)
    return take_image(resized)
