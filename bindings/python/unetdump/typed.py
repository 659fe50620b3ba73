"""`Unpack`, where Python or typing_extensions has it: annotations name it, and nothing else does."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Unpack
else:
    try:
        from typing import Unpack
    except ImportError:  # before Python 3.11
        try:
            from typing_extensions import Unpack
        except ImportError:
            Unpack = None

__all__ = ["Unpack"]
