"""Reports as one HTML page that needs nothing from elsewhere: styles inside, charts as SVG drawn from the data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from kt.chaos.model import Run
from kt.chaos.report import Chart, Link, RunReport, stood
from kt.chaos.resilience import Score, standings

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 140, 56, 22
COLOURS = {"held": "#1a7f37", "regressed": "#cf222e"}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d1d9e0;vertical-align:top}
.badge{color:#fff;border-radius:.3rem;padding:.1rem .5rem;font-size:.9rem}dt{float:left;width:7rem;color:#59636e}
figure{margin:1rem 0}figcaption{color:#59636e;font-size:.9rem}.finding{border-left:4px solid #cf222e;padding-left:.8rem}
"""


def page(report: RunReport, back: str = "") -> str:
    """The report of one run. `back`: where the page of all runs is."""
    about = "".join(f"<dt>{escape(what)}</dt><dd>{escape(value)}</dd>" for what, value in report.about)
    found = "".join(
        f'<p class="finding"><b>{escape(each.kind)}</b>: {escape(each.text)}</p>' for each in report.findings
    )
    rows = "".join(
        f"<tr><td>{escape(each.part)}</td><td>{escape(each.kind)} {escape(each.name)}</td>"
        f"<td>{escape(each.status)}</td><td>{each.seconds:.1f}</td><td>{escape(each.said)}</td></tr>"
        for each in report.steps
    )
    head = "<tr><th>part</th><th>activity</th><th>ended</th><th>seconds</th><th>said</th></tr>"
    charts = "".join(chart(each) for each in report.charts)
    colour = COLOURS.get(report.outcome, "#9a6700")
    return _page(
        report.name,
        f'<h1>{escape(report.name)} <span class="badge" style="background:{colour}">{escape(report.outcome)}'
        "</span></h1>"
        f"<p>{escape(report.why)}</p><p>{escape(report.description)}</p><dl>{about}</dl>"
        f"<h2>Findings</h2>{found or '<p>None.</p>'}"
        f"<h2>Measured</h2>{charts or '<p>Prometheus recorded nothing of it.</p>'}"
        f"<h2>What was done</h2><p>Steady state before: {escape(report.steady_before)}; after: "
        f"{escape(report.steady_after)}.</p><table>{head}{rows}</table>"
        + (f'<p><a href="{escape(back)}">All runs</a></p>' if back else ""),
    )


def overview(runs: Sequence[Run], scored: Sequence[Score], now: datetime, link: Link | None = None) -> str:
    """All runs: scores with their course, findings; with `link`, each run's page."""
    rows = "".join(
        f"<tr><td>{escape(each.service)}</td><td>{each.score:.0f}</td>"
        f"<td>{each.trend} ({each.score - each.before:+.0f})</td><td>{each.held} of {each.attacks}</td></tr>"
        for each in scored
    )
    head = "<tr><th>service</th><th>score</th><th>in 30 days</th><th>held</th></tr>"
    course = "".join(
        chart(
            Chart(
                title=f"{each.service}: score after each attack",
                samples=tuple((at.timestamp(), score) for at, score in each.history),
                marked=None,
            ),
            top=100.0,
        )
        for each in scored
    )
    bad = [run for run in runs if run.outcome == "regressed" or run.breach]
    found = "".join(
        f'<p class="finding"><b>{escape(run.what.name)}</b> ({escape(run.id)}): {escape(run.why)}</p>' for run in bad
    )
    table = f"<table>{head}{rows}</table>" if scored else "<p>No service has been attacked yet.</p>"
    return _page(
        "Chaos",
        f"<h1>Chaos, as of {now:%Y-%m-%d %H:%M} UTC</h1><h2>Resilience</h2>{table}{course}"
        f"<h2>Findings</h2>{found or '<p>None.</p>'}<p>{len(runs)} runs.</p>{_listed(runs, link) if link else ''}",
    )


def _listed(runs: Sequence[Run], link: Link) -> str:
    left = standings(runs)
    rows = "".join(
        f'<tr><td>{run.due_at:%Y-%m-%d %H:%M}</td><td><a href="{escape(link(run))}">{escape(run.what.name)}</a></td>'
        f"<td>{escape(run.outcome or run.phase)}</td><td>{escape(stood(left.get(run.id, ())))}</td></tr>"
        for run in runs
    )
    head = "<tr><th>due</th><th>run</th><th>outcome</th><th>resilience after it</th></tr>"
    return f"<h2>Runs</h2><table>{head}{rows}</table>"


def chart(data: Chart, *, top: float | None = None) -> str:
    """A line with the time of the run shaded; empty when there is nothing to draw. `top`: upper end of the axis."""
    if not data.samples:
        return ""
    first, last = data.samples[0][0], data.samples[-1][0]
    highest = top or max(max(value for _, value in data.samples), 1e-9) * 1.1
    wide, high = WIDTH - LEFT - 8, HEIGHT - BOTTOM - 8

    def x(at: float) -> float:
        return LEFT + wide * (min(max(at, first), last) - first) / max(last - first, 1e-9)

    def y(value: float) -> float:
        return 8 + high * (1 - max(0.0, value) / highest)

    points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in data.samples)
    shade = ""
    if data.marked:
        begin, end = x(data.marked[0]), x(data.marked[1])
        shade = f'<rect x="{begin:.1f}" y="8" width="{max(1.0, end - begin):.1f}" height="{high}" fill="#ffebe9"/>'
    dots = "".join(
        f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="2.5" fill="#0969da"/>' for at, value in data.samples
    )
    scale = "".join(
        f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>' for value in (0.0, highest)
    )
    times = (
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{_clock(first)}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">{_clock(last)}</text>'
    )
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="11" fill="#59636e">'
        f"<title>{escape(data.title)}</title>{shade}"
        f'<line x1="{LEFT}" y1="{8 + high}" x2="{WIDTH - 8}" y2="{8 + high}" stroke="#d1d9e0"/>'
        f'<polyline points="{points}" fill="none" stroke="#0969da" stroke-width="1.5"/>'
        f"{dots if len(data.samples) <= 30 else ''}{scale}{times}</svg>"
        f"<figcaption>{escape(data.title)}</figcaption></figure>"
    )


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )
