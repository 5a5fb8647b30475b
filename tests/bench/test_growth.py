"""Figures of several sizes become a table and a picture."""

import xml.etree.ElementTree as ET

import pytest

from bench.growth import BEGIN, END, PANELS, put, read, svg, table
from bench.report import Figure, json_lines

FIGURES = [
    Figure(name=f"{size:,}: {name}", value=size / 7, unit="ms", aim="<= 500")
    for size in (100, 1000, 10_000)
    for panel in PANELS
    for name in panel.lines.values()
]
LINES = [
    "measuring live_map …",
    "figure  value",
    *json_lines(FIGURES).splitlines(),
    '{"name":"join","value":1,"unit":"s"}',
]


def test_the_table_has_a_row_a_figure_and_a_column_a_size() -> None:
    rows = table(read(LINES)).splitlines()
    assert rows[0] == "| clients | 100 | 1,000 | 10,000 | aim |"
    assert "| idle: processor of the server, ms | 14.3 | 143 | 1,429 | ≤ 500 |" in rows
    assert len(rows) == 2 + len(FIGURES) // 3


def test_a_size_that_is_missing_is_left_empty() -> None:
    lines = json_lines([FIGURES[0], FIGURES[-1]]).splitlines()
    assert table(read(lines)).splitlines()[2].count("|  |") == 1


def test_the_picture_has_a_line_for_each_series() -> None:
    picture = ET.fromstring(svg(read(LINES)))
    lines = picture.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == sum(len(panel.lines) for panel in PANELS)
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        # What grows in proportion is a straight line that rises to the right.
        (x0, y0), (x1, y1), (x2, y2) = points
        assert x0 < x1 < x2
        assert y0 > y1 > y2
        assert abs((y1 - y0) / (x1 - x0) - (y2 - y1) / (x2 - x1)) < 0.05


def test_a_page_keeps_all_but_the_table() -> None:
    page = f"# Title\n\n{BEGIN}\nold\n{END}\n\nmore\n"
    assert put(page, "new") == f"# Title\n\n{BEGIN}\nnew\n{END}\n\nmore\n"
    assert put(put(page, "other"), "new") == put(page, "new")
    with pytest.raises(ValueError, match="no place"):
        put("# Title\n", "new")


def test_a_picture_of_nothing_is_one() -> None:
    assert ET.fromstring(svg({})).tag.endswith("svg")
