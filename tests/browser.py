"""A Chromium to look at pages with, and what a test asks a page.

The fixture is ``browser`` in ``tests/conftest.py``; ``make browser`` installs one where it may.
"""

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def chromium() -> "Iterator[Browser]":
    """A browser while it is iterated over.

    Skips the test, and says so, where there is no Chromium.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    installed = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    # A sandbox of its own is not to be had as root, as in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as api:
        try:
            running = api.chromium.launch(executable_path=installed, args=arguments)
        except playwright.Error as error:
            pytest.skip(
                "no Chromium to look at pages with; install the package chromium or Google "
                f"Chrome ({str(error).splitlines()[0]})"
            )
        yield running
        running.close()


OVERLAPS = """selector => [...document.querySelectorAll(selector)].flatMap(svg => {
    const boxes = [...svg.querySelectorAll('text')].map(one =>
        [one.textContent.trim(), one.getBoundingClientRect()]);
    const found = [];
    boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        // The boxes of text are a line high, the letters in them less.
        if (wide > 0.5 && high > 0.3 * Math.min(p.height, q.height))
            found.push(svg.getAttribute('aria-label') + ': ' + a + ' / ' + b);
    }));
    return found;
})"""
"""Labels of the SVGs that a selector finds which lie on one another."""

CUT_LABELS = """selector => [...document.querySelectorAll(selector)].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(one => {
        const box = one.getBoundingClientRect();
        return box.left < frame.left - 1 || box.right > frame.right + 1
            || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
    }).map(one => svg.getAttribute('aria-label') + ': ' + one.textContent.trim());
})"""
"""Labels of the SVGs that a selector finds which lie outside of their SVG."""

CONTRASTS = """selector => {
    const canvas = document.createElement('canvas').getContext('2d');
    const parse = colour => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = rgb => {
        const [r, g, b] = rgb.map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = one => {
        for (let at = one; at; at = at.parentElement) {
            const rgba = parse(getComputedStyle(at).backgroundColor);
            if (rgba[3] === 255) return rgba;
        }
        return [255, 255, 255, 255];
    };
    const found = {};
    for (const one of document.querySelectorAll(selector)) {
        const own = [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        const box = one.getBoundingClientRect();
        if (!own || !box.width || one.closest('defs')) continue;
        const style = getComputedStyle(one);
        const ink = parse(one instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(ink.slice(0, 3)), light(behind(one).slice(0, 3))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const name = one.tagName.toLowerCase() + '.' + (one.className.baseVal ?? one.className);
        found[name] = Math.min(found[name] ?? 99, ratio);
    }
    return found;
}"""
"""The contrast of the text in the elements that a selector finds with what is behind them, by tag
and class: the least of each."""
