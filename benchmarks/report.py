"""The run as Markdown, as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import plot
from .results import Figure, Result, Verdict

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
END = "<!-- end -->"
PLOT = "performance-growth.svg"


@dataclass
class Run:
    """One call of ``python -m benchmarks``."""

    date: str
    machine: str
    versions: dict[str, str]
    scale: str
    seconds: float = 0.0
    results: list[Result] = field(default_factory=list)


def markdown(run: Run) -> str:
    """Goals first, then every figure."""
    told = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    lines = [
        f"Measured {run.date} in {run.seconds / 60:.0f} min ({run.scale} scale) on {run.machine}.",
        f"{told}.",
        "",
        "| row | goal | reached | met |",
        "|---|---|---|---|",
    ]
    for result in run.results:
        lines += [_verdict(verdict) for verdict in result.verdicts]
    for result in run.results:
        lines += ["", f"### Row {result.row}: {result.title}", ""]
        lines += [_HEAD, "|---|---|---|---|---|---|---|"]
        lines += [_figure(figure) for figure in result.figures]
    return "\n".join(lines) + "\n"


_HEAD = "| work | who | cores | p50 µs | p99 µs | a second | other |"


def _verdict(verdict: Verdict) -> str:
    met = {True: "yes", False: "**no**", None: "-"}[verdict.met]
    return f"| {verdict.row} | {verdict.goal} | {verdict.reached} | {met} |"


def _figure(figure: Figure) -> str:
    value = "" if figure.value is None else f"{_number(figure.value)} {figure.unit}"
    cells: Iterable[str] = (
        figure.work,
        figure.who,
        figure.cores,
        _number(figure.p50_us),
        _number(figure.p99_us),
        _number(figure.rate),
        " ".join(filter(None, (value, figure.note))),
    )
    return "| " + " | ".join(cells) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_files(run: Run, folder: Path) -> None:
    """``results.json``, ``results.md`` and the plot."""
    plain = {
        "date": run.date, "machine": run.machine, "versions": run.versions, "scale": run.scale,
        "seconds": run.seconds, "rows": [result.plain() for result in run.results],
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(plain, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(run))
    series = [one for result in run.results for one in result.series]
    if series:
        (folder / PLOT).write_text(plot.svg(series))


def write_docs(run: Run) -> None:
    """Put the table into its place in docs/performance.md, and the plot beside it."""
    shown = ""
    series = [one for result in run.results for one in result.series]
    if series:
        (PAGE.parent / PLOT).write_text(plot.svg(series))
        shown = f"\n![growth: one curve for each quantity]({PLOT})\n"
    put("benchmarks", markdown(run) + shown)


def put(module: str, text: str) -> None:
    """Put *text* where docs/performance.md says that ``python -m MODULE --write`` puts it."""
    page = PAGE.read_text("utf-8")
    mark = f"<!-- begin: python -m {module} --write -->"
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no place for it, from {mark} to {END}")
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", "utf-8")
