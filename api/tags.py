"""Tags over the API."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import Cursor, Limit, Page, Reading, ThisCall, page
from api.guard import GuardedRoute
from crm.people import tags
from crm.people.schemas import TagOut

router = APIRouter(tags=["tags"], route_class=GuardedRoute)


@router.get("/tags")
def list_tags(
    session: Reading,
    call: ThisCall,
    q: Annotated[str | None, Query(max_length=80, description="Words of the name, without regard to accents.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[TagOut]:
    """Tags by name, each with how many people carry it."""
    return page(call, *tags.find(session, text=q, cursor=cursor, limit=limit))
