"""Where a word of the prompt stands among a context's columns, as the library finds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .notation import tokens

if TYPE_CHECKING:
    from .places import Column

_EMBEDDING_IDS = 49408  # from here on an id is a vector of an embedding


def _word_at(columns: Sequence[Column], at: int) -> list[int]:
    """The columns of the prompt's word that begins at `at`; none if none begins there."""
    word = columns[at].word
    if word < 0 or (at > 0 and columns[at - 1].word == word):
        return []
    return [i for i in range(at, len(columns)) if columns[i].word == word]


def find_words(columns: Sequence[Column], word: str) -> list[int]:
    """The columns of every place where the word stands: its tokens, or the embedding of that name. Raises KeyError where it does not."""
    if not columns:
        raise KeyError(f"{word!r}: the context was made from an array, and has no words")
    ids, found, at = [token.id for token in tokens(word)], list[int](), 0
    while at < len(columns):
        stands = _word_at(columns, at)
        named = bool(stands) and columns[at].id >= _EMBEDDING_IDS and columns[at].text.casefold() == word.casefold()
        end = at + len(ids)
        same = bool(stands and ids) and [column.id for column in columns[at:end]] == ids
        ends = end == len(columns) or (end < len(columns) and columns[end].word != columns[end - 1].word)
        length = len(stands) if named else len(ids) if same and ends else 0
        found += range(at, at + length)
        at += max(length, 1)
    if not found:
        words = dict.fromkeys(column.text for column in columns if column.word >= 0)
        raise KeyError(f"{word!r} is no word of the prompt: its tokens are {', '.join(words)}")
    return found
