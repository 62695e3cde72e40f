"""Templates of mails over the API."""

from fastapi import APIRouter

from api.dependencies import Page, ThisCall, page
from api.guard import GuardedRoute
from crm.mailing import templates
from crm.mailing.schemas import TemplateOut

router = APIRouter(tags=["templates"], route_class=GuardedRoute)


@router.get("/templates")
def list_templates(call: ThisCall) -> Page[TemplateOut]:
    """Every template with its languages, its purpose and content class when none is told, and the merge fields of its texts.

    A field is written `{{ nombre }}`, or `{{ nombre | text if it is missing }}`. A field of kind `text` may stand in any
    text and in the query of a link; one of kind `link` is a whole link.
    """
    return page(call, [templates.to_out(template) for template in templates.all_templates().values()], None)
