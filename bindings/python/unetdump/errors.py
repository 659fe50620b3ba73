"""The library's failures as exceptions: a class for each status, all of them `Error`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from ._c import ffi, lib

T = TypeVar("T")


class Error(Exception):
    """A failure that the library told of; `str()` is its one line, `where: what: expected ..., found ...`."""

    status: int  #: the C status, udump_status
    status_name: str  #: "out of memory"
    what: str  #: what is wrong
    where: str  #: the file, tensor, option or text it is in; "" if nowhere in particular
    expected: str  #: "" if that says nothing
    found: str  #: "" if that says nothing
    offset: int  #: 0-based position in the text, in code points; in a file, in bytes; -1 without one
    line: int  #: from 1; 0 without one
    column: int  #: from 1, in code points; 0 without one

    def __init__(self, message: str, status: int, **detail: Any) -> None:
        """`detail`: what, where, expected, found, offset, line, column."""
        super().__init__(message)
        self.status = status
        self.status_name = text(lib.udump_status_name(status))
        self.what, self.where = detail.get("what", message), detail.get("where", "")
        self.expected, self.found = detail.get("expected", ""), detail.get("found", "")
        self.offset, self.line, self.column = detail.get("offset", -1), detail.get("line", 0), detail.get("column", 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes."""
        names = ("what", "where", "expected", "found", "offset", "line", "column")
        return _rebuild, (type(self), str(self), self.status, {name: getattr(self, name) for name in names})


def _rebuild(kind: type[Error], message: str, status: int, detail: dict[str, Any]) -> Error:
    return kind(message, status, **detail)


class ArgumentError(Error, ValueError):
    """A value out of range, an unknown name."""


class NotationError(Error, ValueError):
    """A spec, prompt or expression does not parse; `line`, `column` and `offset` say where."""


class FormatError(Error, ValueError):
    """A file is not what it should be."""


class WeightsError(Error):
    """A checkpoint lacks a tensor, or one has the wrong shape."""


class UnsupportedError(Error, NotImplementedError):
    """Recognised, and not supported."""


class FileError(Error):
    """The system refused to open, read or write."""


class OutOfMemoryError(Error, MemoryError):
    """Out of memory."""


class DeviceError(Error):
    """The device cannot be had, or failed."""


class CancelledError(Error):
    """A `Cancel` was raised."""


class StateError(Error, RuntimeError):
    """A call out of order."""


class InternalError(Error):
    """A defect in the library."""


_CLASSES: dict[int, type[Error]] = {
    lib.UDUMP_ERROR_ARGUMENT: ArgumentError,
    lib.UDUMP_ERROR_SYNTAX: NotationError,
    lib.UDUMP_ERROR_FORMAT: FormatError,
    lib.UDUMP_ERROR_WEIGHTS: WeightsError,
    lib.UDUMP_ERROR_UNSUPPORTED: UnsupportedError,
    lib.UDUMP_ERROR_FILE: FileError,
    lib.UDUMP_ERROR_MEMORY: OutOfMemoryError,
    lib.UDUMP_ERROR_DEVICE: DeviceError,
    lib.UDUMP_ERROR_CANCELLED: CancelledError,
    lib.UDUMP_ERROR_STATE: StateError,
    lib.UDUMP_ERROR_INTERNAL: InternalError,
}


def text(pointer: Any) -> str:
    """A C string, or "" for NULL."""
    return "" if pointer == ffi.NULL else ffi.string(pointer).decode("utf-8", "replace")


def of_kind(value: T, kind: Any, where: str, name: str = "") -> T:
    """The value, which must be of a class; name: the class in words. Raises TypeError; `where`: the option."""
    if not isinstance(value, kind):
        raise TypeError(f"{where}: expected {name or kind.__name__}, found {type(value).__name__}: {value!r}")
    return value


def function(value: T, where: str) -> T:
    """The value, which must be callable. Raises TypeError; `where`: the option."""
    return of_kind(value, Callable, where, "a function")


def c_text(value: str, where: str) -> bytes:
    """A text for C. Raises TypeError, ArgumentError; `where`: the option."""
    return _whole(of_kind(value, str, where).encode(), where)


def c_path(path: str | os.PathLike[str], where: str = "path") -> bytes:
    """A path for C. Raises TypeError, ArgumentError; `where`: the option."""
    return _whole(os.fsencode(path), where)


def _whole(value: bytes, where: str) -> bytes:
    if b"\0" in value:  # C would take what is before it
        raise bad_argument(where, "no null character", repr(os.fsdecode(value)))
    return value


def new_error() -> Any:
    """An empty udump_error to hand to a function."""
    return ffi.new("udump_error *")


def check(status: int, error: Any) -> None:
    """Raises what `error` says if `status` is not 0."""
    if status == lib.UDUMP_OK:
        return
    buffer = ffi.new("char[]", 2048)
    lib.udump_error_format(error, buffer, len(buffer))
    names = ("what", "where", "expected", "found")
    detail: dict[str, Any] = {name: text(getattr(error, name)) for name in names}
    detail.update(offset=error.offset, line=error.line, column=error.column)
    raise _CLASSES.get(status, InternalError)(text(buffer), status, **detail)


def bad_argument(where: str, expected: str, found: object) -> ArgumentError:
    """An argument that is refused before the library sees it."""
    message = f"{where}: expected {expected}, found {found}"
    return ArgumentError(message, lib.UDUMP_ERROR_ARGUMENT, what="bad value", where=where, expected=expected, found=str(found))
