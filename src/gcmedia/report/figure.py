"""Draw a call: everything over one time axis, in colours that colour-blind people tell apart (Okabe and Ito)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.gridspec import GridSpec
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator
from matplotlib.transforms import Bbox

from ..types import Transcript
from .data import Call, Samples, clock_text, envelope, levels, spectrogram, started_text, thin

__all__ = ["THEME", "draw", "to_png", "to_svg"]

WIDTH_IN, DPI = 16.0, 100
LEFT, RIGHT = 0.072, 0.958  # of the width: the time axis
COLUMNS = round(WIDTH_IN * DPI * (RIGHT - LEFT))
FONT = "DejaVu Sans"

#: Colour of each role, on white; the page gives each another one for the dark.  No two are the same.
THEME = {
    "paper": "#ffffff",
    "ink": "#1b1f24",
    "quiet": "#5c6670",
    "rule": "#d5dbe1",
    "tile": "#f3f5f7",
    "first": "#0072b2",
    "second": "#d55e00",
    "silence": "#e4e8ec",
    "concealed": "#cc79a7",
    "hole": "#f0e442",
    "hatch": "#6b6413",
    "good": "#007a5a",
    "bad": "#b3261e",
    "third": "#009e73",
    "fourth": "#7a5195",
}
HATCHES = {
    "lost": "//////",
    "reconnect": "xxxx",
    "restart": "xxxx",
    "paused": "....",
    "overrun": "----",
    "idle": "||||",
}
STEPS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
FEW, MOST_EVENTS = 60, 200
LIST = "transcripts"  # what marks the axes of their list
SPECTRUM_S = 20.0  # seconds of the before and after picture


def draw(call: Call) -> Figure:
    """Lay the page out and draw it."""
    figure = Figure(dpi=DPI, facecolor=THEME["paper"])
    FigureCanvasAgg(figure)
    lanes = Lanes(call, figure)
    rows = [("header", 1.62), ("wave", 2.75)]
    if call.transcripts:
        rows.append(("lanes", lanes.height_in))
    rows.append(("level", 1.15))
    if call.series:
        rows += [("depth", 0.95), ("network", 0.95)]
    rows.append(("spectrum", 2.05))
    if lanes.listed:
        rows.append(("list", lanes.list_height_in))
    gaps = {"header": 0.30, "wave": 0.14, "lanes": 0.14, "level": 0.16, "depth": 0.16, "network": 0.16}
    gaps[rows[-2][0] if not lanes.listed else rows[-3][0]] = 0.62  # before the picture with another time axis
    gaps["spectrum"] = 0.62
    top, bottom = 0.22, 0.50
    height = top + bottom + sum(size for _, size in rows) + sum(gaps[name] for name, _ in rows[:-1])
    figure.set_size_inches(WIDTH_IN, height)

    areas: dict[str, tuple[float, float]] = {}
    y = height - top
    for name, size in rows:
        areas[name] = ((y - size) / height, size / height)
        y -= size + gaps.get(name, 0.0)

    def axes(name: str, left: float = LEFT, right: float = RIGHT) -> Axes:
        grid = GridSpec(1, 1, left=left, right=right, bottom=areas[name][0], top=sum(areas[name]))
        return figure.add_subplot(grid[0])

    _header(axes("header", 0.02, 0.98), call)
    timed = [name for name, _ in rows if name in ("wave", "lanes", "level", "depth", "network")]
    drawers = {"wave": _waves, "lanes": lambda ax, _: lanes.draw(ax), "level": _levels, "depth": _depth}
    drawers["network"] = _network
    window = _spectrum_window(call)
    for name in timed:
        ax = axes(name)
        drawers[name](ax, call)
        _style(ax)
        _time_axis(ax, 0.0, max(call.duration_s, 0.1), labelled=name == timed[-1])
        if name == "wave" and window[2] < call.n_samples:
            _bracket(ax, window[1] / call.timeline.sample_rate, (window[1] + window[2]) / call.timeline.sample_rate)
    _spectra(figure, areas["spectrum"], call, window)
    if lanes.listed:
        below = axes("list", 0.02, 0.98)
        below.set_gid(LIST)
        lanes.draw_list(below)
    return figure


def to_png(figure: Figure) -> bytes:
    """The page as PNG, 1600 pixels wide."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI)
    return out.getvalue()


