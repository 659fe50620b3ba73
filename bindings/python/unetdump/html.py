"""Pictures in notebooks."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def caption(words: str) -> str:
    """A line of text, as HTML."""
    return f"<p>{html.escape(words)}</p>"


def figure(image: Image.Image, words: str) -> str:
    """A picture with a line under it, as HTML that needs nothing else."""
    data = base64.b64encode(png(image)).decode()
    words = html.escape(words)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{words}"><figcaption>{words}</figcaption></figure>'
