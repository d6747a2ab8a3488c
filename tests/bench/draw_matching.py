"""The recorded figures of the filter index as a plot and a table: `python -m tests.bench.draw_matching`.

Reads docs/performance/matching.json, writes the SVG beside it and the part of docs/performance.md between its marks.
The same figures give the same bytes, so a test can hold that what is shown is what was recorded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES = DOCS / "performance" / "matching.json"
PLOT = DOCS / "performance" / "matching.svg"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- matching: begin -->\n", "<!-- matching: end -->\n"

# In the middle between black and white, as the page's background may be either and the plot has none of its own.
_INK = "#7d858f"
_COLOURS = {"room": "#2f81f7", "crowd": "#2da44e", "mixed": "#e16f24"}

Row = dict[str, Any]


def draw(rows: list[Row], path: Path) -> None:
    """Draw how the figures grow with the number of filters, and write it as SVG."""
    with mpl.rc_context(
        {
            "svg.hashsalt": "fanout",
            "font.size": 9,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
        }
    ):
        figure = Figure(figsize=(9.6, 3.5), layout="constrained")
        figure.patch.set_alpha(0)
        match, update, memory = figure.subplots(1, 3)
        _draw_panel(match, rows, "match an event, beside its true matches, us", "beside_matches_us")
        _draw_panel(update, rows, "add or remove one filter, us", "update_us")
        _draw_panel(memory, rows, "memory per distinct filter, bytes", "memory_bytes")
        again = sorted((row["keys"], row["beside_matches_again_us"]) for row in rows if row["workload"] == "mixed")
        match.plot(*zip(*again, strict=True), linestyle=":", color=_COLOURS["mixed"], label="mixed, again at once")
        for axes in (match, update):
            axes.set_yscale("log")
            axes.set_ylim(0.5, 2000 if axes is match else 100)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        memory.set_ylim(0, 1700)
        _draw_target(match, 1000, "target, mixed")
        _draw_target(match, 20, "target, room and crowd", -10)
        _draw_target(update, 50, "target")
        _draw_target(memory, 1536, "target")
        handles, labels = match.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def render_table(result: dict[str, Any]) -> str:
    """The figures beside their targets, as Markdown."""
    by_name = {(row["workload"], row["keys"]): row for row in result["rows"]}
    sizes = sorted({row["keys"] for row in result["rows"] if row["workload"] == "room"})
    largest = sizes[-1]
    room, crowd, mixed = (by_name[name, largest] for name in ("room", "crowd", "mixed"))
    few, many = sorted((row for row in result["rows"] if row["workload"] == "shared"), key=lambda row: row["keys"])
    machine = result["machine"]
    worst = max(room["update_us"], crowd["update_us"], mixed["update_us"])
    largest_memory = max(room["memory_bytes"], crowd["memory_bytes"], mixed["memory_bytes"])
    per_match = (mixed["match_us"] - mixed["beside_matches_us"]) / mixed["matches"]
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {machine['date']}:",
        "",
        f"| one core, no sockets, {largest:,} filters | target | measured |",
        "|---|---|---|",
        f"| an `eq` on a room of its own and one or two other conditions: event with one candidate | "
        f"20.5 us | {_us(room['match_us'])} |",
        f"| the same, event without a candidate | 20 us | {_us(room['beside_matches_us'])} |",
        f"| 1,000 rooms with 1,000 users each (two `eq`): event with one match | 20.5 us | {_us(crowd['match_us'])} |",
        f"| mixed, {mixed['filters']:,} distinct: beside the true matches | 1,000 us | "
        f"{_us(mixed['beside_matches_us'])} |",
        f"| the same, the event matched again at once | 1,000 us | {_us(mixed['beside_matches_again_us'])} |",
        f"| mixed: all, with {mixed['matches']:,.0f} true matches ({per_match:.2f} us each) | none | "
        f"{_us(mixed['match_us'])} |",
        f"| {many['keys']:,} subscriptions on {many['filters']} filters: event without a match | "
        f"{_us(few['beside_matches_us'])}, as {few['keys']} subscriptions | {_us(many['beside_matches_us'])} |",
        f"| the same: event that matches one filter | {_us(few['match_us'])} for {few['matches']} subscription | "
        f"{_us(many['match_us'])} for {many['matches']:,} |",
        f"| add or remove one, the slowest of the three | 50 us | {_us(worst)} |",
        f"| memory per distinct filter, the largest of the three | 1,536 bytes | {largest_memory:,} bytes |",
        "",
        "| | " + " | ".join(f"{size:,}" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    growth = [
        ("match, one hit", "match_us", ("room", "crowd")),
        ("match, no hit", "beside_matches_us", ("room", "crowd")),
        ("match, beside the true matches", "beside_matches_us", ("mixed",)),
        ("the same, again at once", "beside_matches_again_us", ("mixed",)),
        ("add or remove one", "update_us", ("room", "crowd", "mixed")),
        ("the 99th percentile of that, wall time", "update_p99_us", ("room", "crowd", "mixed")),
        ("memory per distinct filter", "memory_bytes", ("room", "crowd", "mixed")),
    ]
    for what, figure, names in growth:
        for name in names:
            cells = [by_name[name, size][figure] for size in sizes]
            texts = [f"{cell:,} B" if figure == "memory_bytes" else _us(cell) for cell in cells]
            lines.append(f"| {name}: {what} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    result = json.loads(FIGURES.read_text())
    draw(result["rows"], PLOT)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + render_table(result) + END + rest.partition(END)[2])


def _draw_panel(axes: Axes, rows: list[Row], title: str, figure: str) -> None:
    axes.patch.set_alpha(0)
    axes.set_title(title, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("distinct filters")
    axes.grid(color=_INK, alpha=0.25, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for name, colour in _COLOURS.items():
        points = sorted((row["keys"], row[figure]) for row in rows if row["workload"] == name)
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=name)


def _draw_target(axes: Axes, value: float, text: str, offset: int = 3) -> None:
    axes.axhline(value, color=_INK, linestyle=(0, (4, 3)), linewidth=1)
    at, within = (0.98, value), ("axes fraction", "data")
    axes.annotate(text, at, xycoords=within, xytext=(0, offset), textcoords="offset points", ha="right")


def _us(value: float) -> str:
    return f"{value:,.0f} us" if value >= 100 else f"{value:.1f} us"


if __name__ == "__main__":
    main()
