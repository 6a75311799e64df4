"""The report of a bench as tables and as a picture of its roofline."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from paper_tables.rendering.figures import COLOURS
from reference.pictures import encoded

HEAD = ("", "ms", "quartiles", "n", "a second", "time to the first's", "GMAC/s", "of peak", "products", "GB", "waits")
PEAK = "peak"
MARKERS = "osD^vPX*"


def of(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The items of a group, or none where it was not measured."""
    return next((group["items"] for group in report["groups"] if group["name"] == name), [])


def peaks(report: Mapping[str, Any]) -> dict[str, float]:
    """Multiply-accumulates a second of a square matrix product, by precision; under `copy` bytes a second."""
    return {item["name"]: item["per_second"] for item in of(report, PEAK)}


def rate(item: Mapping[str, Any]) -> float:
    """Multiply-accumulates a second."""
    return item["macs"] / item["seconds"]["median"]


def cells(item: Mapping[str, Any], top: Mapping[str, float]) -> list[str]:
    """A line of a table, as HEAD names its columns; empty where nothing is known."""
    seconds, interval = item["seconds"], item["ratio"]["interval"]
    ratio = f"{item['ratio']['median']:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")
    peak = top.get(item.get("precision", ""))
    return [
        item["name"],
        f"{1000 * seconds['median']:.4g}",
        f"{1000 * seconds['lower_quartile']:.4g} to {1000 * seconds['upper_quartile']:.4g}",
        str(item["n"]),
        f"{item['per_second']:,.4g} {item['unit']}",
        ratio,
        f"{rate(item) / 1e9:,.3g}" if "macs" in item else "",
        f"{rate(item) / peak:.0%}" if peak and "macs" in item else "",
        f"{item['matrix_share']:.0%}" if "matrix_share" in item else "",
        f"{item['memory_bytes'] / 1e9:.2f}" if item["memory_bytes"] else "",
        f"{item['waiting_share']:.1%}" if "waiting_share" in item else "",
    ]


def title(report: Mapping[str, Any]) -> str:
    device = report["device"] if report["device"] != "cpu" else report["cpu"]
    return f"{device}, {report['threads']} CPU threads, torch {report['torch']}, {report['date']}"


def markdown(report: Mapping[str, Any]) -> str:
    """All tables."""
    lines = [f"# Bench: {title(report)}", "", f"`{report['command']}`", ""]
    for group in report["groups"]:
        lines += [f"## {group['title']}", ""]
        if "error" in group:
            lines += [group["error"], ""]
            continue
        table = [HEAD, *(cells(item, peaks(report)) for item in group["items"])]
        kept = [i for i in range(len(HEAD)) if i == 0 or any(row[i] for row in table[1:])]
        lines += [_line([row[i] for i in kept]) for row in table]
        lines.insert(-len(table) + 1, _line(["---"] * len(kept)))
        lines.append("")
    if report["left_out"]:
        lines += [f"Not measured, because the time was up: {', '.join(report['left_out'])}.", ""]
    return "\n".join(lines)


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def placed(report: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """What the roofline shows: group, item, multiply-accumulates a byte, and a second."""
    for group in report["groups"]:
        for item in group.get("items", []):
            if item.get("macs") and item.get("bytes"):
                yield group["title"], item["name"], item["macs"] / item["bytes"], rate(item)


def roofline(report: Mapping[str, Any]) -> dict[str, bytes]:
    """The picture as "svg" and "png": the speed of each step over its multiply-accumulates for each byte that its
    operations read and write, below what matrix products and the memory allow."""
    top, points = peaks(report), list(placed(report))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    xs = [x for _, _, x, _ in points]
    roofs = {name: speed for name, speed in top.items() if name != "copy"}
    ridge = max(roofs.values()) / top["copy"]
    left, right = min([*xs, ridge]) / 3, max([*xs, ridge]) * 3
    for name, speed in roofs.items():
        corner = speed / top["copy"]
        axes.plot([left, corner, right], [left * top["copy"], speed, speed], color="#222222", linewidth=1)
        axes.annotate(f"matrix products, {name}", (right, speed), ha="right", va="bottom", fontsize=8)
    for number, heading in enumerate(dict.fromkeys(group for group, *_ in points)):
        own = [(x, y) for group, _, x, y in points if group == heading]
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.plot(*zip(*own, strict=True), color=colour, marker=marker, linestyle="", label=heading, markersize=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("multiply-accumulates for each byte that operations read and write")
    axes.set_ylabel("multiply-accumulates a second")
    axes.set_title(title(report), fontsize=9)
    if points:
        axes.legend(fontsize=7, frameon=False)
    return encoded(figure, {"Title": "Roofline"})
