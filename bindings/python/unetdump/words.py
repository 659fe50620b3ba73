"""Where a word of the prompt stands among a context's columns, as the library finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .notation import tokens

if TYPE_CHECKING:
    from .places import Column

_EMBEDDING_IDS = 49408  # from here on an id is a vector of an embedding


def find_words(columns: Sequence[Column], word: str) -> list[int]:
    """The columns of every place where the word stands: its tokens, or the embedding of that name. Raises KeyError where it does not."""
    if not columns:
        raise KeyError(f"{word!r}: the context was made from an array, and has no words")
    ids = [token.id for token in tokens(word)]
    own = [i for i, column in enumerate(columns) if column.word >= 0]  # starts and ends of chunks may stand within a word
    words = [columns[i].word for i in own]
    found, at = list[int](), 0
    while at < len(own):
        first, end = columns[own[at]], at + len(ids)
        begins = at == 0 or words[at] != words[at - 1]
        named = begins and first.id >= _EMBEDDING_IDS and first.text.casefold() == word.casefold()
        same = begins and bool(ids) and [columns[i].id for i in own[at:end]] == ids
        ends = end >= len(own) or words[end] != words[end - 1]
        length = words.count(first.word) if named else len(ids) if same and ends else 0
        found += own[at : at + length]
        at += max(length, 1)
    if not found:
        known = dict.fromkeys(columns[i].text for i in own)
        raise KeyError(f"{word!r} is no word of the prompt: its tokens are {', '.join(known)}")
    return found
