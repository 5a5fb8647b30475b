"""Figures, and how they are shown: a table for people, one line of JSON each for programs."""

import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value. `aim` says what it should be, in words; `note` how it was got or what it is made of."""

    name: str
    value: float
    unit: str
    aim: str = ""
    note: str = ""


def median(name: str, values: Sequence[float], unit: str, *, aim: str = "", note: str = "") -> Figure:
    """The median of several runs; the spread goes into the note."""
    spread = f"median of {len(values)}, {min(values):.3g} to {max(values):.3g}"
    return Figure(
        name=name,
        value=statistics.median(values),
        unit=unit,
        aim=aim,
        note=f"{spread}; {note}" if note else spread,
    )


def table(figures: Iterable[Figure]) -> str:
    """The figures in aligned columns."""
    rows = [("figure", "value", "aim", "note")]
    rows += [(figure.name, f"{figure.value:.4g} {figure.unit}".strip(), figure.aim, figure.note) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)), row[3]]).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def json_lines(figures: Iterable[Figure]) -> str:
    """One line of JSON a figure."""
    return "\n".join(msgspec.json.encode(figure).decode() for figure in figures)
