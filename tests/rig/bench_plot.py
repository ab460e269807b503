# SPDX-License-Identifier: GPL-2.0
"""Draw panels of curves as a small SVG."""

import math
from html import escape

WIDTH, HEIGHT = 600, 420                    # size of a panel; below, its axes
LEFT, RIGHT, TOP, BOTTOM = 70, 580, 40, 360
COLORS = ["#9400d3", "#009e73", "#56b4e9", "#e69f00", "#c8b400", "#0072b2", "#e51e10"]


class Axis:
    """Convert data to pixels. Bounds are rounded to ticks."""

    def __init__(self, values, pixels, log):
        self.log, self.pixels = log, pixels
        low, high = min(values), max(values)
        if log:
            self.low, self.high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self.high = max(self.high, self.low + 1)
            self.ticks = [10.0 ** i for i in range(self.low, self.high + 1)]
        else:
            self.low, self.high = low, high
            self.ticks = [low + (high - low) * i / 5 for i in range(6)]

    def at(self, value):
        value = math.log10(value) if self.log else value
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.pixels[0] + part * (self.pixels[1] - self.pixels[0]), 1)


def number(value):
    return f"{value:g}" if value < 1e5 else f"{value:.0e}".replace("+0", "")


class Panel:
    """One diagram; @curves: (color, title, points), the points being pairs of numbers."""

    def __init__(self, title, xlabel, curves, log_y=True, x=None, y=None, dots=False,
                 key=(LEFT + 20, TOP + 16)):
        self.title, self.xlabel, self.curves, self.dots, self.key = title, xlabel, curves, dots, key
        points = [point for _, _, some in curves for point in some]
        self.x = Axis(x or [p[0] for p in points], (LEFT, RIGHT), True)
        self.y = Axis(y or [p[1] for p in points], (BOTTOM, TOP), log_y)

    def axes(self):
        grid, text = "", []
        for tick in self.x.ticks:
            x = self.x.at(tick)
            grid += f"M{x:g} {TOP}V{BOTTOM}"
            text.append(f'<text x="{x:g}" y="{BOTTOM + 18}">{number(tick)}</text>')
        for tick in self.y.ticks:
            y = self.y.at(tick)
            grid += f"M{LEFT} {y:g}H{RIGHT}"
            text.append(f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">'
                        f'{number(tick)}</text>')
        middle = (LEFT + RIGHT) // 2
        return [f'<path d="{grid}" stroke="#ddd"/>',
                f'<path d="M{LEFT} {TOP}H{RIGHT}V{BOTTOM}H{LEFT}z" stroke="#000"/>',
                '<g fill="#000" text-anchor="middle">',
                f'<text x="{middle}" y="{TOP - 14}">{escape(self.title)}</text>',
                f'<text x="{middle}" y="{BOTTOM + 40}">{escape(self.xlabel)}</text>',
                *text, "</g>"]

    def draw(self):
        lines = self.axes()
        x, y = self.key
        for i, (color, title, points) in enumerate(self.curves):
            places = list(dict.fromkeys((self.x.at(px), self.y.at(py)) for px, py in points))
            path = "M" + "L".join(f"{px:g} {py:g}" for px, py in places)
            mark = f"M{x} {y + 16 * i}h30"
            lines.append(f'<path d="{path}{mark}" stroke="{COLORS[color]}" stroke-width="2"/>')
            if self.dots:
                dots = "".join(f"M{px:g} {py:g}h0" for px, py in places)
                lines.append(f'<path d="{dots}M{x + 15} {y + 16 * i}h0" '
                             f'stroke="{COLORS[color]}" stroke-width="7" stroke-linecap="round"/>')
            lines.append(f'<text x="{x + 38}" y="{y + 16 * i + 4}" fill="#000">'
                         f'{escape(title)}</text>')
        return lines


def draw(panels):
    """In two columns."""
    rows = math.ceil(len(panels) / 2)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" '
             f'height="{rows * HEIGHT}" font-family="sans-serif" font-size="12" fill="none">',
             '<rect width="100%" height="100%" fill="#fff"/>']
    for i, panel in enumerate(panels):
        lines.append(f'<g transform="translate({i % 2 * WIDTH} {i // 2 * HEIGHT})">')
        lines += panel.draw()
        lines.append("</g>")
    lines.append("</svg>")
    return "\n".join(lines) + "\n"
