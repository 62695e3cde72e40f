"""Contacts: the people of the Red, one by one and in lists. Many at once come in through `taking_in.py`."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.orm.interfaces import ORMOption

from crm.database import keyset_page
from crm.errors import Conflict, CrmError, Gone, NotFound
from crm.people import changing, duplicates
from crm.people.addresses import address_key as address_key
from crm.people.addresses import mask_address as mask_address
from crm.people.addresses import read_address
from crm.people.consent import active_addresses, address_state, last_words, mail_state_of, source_of
from crm.people.consent import record as record_consent
from crm.people.merging import NAMES
from crm.people.models import Contact, EmailAddress, Post, RowStatus
from crm.people.models import visible as visible
from crm.people.names import display_name, list_name
from crm.people.places import city_for, place_of
from crm.people.schemas import CityOut, ConsentOut, ContactIn, ContactOut, ContactPatch, EmailOut
from crm.people.schemas import Taken as Taken
from crm.people.suppression import check_suppression_key
from crm.people.taking_in import take_in as take_in
from crm.people.taking_in import take_in_as_new
from crm.people.taking_in import take_in_many as take_in_many

TELLING = frozenset({*NAMES, "preferred_name", "emails", "phone", "city", "country"})
"""Fields of a change that duplicates are told by."""


def whole() -> Sequence[ORMOption]:
    """Options that load all that `to_out` shows."""
    return (
        selectinload(Contact.city),
        selectinload(Contact.addresses).selectinload(EmailAddress.suppressions),
        selectinload(Contact.tags),
        selectinload(Contact.leader_roles),
        selectinload(Contact.posts).selectinload(Post.organization),
        selectinload(Contact.consents),
    )


def create(session: Session, data: ContactIn) -> Contact:
    """Add a person. InvalidInput(address_invalid); Conflict(address_of_other_person, suppressed)."""
    addresses = [read_address(text) for text in data.emails]
    changing.check_free(session, [address.key for address in addresses], contact_id=None)
    taken = take_in_as_new(session, data)
    if taken.status is RowStatus.REFUSED or taken.contact_id is None:
        raise Conflict(taken.code or "suppressed", field="emails")
    return get(session, taken.contact_id)


def get(session: Session, contact_id: int) -> Contact:
    """A person with all that `to_out` shows; NotFound(contact_not_found), also when blocked.

    Gone(contact_joined), with ``kept_id``, for a record that was joined into another.
    """
    statement = select(Contact).where(Contact.id == contact_id, visible()).options(*whole())
    found = session.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise _missing(session, contact_id)
    return found


def _missing(session: Session, contact_id: int) -> CrmError:
    kept_id = session.scalar(select(Contact.merged_into_id).where(Contact.id == contact_id, Contact.blocked_at.is_(None)))
    return Gone("contact_joined", kept_id=kept_id) if kept_id is not None else NotFound("contact_not_found")


def change(session: Session, contact_id: int, data: ContactPatch, *, version: int | None = None) -> Contact:
    """Change the fields that are present. ``version``, when given, must be the one that was read: Conflict(contact_changed).

    Also Conflict(address_of_other_person, suppressed), InvalidInput(address_invalid, name_required), and for addresses and
    consents Unavailable(suppression_key_missing).
    """
    if data.model_fields_set & {"emails", "consents"}:
        check_suppression_key(session)
    session.flush()
    contact = get(session, contact_id)
    if version is not None and contact.version != version:
        raise Conflict("contact_changed")
    told = {name: getattr(data, name) for name in data.model_fields_set}
    try:
        changing.apply(session, contact, told)
    except StaleDataError as error:
        raise Conflict("contact_changed") from error
    if told.keys() & TELLING:
        duplicates.compare(session, [contact_id])
    for said in told.get("consents") or ():
        record_consent(session, contact_id, said, source=source_of(session))
    session.expire(contact)
    return get(session, contact_id)


def settle_city(session: Session, contact_id: int, geoname_id: int) -> Contact:
    """Say which city a person lives in, of several of one name; NotFound(contact_not_found, city_not_found)."""
    place = place_of(geoname_id)
    if place is None:
        raise NotFound("city_not_found")
    contact = get(session, contact_id)
    city = city_for(session, place)
    if contact.city_id != city.id:
        contact.city, contact.city_id, contact.city_as_typed, contact.country = city, city.id, None, city.country
        duplicates.compare(session, [contact_id])
    return contact


def find(
    session: Session, condition: ColumnElement[bool] | None = None, *, cursor: str | None = None, limit: int = 50
) -> tuple[list[Contact], str | None]:
    """A page of visible people under a condition, by surname, and the cursor of the next one."""
    statement = select(Contact).where(visible()).options(*whole())
    if condition is not None:
        statement = statement.where(condition)
    rows, following = keyset_page(session, statement, [Contact.sort_key, Contact.id], cursor=cursor, limit=limit)
    return [row[0] for row in rows], following


def to_out(contact: Contact, *, masked: bool = False) -> ContactOut:
    """A loaded contact as it is shown; masked hides addresses and the phone from who may not see them."""
    post = _current_post(contact)
    return ContactOut(
        **{name: getattr(contact, name) for name in _SHOWN},
        display_name=display_name(contact),
        list_name=list_name(contact),
        phone=_mask_phone(contact.phone) if masked else contact.phone,
        city=_city_out(contact),
        emails=[_email_out(address, masked=masked) for address in active_addresses(contact)],
        tags=[tag.name for tag in contact.tags],
        leader_sectors=[role.sector for role in contact.leader_roles if role.until is None],
        organization=post.organization.name if post else None,
        post=post.title if post else None,
        consents=[ConsentOut.model_validate(said, from_attributes=True) for said in last_words(contact)],
        mail_state=mail_state_of(contact),
    )


_SHOWN: tuple[str, ...] = (*NAMES, "id", "preferred_name", "treatment", "academic_title", "language", "city_as_typed", "country")
_SHOWN += ("home_borough", "source", "created_at", "changed_at", "version")


def _current_post(contact: Contact) -> Post | None:
    return next((post for post in reversed(contact.posts) if post.until is None), None)


def _city_out(contact: Contact) -> CityOut | None:
    return CityOut.model_validate(contact.city, from_attributes=True) if contact.city else None


def _email_out(address: EmailAddress, *, masked: bool) -> EmailOut:
    shown = mask_address(address.address) if masked else address.address
    return EmailOut(address=shown, preferred=address.is_preferred, state=address_state(address))


def _mask_phone(phone: str | None) -> str | None:
    return f"***{phone[-2:]}" if phone else None
