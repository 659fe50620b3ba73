"""The comments after an attribute, `name: str  #: what it is`, as its documentation."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class AttributeComments(griffe.Extension):
    """For mkdocstrings: see mkdocs.yml."""

    def on_attribute_instance(self, *, node: ast.AST | griffe.ObjectNode, attr: griffe.Attribute, **_: Any) -> None:
        """Takes what follows `#:` on the attribute's last line."""
        if attr.docstring is None and isinstance(node, ast.AST) and attr.endlineno:
            _, mark, comment = attr.lines_collection[attr.filepath][attr.endlineno - 1].partition("#: ")
            if mark:
                attr.docstring = griffe.Docstring(comment[:1].upper() + comment[1:], parent=attr)
