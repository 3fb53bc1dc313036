"""What a row gives: figures, and a verdict for each goal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Figure:
    """One contender's measurement.  *rate* is work a second; *value* anything else, in *unit*."""

    row: int
    work: str
    who: str
    cores: str
    p50_us: float | None = None
    p99_us: float | None = None
    rate: float | None = None
    value: float | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """*met* is None where a peer is missing or the goal cannot be judged at this scale."""

    row: int
    goal: str
    reached: str
    met: bool | None


@dataclass(frozen=True)
class Series:
    """A curve of row 11: *points* are (x, y)."""

    title: str
    x: str
    y: str
    name: str
    points: list[tuple[float, float]]


@dataclass
class Result:
    """All that one row found."""

    row: int
    title: str
    figures: list[Figure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    seconds: float = 0.0

    def plain(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def load(cls, plain: dict[str, object]) -> Result:
        made = cls(int(str(plain["row"])), str(plain["title"]))
        made.figures = [Figure(**item) for item in plain["figures"]]  # type: ignore[attr-defined]
        made.verdicts = [Verdict(**item) for item in plain["verdicts"]]  # type: ignore[attr-defined]
        made.series = [Series(**item) for item in plain["series"]]  # type: ignore[attr-defined]
        made.seconds = float(str(plain["seconds"]))
        return made


def _find(figures: list[Figure], who: str, work: str | None, cores: str | None) -> Figure | None:
    """The first figure of *who* that was measured."""
    for figure in figures:
        if figure.who == who and work in (None, figure.work) and cores in (None, figure.cores):
            return figure
    return None


def p50_of(
    figures: list[Figure], who: str, cores: str | None = None, work: str | None = None
) -> float | None:
    """The median that *who* reached, if it took part."""
    figure = _find(figures, who, work, cores)
    return figure.p50_us if figure else None


def rate_of(
    figures: list[Figure], who: str, cores: str | None = None, work: str | None = None
) -> float | None:
    """The rate that *who* reached, if it took part."""
    figure = _find(figures, who, work, cores)
    return figure.rate if figure else None


def judge(
    row: int,
    goal: str,
    ours: float | None,
    theirs: float | None,
    bound: float,
    *,
    most: bool,
    unit: str = "x",
) -> Verdict:
    """Whether *ours* / *theirs* is at *most*, or at least, *bound*."""
    if ours is None or theirs is None or not theirs:
        return Verdict(row, goal, "not measured", None)
    ratio = ours / theirs
    met = ratio <= bound if most else ratio >= bound
    text = f"{ratio:,.2f}{unit}" if ratio < 1000 else f"{ratio:,.0f}{unit}"
    return Verdict(row, goal, text, met)
