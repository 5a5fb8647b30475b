"""How cost grows with the number of clients: what `bench live_map` printed becomes a table and a picture.

    python -m bench live_map | tee figures
    python -m bench.growth figures docs/performance.md docs/live-map.svg

The table takes the place of the one between two comments of the page. Lines of the input that are no figures are passed
over.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from bench.report import Figure

BEGIN: Final = "<!-- live map: made by bench.growth -->"
END: Final = "<!-- end -->"
Series = dict[int, Figure]  # by the number of clients

_WIDTH, _HEIGHT, _MARGIN = 340, 230, 46  # of one panel, in pixels
_COLUMNS: Final = 2
_COLORS: Final = ("#1f6feb", "#d9480f", "#2b8a3e")
_figure = msgspec.json.Decoder(Figure)


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: lines by their labels, each a figure's name."""

    title: str
    lines: dict[str, str]


PANELS: Final = (
    Panel(
        "time until the last client has a join, ms",
        {"p50 of 20": "join: until the last client has it, p50", "p99": "join: until the last client has it, p99"},
    ),
    Panel(
        "processor of the server, % of a core",
        {"idle, with heartbeats": "idle: processor of the server", "churn, 50/s": "churn: processor of the server"},
    ),
    Panel("resident memory of the server, MB", {"idle": "idle: resident memory of the server"}),
    Panel(
        "time until all clients are current, s",
        {"cold, whole maps": "all streams connected and current", "restart": "restart: until all clients are current"},
    ),
)


def read(lines: Iterable[str]) -> dict[str, Series]:
    """The figures by name, in the order in which they came."""
    found: dict[str, Series] = {}
    for line in lines:
        if not line.startswith("{"):
            continue
        figure = _figure.decode(line)
        size, _, name = figure.name.partition(": ")
        if name and size.replace(",", "").isdigit():
            found.setdefault(name, {})[int(size.replace(",", ""))] = figure
    return found


def table(figures: dict[str, Series]) -> str:
    """A row a figure, a column a size."""
    sizes = sorted({size for series in figures.values() for size in series})
    rows = [["clients", *(f"{size:,}" for size in sizes), "aim"], ["---"] * (len(sizes) + 2)]
    for name, series in figures.items():
        one = next(iter(series.values()))
        cells = [_number(series[size].value) if size in series else "" for size in sizes]
        rows.append([f"{name}, {one.unit}" if one.unit else name, *cells, one.aim.replace("<=", "≤")])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def svg(figures: dict[str, Series]) -> str:
    """All panels as one picture. Both axes are linear and begin at 0: what grows in proportion is a straight line."""
    rows = -(-len(PANELS) // _COLUMNS)
    size = f'width="{_COLUMNS * _WIDTH}" height="{rows * _HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, panel in enumerate(PANELS):
        row, column = divmod(number, _COLUMNS)
        parts += [f'<g transform="translate({column * _WIDTH},{row * _HEIGHT})">', *_panel(panel, figures), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, figures: dict[str, Series]) -> list[str]:
    lines = {label: figures.get(name, {}) for label, name in panel.lines.items()}
    right = max((size for series in lines.values() for size in series), default=1)
    top = _ceiling(max((figure.value for series in lines.values() for figure in series.values()), default=1.0))

    def x(size: float) -> float:
        return round(_MARGIN + (_WIDTH - 1.5 * _MARGIN) * size / right, 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _MARGIN + (2 * _MARGIN - _HEIGHT) * value / top, 1)

    parts = [f'<text x="{_MARGIN}" y="18" font-weight="bold">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<path d="M{x(0)} {y(share * top)}H{x(right)}" stroke="#cccccc"/>')
        parts.append(f'<text x="{_MARGIN - 6}" y="{y(share * top) + 4}" text-anchor="end">{share * top:g}</text>')
        middle = f'y="{_HEIGHT - _MARGIN + 16}" text-anchor="middle"'
        parts.append(f'<text x="{x(share * right)}" {middle}>{share * right:,.0f}</text>')
    for number, (label, series) in enumerate(lines.items()):
        color = _COLORS[number]
        points = [(x(size), y(figure.value)) for size, figure in sorted(series.items())]
        path = " ".join(f"{across},{down}" for across, down in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{across}" cy="{down}" r="3" fill="{color}"/>' for across, down in points]
        parts.append(f'<text x="{_MARGIN + 8}" y="{_MARGIN - 8 + 14 * number}" fill="{color}">{escape(label)}</text>')
    return parts


def _ceiling(value: float) -> float:
    """The next round number that leaves room above."""
    step = 1.0
    while step * 10 <= value:
        step *= 10
    return next(step * factor for factor in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15) if step * factor >= value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def put(page: str, made: str) -> str:
    """The page with this table between its comments. Raises `ValueError` if it has not both."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def main() -> None:
    figures_file, page, picture = map(Path, sys.argv[1:])
    figures = read(figures_file.read_text().splitlines())
    page.write_text(put(page.read_text(), table(figures)))
    picture.write_text(svg(figures))


if __name__ == "__main__":
    main()
