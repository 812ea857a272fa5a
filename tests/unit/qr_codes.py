"""QR codes as a scanner sees them: what the service draws becomes an image, which a decoder reads that knows nothing of who made it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import zxingcpp

DARK, LIGHT = 0, 255
QUIET_MODULES = 4  # ISO/IEC 18004, 9.1: as wide has what is left free on each side to be
BLOCKS = {"█": (LIGHT, LIGHT), "▀": (LIGHT, DARK), "▄": (DARK, LIGHT), " ": (DARK, DARK)}  # an upper and a lower module
DRAWN = re.compile(r"([Mmh])\s*(-?[0-9.]+)(?:[ ,]?(-?[0-9.]+))?")


def read_svg(svg: str) -> zxingcpp.Barcode:
    """The one code in a drawing that is all of it. Raises AssertionError."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    [path] = root
    scaled = re.fullmatch(r"scale\(([0-9.]+)\)", path.attrib["transform"])
    assert scaled and path.attrib["stroke"] == "#000"
    side = round(float(root.attrib["width"]) / float(scaled[1]))
    modules = [[LIGHT] * side for _ in range(side)]
    x = y = 0.0
    for command, first, second in DRAWN.findall(path.attrib["d"]):
        if command == "h":  # a line as wide as a module, by whose middle it goes
            for column in range(round(x), round(x + float(first))):
                modules[int(y)][column] = DARK
            x += float(first)
        else:
            x, y = (float(first), float(second)) if command == "M" else (x + float(first), y + float(second))
    return read_modules(modules)


def read_terminal(text: str) -> zxingcpp.Barcode:
    """The one code among these lines, as a terminal with a dark ground shows it. Raises AssertionError."""
    lines = [line for line in text.splitlines() if line.strip() and set(line) <= BLOCKS.keys()]
    rows = [[BLOCKS[block][half] for block in line] for line in lines for half in (0, 1)]
    return read_modules(rows[: len(rows[0])])  # a code is a square; half of its last line may be below it


def read_modules(modules: list[list[int]], pixels: int = 4) -> zxingcpp.Barcode:
    """By rows, each module drawn with so many pixels a side."""
    edges = [*modules[:QUIET_MODULES], *modules[-QUIET_MODULES:]]
    assert all(module == LIGHT for row in edges for module in row), "nothing is left free around it"
    assert all(module == LIGHT for row in modules for module in (*row[:QUIET_MODULES], *row[-QUIET_MODULES:]))
    width, height = len(modules[0]) * pixels, len(modules) * pixels
    image = b"".join(bytes(module for module in row for _ in range(pixels)) * pixels for row in modules)
    [found] = zxingcpp.read_barcodes(memoryview(image).cast("B", (height, width)), try_invert=False)
    assert found.valid and found.format == zxingcpp.BarcodeFormat.QRCode
    return found
