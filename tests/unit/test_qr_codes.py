"""The QR code of a shared key holds its very link: in the answer, and in the terminal of who gave it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from py_service.commands.show import show
from py_service.commands.verb import Shape
from py_service.passes.link import link_of, new_token, qr_svg
from tests.unit.qr_codes import read_svg, read_terminal

URLS = [
    "https://nexkey.example",
    "http://127.0.0.1:8080/",
    "https://keys.nordlicht.example/berlin/entrance",
    f"https://{'a' * 60}.example/{'b' * 400}",
]


@pytest.mark.parametrize("public_url", URLS)
def test_the_drawing_holds_the_link_and_bears_a_scratch(public_url: str) -> None:
    link = link_of(public_url, new_token())
    read = read_svg(qr_svg(link))
    assert read.text == link and read.bytes == link.encode()
    assert read.ec_level == "M", "so that 15 % of it may be gone"


@given(token=st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=43, max_size=43))
def test_every_token_is_read_as_it_is(token: str) -> None:
    link = link_of("https://nexkey.example", token)
    assert read_svg(qr_svg(link)).text == link


def test_a_terminal_shows_the_link_as_a_code_and_a_pipe_does_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = link_of("https://nexkey.example", new_token())
    shape = Shape(fields=("id",), scanned="link")
    show(shape, {"id": "pass_1", "link": link})
    assert "█" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(shape, {"id": "pass_1", "link": link})
    assert read_terminal(capsys.readouterr().out).text == link