def to_svg(figure: Figure) -> str:
    """The page as one ``svg`` element whose colours are CSS variables named after the roles of `THEME`.

    The list of transcripts is left out: HTML has a table of them.
    """
    out = io.StringIO()
    box = figure.bbox_inches
    for ax in figure.axes:
        if ax.get_gid() == LIST:
            ax.set_visible(False)
            box = Bbox([[box.x0, ax.get_position().y1 * box.height], [box.x1, box.y1]])
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches=box)
    svg = out.getvalue()
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for role, colour in THEME.items():
        svg = svg.replace(colour, f"var(--{role})")
    return svg


def _plain(text: str) -> str:
    """Text with a box for each character that the font has not; HTML shows the real ones."""
    known = get_font(findfont(FONT)).get_charmap()
    return "".join(letter if ord(letter) in known else "□" for letter in " ".join(text.split()))


def _put(ax: Axes, x: float, y: float, text: str, **more: object) -> None:
    """Text as it is: no mathematics between dollar signs."""
    more = {"fontfamily": FONT, "color": THEME["ink"], "va": "center", "parse_math": False} | more
    ax.text(x, y, text, **more)  # type: ignore[arg-type]


def _colour(call: Call, channel: int) -> str:
    return THEME[("first", "second", "third", "fourth")[channel % 4]]


def _style(ax: Axes) -> None:
    ax.set_facecolor("none")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(THEME["rule"])
    ax.tick_params(colors=THEME["quiet"], labelsize=9, length=3)
    ax.yaxis.label.set_color(THEME["quiet"])
    ax.yaxis.label.set_fontsize(9)
    ax.set_axisbelow(True)


def _time_axis(ax: Axes, start_s: float, end_s: float, *, labelled: bool, most: int = 16) -> None:
    ax.set_xlim(start_s, end_s)
    step = next((step for step in STEPS_S if (end_s - start_s) / step <= most), 86400)
    decimals = 0 if step >= 1 else 1 if step >= 0.1 else 2
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock_text(value, decimals)))
    ax.tick_params(axis="x", labelbottom=labelled)
    ax.grid(True, axis="x", color=THEME["rule"], linewidth=0.6)


def _header(ax: Axes, call: Call) -> None:
    ax.set_axis_off()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    timeline = call.timeline
    title = _plain(timeline.conversation_id) or "(no conversation id)"
    _put(ax, 0, 0.93, f"Call {title[:80]}", fontsize=18, fontweight="bold")
    about = [
        started_text(call),
        f"{timeline.sample_rate} Hz",
        ", ".join(_plain(name)[:20] for name in timeline.channels),
    ]
    if not call.finished:
        about.append("not finished: drawn from what was on disk")
    _put(ax, 1, 0.93, "   ·   ".join(part for part in about if part), fontsize=10, ha="right", color=THEME["quiet"])

    tiles = _tiles(call)
    width = 1 / len(tiles)
    for index, (label, value, note) in enumerate(tiles):
        x = index * width
        ax.add_patch(Rectangle((x, 0.28), width - 0.008, 0.48, color=THEME["tile"], linewidth=0))
        _put(ax, x + 0.008, 0.665, label, fontsize=9, color=THEME["quiet"])
        _put(ax, x + 0.008, 0.50, value, fontsize=15, fontweight="bold")
        _put(ax, x + 0.008, 0.345, note, fontsize=8.5, color=THEME["quiet"])

    identity = timeline.identity
    if identity:
        balanced = identity.get("balanced") is True
        word = "✓ balanced" if balanced else "✗ does not balance"
        _put(ax, 0, 0.10, word, fontsize=10.5, fontweight="bold", color=THEME["good" if balanced else "bad"])
        _put(ax, 0.014 + 0.0068 * len(word), 0.10, _plain(str(identity.get("text", ""))), fontsize=10)
    else:
        _put(ax, 0, 0.10, "no packet counters were given for this call", fontsize=10, color=THEME["quiet"])


