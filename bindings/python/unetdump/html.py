"""Pictures in notebooks."""

from __future__ import annotations

import base64
import html
import io

from PIL import Image


def figure(image: Image.Image, caption: str) -> str:
    """A picture with a line under it, as HTML that needs nothing else."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    words = html.escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{words}"><figcaption>{words}</figcaption></figure>'
