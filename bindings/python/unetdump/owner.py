"""What owns memory of the library."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Owner:
    """Neither copied nor pickled: a copy would free the same memory again, or change it under the first one."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """What `copy` and `pickle` ask for. Raises TypeError."""
        name = type(self).__name__
        raise TypeError(f"a {name} cannot be copied or pickled: it owns memory of this process; others load the model themselves")