def _tiles(call: Call) -> list[tuple[str, str, str]]:
    """Label, figure and remark of each tile."""
    timeline, stats, rate = call.timeline, call.timeline.stats, call.timeline.sample_rate
    length = max(call.n_samples, 1)
    tiles = [("duration", clock_text(call.duration_s), f"{call.n_samples:,} samples")]
    if stats:
        expected, lost = int(stats.get("packets_expected", 0)), int(stats.get("packets_lost", 0))
        received = int(stats.get("packets_received", 0))
        tiles.append(("packets received", f"{received:,}", f"{expected:,} expected"))
        tiles.append(("lost", _percent(lost, expected), f"{lost:,} packets"))
    holes = f"{len(timeline.holes):,} " + ("hole" if len(timeline.holes) == 1 else "holes")
    tiles.append(("not received", f"{timeline.hole_samples / rate:.2f} s", holes))
    concealed = [spans.total for spans in timeline.concealed.values()]
    tiles.append(("concealed", f"{max(concealed) / rate:.2f} s", "longest channel" if len(concealed) > 1 else "in all"))
    if stats:
        late = int(stats.get("packets_late", 0))
        tiles.append(("jitter", f"{1000 * float(stats.get('jitter', 0)):.1f} ms", f"{late:,} late"))
    shares = [f"{100 * (1 - spans.total / length):.0f} %" for spans in timeline.silence.values()]
    if call.n_samples:
        tiles.append(("sound", " / ".join(shares[:2]), " / ".join(_plain(name)[:12] for name in timeline.channels[:2])))
    return tiles


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"


