"""Cities over the API: the gazetteer that resolves what people write."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.dependencies import Limit, Page, ThisCall, page
from api.guard import GuardedRoute
from crm.people import places
from crm.people.places import Place

router = APIRouter(tags=["cities"], route_class=GuardedRoute)


class PlaceOut(BaseModel):
    """A city of over 15,000 people (GeoNames, CC BY 4.0)."""

    geoname_id: int
    name: str
    country: str
    country_name: str
    region: str
    zone: str
    latitude: float
    longitude: float
    population: int


@router.get("/cities")
def list_cities(
    call: ThisCall,
    q: Annotated[str, Query(max_length=200, description="How a name begins: Los Ang, San José, Costa Rica.")] = "",
    country: Annotated[str | None, Query(max_length=100, description="Code or name of a country.")] = None,
    limit: Limit = 20,
) -> Page[PlaceOut]:
    """Cities whose name begins with a text, the largest first; a contact's city is best written as it stands here."""
    return page(call, [_to_out(place) for place in places.search(q, country, limit)], None)


def _to_out(place: Place) -> PlaceOut:
    return PlaceOut(
        geoname_id=place.geoname_id,
        name=place.name,
        country=place.country,
        country_name=places.country_name(place.country),
        region=place.region,
        zone=place.zone,
        latitude=place.latitude,
        longitude=place.longitude,
        population=place.population,
    )
