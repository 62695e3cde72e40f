"""The map of the network: where a city falls and how large its circle is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SCALE = 180
CENTRE = (500.0, 250.0)
"""As `web/assets.mjs` draws the world."""
# Polynomial of the equal-earth projection (Šavrič, Patterson and Jenny, 2018).
A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
M = math.sqrt(3) / 2
LEAST_RADIUS, MOST_RADIUS = 4.2, 23.2


@dataclass(frozen=True)
class Region:
    """A part of the world that the map may show: its name and its window, in units of the drawing."""

    name: str
    left: float
    top: float
    width: float
    height: float

    @property
    def view_box(self) -> str:
        return f"{self.left:g} {self.top:g} {self.width:g} {self.height:g}"


REGIONS = {
    "mundo": Region("Mundo", 70, 34, 880, 371.6),
    "norteamerica": Region("Norteamérica", 115, 62, 262, 110.6),
    "europa": Region("Europa", 428, 46, 190, 80.2),
}


@dataclass(frozen=True)
class Dot:
    """A circle on the map."""

    x: float
    y: float
    radius: float
    title: str


def equal_earth(latitude: float, longitude: float) -> tuple[float, float]:
    """Where a place falls on the drawing (1000 wide, 500 high)."""
    theta = math.asin(M * math.sin(math.radians(latitude)))
    square = theta * theta
    sixth = square**3
    x = math.radians(longitude) * math.cos(theta) / (M * (A1 + 3 * A2 * square + sixth * (7 * A3 + 9 * A4 * square)))
    y = theta * (A1 + A2 * square + sixth * (A3 + A4 * square))
    return CENTRE[0] + SCALE * x, CENTRE[1] - SCALE * y


def dots(places: Sequence[tuple[str, float, float, int]], region: Region) -> list[Dot]:
    """Circles of (title, latitude, longitude, people) that fall in a region, largest first; the area tells the people."""
    most = max((people for *_, people in places), default=1)
    zoom = region.width / 900
    made = []
    for title, latitude, longitude, people in sorted(places, key=lambda place: -place[3]):
        x, y = equal_earth(latitude, longitude)
        radius = (LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * math.sqrt(people / most)) * zoom
        if _is_inside(x, y, region):
            made.append(Dot(round(x, 1), round(y, 1), round(radius, 2), f"{title}: {people:,}"))
    return made


def _is_inside(x: float, y: float, region: Region) -> bool:
    return region.left - 9 <= x <= region.left + region.width + 9 and region.top - 9 <= y <= region.top + region.height + 9