def _runs(spans: Iterable[tuple[int, int]], n_samples: int) -> list[tuple[int, int]]:
    """Spans as the page can show them: a few at least three pixels wide, many one; those that touch then joined."""
    spans = sorted(spans)
    least = max(1, (3 if len(spans) <= FEW else 1) * n_samples // COLUMNS)
    joined: list[tuple[int, int]] = []
    for position, length in spans:
        end = max(position + length, position + least)
        if joined and position <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((position, end))
    return joined


def _shade(ax: Axes, call: Call, spans: Iterable[tuple[int, int]], low: float, high: float, **style: object) -> None:
    rate = call.timeline.sample_rate
    runs = [(start / rate, (end - start) / rate) for start, end in _runs(spans, call.n_samples)]
    if runs:
        ax.broken_barh(runs, (low, high - low), **style)  # type: ignore[arg-type]


def _waves(ax: Axes, call: Call) -> None:
    """Waveforms, the first channel up and the second down, over the shading of both."""
    timeline = call.timeline
    n_channels = len(timeline.channels)
    peak = max((max(abs(int(s.min())), int(s.max())) for s in call.raw if s is not None and len(s)), default=0) / 32768
    span = min(1.0, max(0.05, 1.08 * peak))
    if n_channels == 2:
        bands = [(0.0, span), (-span, 0.0)]
    else:  # one over the other, each around its own line
        bands = [(-span - 2 * span * index, span - 2 * span * index) for index in range(n_channels)]
    handles = []
    for channel, (name, (low, high)) in enumerate(zip(timeline.channels, bands, strict=True)):
        silent, concealed = timeline.silence[name], timeline.concealed[name]
        _shade(ax, call, silent, low, high, color=THEME["silence"], linewidth=0, zorder=1)
        _shade(ax, call, concealed, low, high, color=THEME["concealed"], alpha=0.75, linewidth=0, zorder=2)
        handles.append(Patch(color=_colour(call, channel), label=_plain(name)[:20]))
    _holes(ax, call, bands[-1][0], bands[0][1])
    for kind, spans in call.spans.items():
        _shade(ax, call, spans, bands[-1][0], bands[0][1], linewidth=0.8, zorder=7, **_span_look(kind))
    for channel, (samples, (low, high)) in enumerate(zip(call.raw, bands, strict=True)):
        if samples is not None and len(samples):
            _wave(ax, call, samples, _colour(call, channel), low, high, mirrored=n_channels == 2, down=channel == 1)
    for low, _ in bands[:-1]:
        ax.axhline(low, color=THEME["quiet"], linewidth=0.8, zorder=6)
    ax.set_ylim(bands[-1][0], bands[0][1])
    ax.set_yticks([])
    ax.set_ylabel("waveform, raw")
    for channel, (low, high) in enumerate(bands):
        name = _plain(timeline.channels[channel])[:14]
        place = {"transform": ax.get_yaxis_transform(), "color": _colour(call, channel), "fontweight": "bold"}
        _put(ax, -0.008, (low + high) / 2, name, ha="right", fontsize=10, **place)
    ax.set_ylabel("")
    if call.n_samples == 0:
        _put(ax, 0.5, 0.75, "no audio", transform=ax.transAxes, ha="center", fontsize=14, color=THEME["quiet"])
    _events(ax, call)
    _legend(ax, call, handles)


def _wave(
    ax: Axes, call: Call, samples: Samples, colour: str, low: float, high: float, *, mirrored: bool, down: bool
) -> None:
    lowest, highest, share = envelope(samples, COLUMNS)
    seconds = share * len(samples) / call.timeline.sample_rate
    if mirrored:  # half a waveform each: the larger excursion of both signs
        size = np.maximum(-lowest, highest)
        lowest, highest = (-size, np.zeros_like(size)) if down else (np.zeros_like(size), size)
        ax.fill_between(seconds, lowest, highest, color=colour, linewidth=0.4, zorder=5)
    else:
        middle = (low + high) / 2
        ax.fill_between(seconds, middle + lowest, middle + highest, color=colour, linewidth=0.4, zorder=5)


def _holes(ax: Axes, call: Call, low: float, high: float) -> None:
    for cause in sorted({hole.cause for hole in call.timeline.holes}):
        spans = [(hole.position, hole.n_samples) for hole in call.timeline.holes if hole.cause == cause]
        look = _hole_look(cause)
        # Lost audio is mostly concealed; a ribbon along both edges leaves that to be seen.
        edge = 0.11 * (high - low)
        parts = [(low, low + edge), (high - edge, high)] if cause == "lost" else [(low, high)]
        outline = 0.5 if len(spans) <= FEW else 0.0
        for part in parts:
            _shade(ax, call, spans, part[0], part[1], linewidth=outline, zorder=4, **look)


def _hole_look(cause: str) -> dict[str, Any]:
    return {"facecolor": THEME["hole"], "edgecolor": THEME["hatch"], "hatch": HATCHES.get(cause, "++++")}


def _span_look(kind: str) -> dict[str, Any]:
    colour = THEME["fourth" if kind == "masked" else "third"]
    return {"facecolor": "none", "edgecolor": colour, "hatch": "\\\\\\" if kind == "masked" else "---"}


def _events(ax: Axes, call: Call) -> None:
    """A mark at the top for each event, with its kind where there is room."""
    px_to_s = max(call.duration_s, 0.1) / COLUMNS
    events = sorted(call.timeline.events[:MOST_EVENTS], key=_event_time)
    free = [0.0, 0.0]  # where the labels of each row end
    for index, event in enumerate(events):
        at = _event_time(event)
        ax.plot([at], [0.975], "v", color=THEME["ink"], markersize=6, transform=ax.get_xaxis_transform(), zorder=9)
        kind = _plain(str(event.get("kind", "")))[:24]
        end = at + (14 + 7 * len(kind)) * px_to_s
        crowded = index + 1 < len(events) and _event_time(events[index + 1]) < end
        row = 1 if crowded or at < free[0] else 0
        if at >= free[row] and end < call.duration_s:
            box = {"facecolor": THEME["paper"], "alpha": 0.75, "linewidth": 0, "pad": 1.5}
            place = {"transform": ax.get_xaxis_transform(), "bbox": box, "zorder": 8}
            _put(ax, at + 7 * px_to_s, 0.955 - 0.075 * row, kind, fontsize=8.5, **place)
            free[row] = end


def _event_time(event: dict[str, Any]) -> float:
    value = event.get("time_s")
    return float(value) if isinstance(value, (int, float)) else 0.0


def _legend(ax: Axes, call: Call, handles: list[Patch]) -> None:
    timeline, rate = call.timeline, call.timeline.sample_rate
    if any(spans.total for spans in timeline.silence.values()):
        handles.append(Patch(facecolor=THEME["silence"], label="silence"))
    if any(spans.total for spans in timeline.concealed.values()):
        handles.append(Patch(facecolor=THEME["concealed"], alpha=0.75, label="concealed"))
    for cause in sorted({hole.cause for hole in timeline.holes}):
        seconds = sum(hole.n_samples for hole in timeline.holes if hole.cause == cause) / rate
        handles.append(Patch(linewidth=0.5, label=f"{_plain(cause)[:16]} ({seconds:.2f} s)", **_hole_look(cause)))
    for kind, spans in call.spans.items():
        seconds = sum(length for _, length in spans) / rate
        handles.append(Patch(linewidth=0.5, label=f"{kind} ({seconds:.2f} s)", **_span_look(kind)))
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.005),
        ncols=len(handles),
        frameon=False,
        fontsize=9.5,
        labelcolor=THEME["ink"],
        handlelength=1.6,
        columnspacing=1.6,
        borderaxespad=0.0,
    )


