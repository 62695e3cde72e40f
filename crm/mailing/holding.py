"""Hold every send of a database that is not the one which went on: a restored backup, or a copy.

It knows nothing of what left since. So whatever might have left is in doubt, and nothing leaves until a person says so:

    scheduled, its hour to come ──> held(restored)               released: it waits for its hour
    not begun, its hour passed  ──> held(restored_may_have_left) released: each of its people is in doubt, nobody is written to
    begun                       ──> held(restored_begun)         what was open is in doubt
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock
from crm.mailing.deliveries import OPEN, RESTORED
from crm.mailing.models import Delivery, DeliveryState, Notice, NoticeMail, Send, SendState
from crm.mailing.sends import OVER

WHY = "La base de datos se restauró de un respaldo o es una copia"


@dataclass(frozen=True)
class Held:
    """What was held: sends whose hour is to come, sends that may have left whole, sends that had begun; mails put in doubt."""

    to_come: int = 0
    may_have_left: int = 0
    begun: int = 0
    in_doubt: int = 0

    @property
    def sends(self) -> int:
        return self.to_come + self.may_have_left + self.begun


def hold_all(session: Session) -> Held:
    """Hold what is not over and put in doubt what may have left. Twice is the same.

    No notice tells of it by mail: from a copy nothing at all leaves by itself. Those that were waiting may have left too.
    """
    session.info["why"] = WHY
    found = [_hold(send) for send in session.scalars(sa.select(Send).where(Send.state.not_in(OVER)).with_for_update())]
    session.flush()
    open_ones = sa.and_(Delivery.state.in_(OPEN), Delivery.send_id.in_(sa.select(Send.id).where(Send.started_at.is_not(None))))
    in_doubt = session.scalars(
        sa.update(Delivery)
        .where(sa.or_(open_ones, Delivery.state == DeliveryState.SENDING))
        .values(state=DeliveryState.IN_DOUBT, reason=RESTORED, settled_at=clock.now())
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    ).all()
    # No flight recorder and no late answer of the other life may settle anything in this one.
    session.execute(sa.update(Delivery).where(Delivery.token.is_not(None)).values(token=None, lease_until=None))
    session.execute(sa.update(Notice).where(Notice.mail == NoticeMail.WAITING).values(mail=NoticeMail.DROPPED))
    session.expire_all()
    return Held(
        to_come=found.count("restored"),
        may_have_left=found.count("restored_may_have_left"),
        begun=found.count("restored_begun"),
        in_doubt=len(in_doubt),
    )


def _hold(send: Send) -> str:
    if send.started_at is not None:
        reason = "restored_begun"
    else:
        # One that somebody had stopped may have been released since; before its hour nothing leaves in any case.
        send.may_have_left = send.may_have_left or send.starts_at <= clock.now()
        reason = "restored_may_have_left" if send.may_have_left else "restored"
    send.state, send.reason, send.would_reach = SendState.HELD, reason, None
    return reason
