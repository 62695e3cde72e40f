"""Infographics that the product draws by itself, with the one font that ships with Pillow.

That font (Aileron, a subset) has no accented letters: they are drawn as the plain letter and its mark.
"""

import unicodedata
from dataclasses import dataclass
from io import BytesIO
from textwrap import wrap

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1080, 1320
COLOURS = 16
"""So few that a mail of it weighs 75 KB: the catcher keeps 1,300 of them."""
_MARGIN = 72
_PURPLE, _PINK, _INK, _SOFT, _WHITE = "#4b1f6f", "#b3136a", "#2b2333", "#f3eef7", "#ffffff"
_ROSE, _GREY = "#f5c6de", "#5d5468"
_ACUTE, _TILDE = "\N{COMBINING ACUTE ACCENT}", "\N{COMBINING TILDE}"
_HEAD, _CARD, _CARD_GAP, _DISC = 330, 250, 28, 144
LINE = 43
"""Letters of a line beside the number."""


@dataclass(frozen=True)
class Infographic:
    """What an infographic of three steps says."""

    kicker: str
    title: tuple[str, str]
    """In two lines."""
    steps: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    """Heading and text of each."""
    foot: str


def draw(told: Infographic) -> bytes:
    """The infographic as a PNG."""
    image = Image.new("RGB", (WIDTH, HEIGHT), _WHITE)
    canvas = ImageDraw.Draw(image)
    _draw_head(canvas, told)
    for number, (heading, text) in enumerate(told.steps, start=1):
        top = _HEAD + 36 + (number - 1) * (_CARD + _CARD_GAP)
        canvas.rounded_rectangle((_MARGIN, top, WIDTH - _MARGIN, top + _CARD), 28, fill=_SOFT)
        _paste_disc(image, (_MARGIN + 40, top + (_CARD - _DISC) // 2))
        _write_step(canvas, top, number, heading, text)
    _write(canvas, (_MARGIN, HEIGHT - 36), told.foot, 26, _GREY, _WHITE)
    body = BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(body, "PNG")
    return body.getvalue()


def _draw_head(canvas: ImageDraw.ImageDraw, told: Infographic) -> None:
    canvas.rectangle((0, 0, WIDTH, _HEAD), fill=_PURPLE)
    canvas.rectangle((0, _HEAD - 12, WIDTH, _HEAD), fill=_PINK)
    _write(canvas, (_MARGIN, 96), told.kicker, 32, _ROSE, _PURPLE)
    for place, line in enumerate(told.title):
        _write(canvas, (_MARGIN, 182 + 78 * place), line, 66, _WHITE, _PURPLE)


def _paste_disc(image: Image.Image, corner: tuple[int, int]) -> None:
    """A disc with soft edges: Pillow draws them hard, so it is drawn large and made smaller."""
    large = Image.new("L", (4 * _DISC, 4 * _DISC))
    ImageDraw.Draw(large).ellipse((0, 0, 4 * _DISC - 1, 4 * _DISC - 1), fill=255)
    image.paste(_PINK, corner, large.resize((_DISC, _DISC), Image.Resampling.LANCZOS))


def _write_step(canvas: ImageDraw.ImageDraw, top: int, number: int, heading: str, text: str) -> None:
    centre = (_MARGIN + 40 + _DISC // 2, top + _CARD // 2)
    canvas.text(centre, str(number), font=_font(84), fill=_WHITE, anchor="mm")
    left = _MARGIN + 224
    _write(canvas, (left, top + 104), heading, 44, _PURPLE, _SOFT)
    for place, line in enumerate(wrap(text, LINE)):
        _write(canvas, (left, top + 158 + 44 * place), line, 31, _INK, _SOFT)


# --- letters with marks ------------------------------------------------------------------------------------------------------


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # noqa: S101  # only a Pillow built without FreeType gives another
    return font


def _write(canvas: ImageDraw.ImageDraw, start: tuple[int, int], text: str, size: int, ink: str, ground: str) -> None:
    """Write a line on its base line. ``ground`` is the colour behind it."""
    font = _font(size)
    letters = [unicodedata.normalize("NFD", letter) for letter in text]
    plain = "".join(letter[0] for letter in letters)
    canvas.text(start, plain, font=font, fill=ink, anchor="ls")
    for place, letter in enumerate(letters):
        if len(letter) > 1:
            before = start[0] + font.getlength(plain[:place])
            centre = before + font.getlength(letter[0]) / 2
            _write_mark(canvas, centre, start[1], letter, size, (ink, ground))


def _write_mark(canvas: ImageDraw.ImageDraw, centre: float, base: int, letter: str, size: int, colours: tuple[str, str]) -> None:
    ink, ground = colours
    top = base + _font(size).getbbox("x" if letter[0].islower() else "X", anchor="ls")[1]
    unit = size / 100
    if letter[0] == "i":  # its dot gives way to the accent
        canvas.rectangle((centre - 9 * unit, top - 28 * unit, centre + 9 * unit, top - 4 * unit), fill=ground)
    if letter[1] == _ACUTE:
        foot, head = (centre - 5 * unit, top - 7 * unit), (centre + 9 * unit, top - 25 * unit)
        canvas.line((*foot, *head), fill=ink, width=max(2, round(8 * unit)))
    elif letter[1] == _TILDE:
        steps = ((-15, -9), (-9, -16), (-3, -15), (4, -11), (9, -11), (15, -18))
        points = [(centre + x * unit, top + y * unit) for x, y in steps]
        canvas.line(points, fill=ink, width=max(2, round(6 * unit)), joint="curve")
