"""The comments after attributes, `name: str  #: what it is`, as a table in their class's documentation."""

from __future__ import annotations

import ast
from typing import Any

import griffe


def comment_of(attribute: griffe.Attribute) -> str:
    """What follows `#:` on the attribute's last line."""
    if not isinstance(attribute.filepath, list) and attribute.endlineno:
        return attribute.lines_collection[attribute.filepath][attribute.endlineno - 1].partition("#: ")[2]
    return ""


class AttributeComments(griffe.Extension):
    """For mkdocstrings: see mkdocs.yml."""

    def on_class_members(self, *, node: ast.AST | griffe.ObjectNode, cls: griffe.Class, **_: Any) -> None:
        """Adds the section, as Google's style has it."""
        annotated = [child.target for child in getattr(node, "body", []) if isinstance(child, ast.AnnAssign)]
        fields = {target.id for target in annotated if isinstance(target, ast.Name)}
        public = [attribute for name, attribute in cls.attributes.items() if not name.startswith("_")]
        shown = [(attribute, comment_of(attribute)) for attribute in public if attribute.name in fields or comment_of(attribute)]
        if shown and cls.docstring:
            rows = [f"    {attribute.name} ({attribute.annotation}): {comment or '&nbsp;'}" for attribute, comment in shown]
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(rows)
