"""The HTML page: one file, no script, nothing fetched, every word from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .data import AuditSummary, Call, clock_text, started_text
from .figure import THEME

__all__ = ["render_page"]

MAX_ROWS = 2000

#: The colours of `THEME` on a dark page.
DARK = {
    "paper": "#14181d",
    "ink": "#e8ecf0",
    "quiet": "#9aa5b1",
    "rule": "#323a43",
    "tile": "#1e242b",
    "first": "#56b4e9",
    "second": "#f08c3c",
    "silence": "#2a3138",
    "concealed": "#d98fb8",
    "hole": "#8f8726",
    "hatch": "#f0e442",
    "good": "#3ecf9f",
    "bad": "#ff8a80",
    "third": "#2fc79a",
    "fourth": "#b79ad6",
}

STYLE = """
:root{color-scheme:light dark;%(light)s}
@media (prefers-color-scheme:dark){:root{%(dark)s}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.2rem 1.5rem 3rem;max-width:1640px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
figure{margin:0;overflow-x:auto}figure svg{display:block;width:100%%;min-width:900px;height:auto}
h1{font-size:1rem;margin:0;position:absolute;clip-path:inset(50%%);height:1px;overflow:hidden}
h2{font-size:1.05rem;margin:2rem 0 .5rem}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%%,34rem),1fr));gap:0 2.5rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--quiet);padding:.2rem 0}
th,td{text-align:left;vertical-align:top;padding:.28rem .8rem .28rem 0;border-bottom:1px solid var(--rule);
overflow-wrap:anywhere}
th{color:var(--quiet);font-weight:600;font-size:.87rem;white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap}td.w{white-space:nowrap}
td.t{min-width:min(16rem,34vw);white-space:pre-line}
code{font-size:.86em;overflow-wrap:anywhere}
.c0{color:var(--first)}.c1{color:var(--second)}.c2{color:var(--third)}.c3{color:var(--fourth)}
.c0,.c1,.c2,.c3{font-weight:600;white-space:nowrap}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
p{margin:.3rem 0}
"""


def render_page(call: Call, svg: str) -> str:
    """The page around the drawing."""
    timeline = call.timeline
    title = escape(f"Call {timeline.conversation_id}")
    style = STYLE % {"light": _variables(THEME), "dark": _variables(DARK)}
    alt = escape(_in_words(call), quote=True)
    sections = [
        _problems(call),
        _transcript(call),
        '<div class="columns"><div>',
        _accounting(call),
        _audit(call.audit),
        _holes(call),
        "</div><div>",
        _events(call),
        _counters(call),
        "</div></div>",
        _files(call),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{style}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f'<figure role="img" aria-label="{alt}">{svg}</figure>\n' + "\n".join(sections) + "\n</body></html>\n"
    )


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{role}:{colour};" for role, colour in colours.items())


def _in_words(call: Call) -> str:
    """The drawing for those who cannot see it."""
    holes = len(call.timeline.holes)
    return (
        f"Call {call.timeline.conversation_id}, {started_text(call)}, {clock_text(call.duration_s)} long: waveforms, "
        f"levels, buffer, jitter and loss, and spectra; {holes} holes, {len(call.transcripts)} transcripts. "
        "The tables below hold the same in figures."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], n_rows: int, numeric: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already."""
    classes = [' class="n"' if index in numeric else "" for index in range(len(head))]
    lines = ['<div class="scroll"><table><thead><tr>']
    lines += [f"<th{kind}>{escape(cell)}</th>" for cell, kind in zip(head, classes, strict=True)]
    lines.append("</tr></thead><tbody>")
    for number, row in enumerate(rows):
        if number == MAX_ROWS:
            break
        cells = (
            cell if cell.startswith("<td") else f"<td{kind}>{cell}</td>"
            for cell, kind in zip(row, classes, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</tbody></table></div>")
    if n_rows > MAX_ROWS:
        lines.append(f"<p>The first {MAX_ROWS:,} of {n_rows:,}; the files of the call hold all.</p>")
    return "".join(lines)


def _channel(call: Call, name: str) -> str:
    if name not in call.timeline.channels:
        return escape(name) or "–"
    return f'<span class="c{call.timeline.channels.index(name) % 4}">{escape(name)}</span>'


def _problems(call: Call) -> str:
    """Files that could not be read."""
    said = "".join(f'<p><span class="bad">✗ not read</span> {escape(problem)}</p>' for problem in call.problems)
    return f"<h2>What is missing here</h2>{said}" if said else ""


def _covered(call: Call) -> str:
    """What was masked or muted."""
    rate, said = call.timeline.sample_rate, []
    for kind, spans in call.spans.items():
        seconds = sum(length for _, length in spans) / rate
        where = ", ".join(f"{clock_text(at / rate)} for {length / rate:.2f} s" for at, length in spans[:20])
        more = f", and {len(spans) - 20} more" if len(spans) > 20 else ""
        said.append(f"<p>{escape(kind.capitalize())}: {seconds:.2f} s, at {where}{more}.</p>")
    return "".join(said)


def _transcript(call: Call) -> str:
    if not call.transcripts:
        return "<h2>Transcript</h2><p>Nothing was transcribed.</p>"
    rate = call.timeline.sample_rate
    rows = (
        (
            str(number),
            clock_text(entry.position / rate),
            _channel(call, entry.channel),
            f'<td class="t" dir="auto">{escape(entry.text)}</td>',
            f"{100 * entry.confidence:.0f} %" if entry.confidence else "–",
        )
        for number, entry in enumerate(call.transcripts, 1)
    )
    head = ("", "time", "channel", "text", "confidence")
    return "<h2>Transcript</h2>" + _table(head, rows, len(call.transcripts), (0, 1, 4))


def _accounting(call: Call) -> str:
    identity = call.timeline.identity
    if not identity:
        return "<h2>Accounting</h2><p>No packet counters were given for this call.</p>"
    balanced = identity.get("balanced") is True
    verdict = '<span class="good">✓ balanced</span>' if balanced else '<span class="bad">✗ does not balance</span>'
    return f"<h2>Accounting</h2><p>{verdict}</p><p>{escape(str(identity.get('text', '')))}</p>"


def _holes(call: Call) -> str:
    holes, rate = sorted(call.timeline.holes, key=lambda hole: hole.position), call.timeline.sample_rate
    if not holes:
        return f"<h2>Holes</h2><p>None: every sample of the timeline was received or made up.</p>{_covered(call)}"
    rows = (
        (clock_text(hole.position / rate, 3), f"{1000 * hole.n_samples / rate:,.0f} ms", escape(hole.cause))
        for hole in holes
    )
    total = f"<p>{call.timeline.hole_samples / rate:.3f} s in all.</p>{_covered(call)}"
    return "<h2>Holes</h2>" + total + _table(("from", "length", "cause"), rows, len(holes), (0, 1))


def _events(call: Call) -> str:
    events, rate = call.timeline.events, call.timeline.sample_rate
    if not events:
        return "<h2>Events</h2><p>None.</p>"
    rows = (
        (
            clock_text(_number(event.get("position")) / rate, 3),
            f'<td class="w">{escape(str(event.get("kind", "")))}</td>',
            escape(", ".join(f"{k}: {v}" for k, v in event.items() if k not in ("position", "time_s", "kind"))),
        )
        for event in events
    )
    return "<h2>Events</h2>" + _table(("at", "event", "details"), rows, len(events), (0,))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _counters(call: Call) -> str:
    stats = call.timeline.stats
    if not stats:
        return ""
    rows = []
    for name, value in stats.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key}: {count}" for key, count in value.items()) or "–"
        else:
            text = (
                f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
            )
        rows.append((escape(name.replace("_", " ")), escape(text)))
    return "<h2>Counters</h2>" + _table(("counter", "value"), rows, len(rows), (1,))


def _audit(audit: AuditSummary | None) -> str:
    if audit is None:
        return "<h2>Audit trail</h2><p>There is none.</p>"
    chain = (
        f'<span class="bad">✗ the chain does not hold: {escape(audit.problem)}</span>'
        if audit.problem
        else f'<span class="good">✓ the chain of {audit.n_lines:,} lines holds</span>'
    )
    if audit.n_not_compliant:
        why = escape(", ".join(f"{name} ({count:,})" for name, count in sorted(audit.violations.items())))
        policy = f'<span class="bad">{audit.n_not_compliant:,} lines against the policy</span>: {why}'
    else:
        policy = '<span class="good">✓ every line within the policy</span>'
    rows = [(escape(action), f"{count:,}") for action, count in sorted(audit.actions.items())]
    return f"<h2>Audit trail</h2><p>{chain}</p><p>{policy}</p>" + _table(("action", "lines"), rows, len(rows), (1,))


def _files(call: Call) -> str:
    files, tracks = call.timeline.files, call.timeline.tracks
    if not files:
        return "<h2>Files</h2><p>The call was not finished; its files have no hashes yet.</p>"
    rows = []
    for name, about in files.items():
        track = tracks.get(name, {})
        state = '<span class="bad">incomplete</span>' if track.get("incomplete") else "complete" if track else ""
        digest = f"<code>{escape(str(about.get('sha256', '')))}</code>"
        rows.append((f'<td class="w">{escape(name)}</td>', f"{_number(about.get('n_octets')):,.0f}", state, digest))
    return "<h2>Files</h2>" + _table(("file", "octets", "audio", "SHA-256"), rows, len(rows), (1,))
