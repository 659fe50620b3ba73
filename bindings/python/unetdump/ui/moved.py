"""How far layer prompts moved every block: a chart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from unetdump.results import Result

BAR, HIGH, LABEL = 18, 70, 34


def last_norms(result: Result) -> dict[str, float]:
    """Of each block that was compared: |b - a| / |a| at the last step at which it was."""
    found = {block: result.diff[block].norms for block in result.diff}
    return {block: norms[max(norms)].relative_l2 for block, norms in found.items() if norms}


def chart(norms: dict[str, float], names: Sequence[str]) -> str:
    """An SVG with a bar for each block, in the model's order; "" without any."""
    shown = [name for name in names if name in norms]
    most = max(norms.values(), default=0)
    if not shown:
        return ""
    bars = []
    for i, name in enumerate(shown):
        high = HIGH * norms[name] / most if most > 0 else 0
        said = f"{escape(name)}: {norms[name]:.3g}"
        bars.append(
            f'<g class="bar"><title>{said}</title><rect x="{BAR * i + 2}" y="{HIGH - high:.1f}" width="{BAR - 4}" height="{high:.1f}"/>'
            f'<text transform="translate({BAR * i + BAR // 2 + 3} {HIGH + 4}) rotate(-90)">{escape(name)}</text></g>'
        )
    size = f'viewBox="0 0 {BAR * len(shown)} {HIGH + LABEL}" style="max-width:{BAR * len(shown) * 1.6:.0f}px"'
    told = f"How far each block's output moved with the layer prompts: relative L2, at most {most:.3g}"
    return f'<figure class="moved"><svg {size} role="img" aria-label="{told}">{"".join(bars)}</svg><figcaption>{told}</figcaption></figure>'