def _levels(ax: Axes, call: Call) -> None:
    rate = call.timeline.sample_rate
    for channel, samples in enumerate(call.raw):
        if samples is not None and len(samples):
            level, middle = levels(samples, COLUMNS // 2, max(1, rate // 50))
            ax.plot(middle / rate, level, color=_colour(call, channel), linewidth=1.0)
    ax.set_ylim(-90, 0)
    ax.set_yticks([-80, -60, -40, -20, 0])
    ax.grid(True, axis="y", color=THEME["rule"], linewidth=0.6)
    ax.set_ylabel("level\ndBov")


def _depth(ax: Axes, call: Call) -> None:
    rate, series = call.timeline.sample_rate, call.series
    depth, at = thin(series["depth"], COLUMNS)
    seconds = series["position"][at] / rate
    ax.fill_between(seconds, 0, depth, step="post", color=THEME["first"], alpha=0.25, linewidth=0)
    ax.step(seconds, depth, where="post", color=THEME["first"], linewidth=1.0, label="depth")
    ax.step(seconds, series["target"][at], where="post", color=THEME["ink"], linewidth=1.4, ls="--", label="target")
    ax.set_ylim(0, max(1.0, 1.45 * _highest(depth), 1.45 * _highest(series["target"])))
    ax.set_ylabel("buffer\npackets")
    _corner_legend(ax)


def _network(ax: Axes, call: Call) -> None:
    rate, series = call.timeline.sample_rate, call.series
    jitter, at = thin(series["jitter_ms"], COLUMNS)
    ax.plot(series["position"][at] / rate, jitter, color=THEME["third"], linewidth=1.2, label="jitter")
    ax.set_ylim(0, max(1.0, 1.4 * _highest(jitter)))
    ax.set_ylabel("jitter\nms")
    loss, at = thin(100 * series["loss_rate"], COLUMNS)
    other = ax.twinx()
    seconds = series["position"][at] / rate
    other.fill_between(seconds, 0, loss, step="post", color=THEME["concealed"], alpha=0.3, linewidth=0)
    other.step(seconds, loss, where="post", color=THEME["fourth"], linewidth=1.2, label="loss")
    other.set_ylim(0, max(1.0, 1.4 * _highest(loss)))
    other.set_ylabel("loss\n%")
    _style(other)
    lines = [*ax.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    _corner_legend(other, lines)


def _highest(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0


def _corner_legend(ax: Axes, lines: Sequence[Artist] | None = None) -> None:
    more = {} if lines is None else {"handles": lines}
    legend = ax.legend(loc="upper right", ncols=2, fontsize=8.5, labelcolor=THEME["ink"], handlelength=1.8, **more)
    legend.get_frame().set(facecolor=THEME["paper"], edgecolor="none", alpha=0.8)


def _bracket(ax: Axes, start_s: float, end_s: float) -> None:
    """Mark under the waveform which part the spectra show."""
    bottom = ax.get_ylim()[0]
    ax.plot([start_s, end_s], [bottom, bottom], color=THEME["ink"], linewidth=5, solid_capstyle="butt", zorder=7)


def _spectrum_window(call: Call) -> tuple[int, int, int]:
    """Channel, first sample and length of the before and after picture.

    The noisiest channel with sound on it, where it has the most sound: there a gate shows what it does.
    """
    timeline = call.timeline
    present = [index for index, samples in enumerate(call.raw) if samples is not None and len(samples)]
    if not present:
        return 0, 0, 0
    length = round(SPECTRUM_S * timeline.sample_rate)
    best = (-1.0, -1.0, 0, 0, 0)
    for index in present:
        samples = call.raw[index]
        assert samples is not None
        level, middle = levels(samples, COLUMNS // 2, max(1, timeline.sample_rate // 50))
        sounding = np.ones(len(middle))
        for start, n in timeline.silence[timeline.channels[index]]:
            sounding[np.searchsorted(middle, start) : np.searchsorted(middle, start + n)] = 0.0
        within = np.searchsorted(middle, middle + length) - np.arange(len(middle))  # columns of each window
        total = np.concatenate([[0.0], np.cumsum(sounding)])
        sums = total[np.arange(len(middle)) + within] - total[:-1]
        first = int(np.argmax(sums))
        floor = round(float(np.percentile(level, 10)) / 3)
        size = min(len(samples), length)
        start = min(max(0, int(middle[first])), len(samples) - size)
        best = max(best, (min(1.0, sums[first]), float(floor), -index, start, size))
    return -best[2], best[3], best[4]


def _spectra(figure: Figure, area: tuple[float, float], call: Call, window: tuple[int, int, int]) -> None:
    channel, start, length = window
    rate = call.timeline.sample_rate
    raw, clean = call.raw[channel], call.clean[channel]
    pictures = [("before: raw", raw)] + ([("after: gate and compressor", clean)] if clean is not None else [])
    gap = 0.03
    width = (RIGHT - LEFT - gap * (len(pictures) - 1)) / len(pictures)
    name = _plain(call.timeline.channels[channel])[:20]
    for index, (label, samples) in enumerate(pictures):
        left = LEFT + index * (width + gap)
        ax = figure.add_axes((left, area[0], width, area[1]))
        _style(ax)
        if samples is not None and length:
            power = spectrogram(samples[start : start + length], rate, 900)
            extent = (start / rate, (start + length) / rate, 0.0, rate / 2000)
            ax.imshow(power, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-95, vmax=-20)
            _time_axis(ax, extent[0], extent[1], labelled=True, most=9)
            ax.grid(False)
            ax.yaxis.set_major_locator(MultipleLocator(1 if rate <= 16000 else 4))
        else:
            ax.set(xticks=[], yticks=[])
            _put(ax, 0.5, 0.5, "no audio", transform=ax.transAxes, ha="center", color=THEME["quiet"])
        if clean is None:
            label = "raw (no cleaned track was recorded)"
        title = f"{name}, {label}"
        if index == 0 and length < call.n_samples:
            title += f"   {clock_text(start / rate)} – {clock_text((start + length) / rate)}, marked under the waveform"
        ax.set_title(title, fontsize=10, color=THEME["ink"], loc="left", pad=5, parse_math=False)
        if index == 0:
            ax.set_ylabel("kHz")
        else:
            ax.tick_params(labelleft=False)


class Lanes:
    """Transcripts under the audio, one lane a channel: the text itself, or numbers and a list when it does not fit."""

    POINTS = 9.0
    MOST_LINES = 5
    LIST_ROWS, LIST_COLUMNS = 14, 2

    def __init__(self, call: Call, figure: Figure) -> None:
        self.call = call
        self._renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        known = call.timeline.channels
        strange = any(entry.channel not in known for entry in call.transcripts)
        self._lanes = [*known, ""] if strange else list(known)
        self._boxes = self._lay_out() if call.transcripts else []
        self.listed = bool(call.transcripts) and self._boxes is None
        lines = max((len(text) for *_, text in self._boxes), default=1) if self._boxes else 1
        self._lane_in = 0.30 if self.listed else 0.14 + 0.165 * lines
        used = [lane for lane in self._lanes if any(self._lane(entry) == lane for entry in call.transcripts)]
        self._lanes = used or self._lanes
        self.height_in = self._lane_in * len(self._lanes) + 0.06
        rows = min(self.LIST_ROWS, -(-len(call.transcripts) // self.LIST_COLUMNS))
        self.list_height_in = 0.30 + 0.21 * rows

    def draw(self, ax: Axes) -> None:
        """Lanes on the time axis."""
        rate = self.call.timeline.sample_rate
        n_lanes = len(self._lanes)
        ax.set_ylim(0, n_lanes)
        ax.set_yticks([])
        for index, lane in enumerate(self._lanes):
            label = {"transform": ax.get_yaxis_transform(), "color": self._shade_of(lane), "fontweight": "bold"}
            _put(ax, -0.008, n_lanes - index - 0.5, _plain(lane)[:14] or "?", ha="right", fontsize=10, **label)
            if index:
                ax.axhline(n_lanes - index, color=THEME["rule"], linewidth=0.8)
        if self.listed:
            self._draw_numbers(ax)
            return
        px_to_s = max(self.call.duration_s, 0.1) / COLUMNS
        for entry, x, lines in self._boxes or ():
            top = n_lanes - self._lanes.index(self._lane(entry)) - 0.07
            colour = self._shade_of(self._lane(entry))
            start = entry.position / rate
            length = max(entry.n_samples / rate, 3 * px_to_s)
            ax.plot([start, start + length], [top, top], color=colour, linewidth=3, solid_capstyle="butt", clip_on=True)
            text = "\n".join(lines)
            _put(ax, x * px_to_s, top - 0.07, text, fontsize=self.POINTS, va="top", linespacing=1.15, clip_on=True)

    def draw_list(self, ax: Axes) -> None:
        """The texts to the numbers."""
        ax.set_axis_off()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        entries = self.call.transcripts
        shown = entries[: self.LIST_ROWS * self.LIST_COLUMNS]
        more = f"  (first {len(shown)} of {len(entries)}; all are in report.html)" if len(shown) < len(entries) else ""
        inch = 1 / self.list_height_in
        _put(ax, 0, 1 - 0.1 * inch, f"Transcript{more}", fontsize=10, fontweight="bold")
        rows = -(-len(shown) // self.LIST_COLUMNS)
        for index, entry in enumerate(shown):
            x = index // rows / self.LIST_COLUMNS
            y = 1 - (0.36 + 0.21 * (index % rows)) * inch
            when = clock_text(entry.position / self.call.timeline.sample_rate)
            _put(ax, x + 0.020, y, str(index + 1), fontsize=9, ha="right", color=THEME["quiet"])
            _put(ax, x + 0.062, y, when, fontsize=9, ha="right", color=THEME["quiet"])
            colour = self._shade_of(self._lane(entry))
            _put(ax, x + 0.069, y, _plain(entry.channel)[:10], fontsize=9, fontweight="bold", color=colour)
            limit = (0.5 - 0.14) * WIDTH_IN * DPI
            _put(ax, x + 0.128, y, self._fit(_plain(entry.text), limit), fontsize=9)

    def _lane(self, entry: Transcript) -> str:
        return entry.channel if entry.channel in self.call.timeline.channels else ""

    def _shade_of(self, lane: str) -> str:
        channels = self.call.timeline.channels
        return _colour(self.call, channels.index(lane)) if lane in channels else THEME["quiet"]

    def _draw_numbers(self, ax: Axes) -> None:
        rate, n_lanes = self.call.timeline.sample_rate, len(self._lanes)
        px_to_s = max(self.call.duration_s, 0.1) / COLUMNS
        free = dict.fromkeys(self._lanes, -1.0)
        for index, lane in enumerate(self._lanes):
            y = n_lanes - index
            spans = [(entry.position, entry.n_samples) for entry in self.call.transcripts if self._lane(entry) == lane]
            _shade(ax, self.call, spans, y - 0.30, y - 0.14, color=self._shade_of(lane), linewidth=0)
        for number, entry in enumerate(self.call.transcripts, 1):
            lane, start = self._lane(entry), entry.position / rate
            if start >= free[lane]:
                y = n_lanes - self._lanes.index(lane)
                _put(ax, start, y - 0.64, str(number), fontsize=8.5, clip_on=True)
                free[lane] = start + (10 + 8 * len(str(number))) * px_to_s

    def _lay_out(self) -> list[tuple[Transcript, float, list[str]]] | None:
        """Each text with its left edge in pixels and its lines; None if one of them finds no room."""
        boxes: list[tuple[Transcript, float, list[str]]] = []
        px = COLUMNS / max(self.call.n_samples, 1)
        for lane in self._lanes:
            entries = [entry for entry in self.call.transcripts if self._lane(entry) == lane]
            if len(entries) > 60:
                return None
            taken = 0.0
            for index, entry in enumerate(entries):
                x = max(entry.position * px, taken)
                end = entries[index + 1].position * px if index + 1 < len(entries) else float(COLUMNS)
                text = _plain(entry.text)
                # At the right edge, use the room on the left that nobody needs.
                wanted = self._width(text) / (self.MOST_LINES - 1) + 40
                if index + 1 == len(entries):
                    x = max(taken, min(x, COLUMNS - wanted))
                lines = self._wrap(text, min(end - x, 460.0) - 8)
                if lines is None:
                    return None
                boxes.append((entry, x, lines))
                taken = x + max(map(self._width, lines), default=0.0) + 8
        return boxes

    def _width(self, text: str) -> float:
        font = FontProperties(family=FONT, size=self.POINTS)
        return float(self._renderer.get_text_width_height_descent(text, font, False)[0])

    def _wrap(self, text: str, room: float) -> list[str] | None:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if self._width(longer) <= room:
                lines[-1] = longer
            elif self._width(word) <= room and len(lines) < self.MOST_LINES:
                lines.append(word)
            else:
                return None
        return lines

    def _fit(self, text: str, room: float) -> str:
        if self._width(text) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self._width(text[:middle] + "…") <= room:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…"
