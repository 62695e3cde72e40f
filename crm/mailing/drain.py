"""A run over one send: how mails leave, what is claimed, given to a connection and answered, and the source of its connections."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import NamedTuple, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.keys import Keys
from crm.mailing import fields, links, signing
from crm.mailing.compiling import Compiled
from crm.mailing.deliveries import Claimed
from crm.mailing.exchange import Exchange, Outgoing, Timeouts
from crm.mailing.faults import Reply, Step, Verdict, judge
from crm.mailing.flight import Flight
from crm.mailing.signing import Signer
from crm.mailing.splicing import Envelope, SenderLine, build
from crm.people import names
from crm.people.models import Language

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=15)
"""Longer than a mail and the one before it may take at every time-out: a living worker never loses what it holds. Content whose
answer could come after the end of the lease does not leave."""
BEGUN_WITHIN = timedelta(seconds=60)
"""A claim that nothing came of for so long goes back: the server has become slow, or this process was asleep."""
BUILT_TOGETHER = 128
"""Mails that are built in a row. Fewer cost more each, more hold up the connections and the ledger beside them (measured)."""
LOCAL_CONNECTIONS = 4
FAR_CONNECTIONS = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """How mails leave: the relay, who signs, and for how long a claim holds."""

    settings: Settings
    address: RelayAddress
    timeouts: Timeouts = field(default_factory=Timeouts)
    lease: timedelta = LEASE
    connections: int = 0
    """Open at once; 0: as many as suit the relay's place."""

    @cached_property
    def begun_before(self) -> timedelta:
        """How long after its claim a content may still begin to leave: its answer comes while the lease lasts."""
        return self.lease - timedelta(seconds=self.timeouts.message)

    @property
    def lines(self) -> int:
        return self.connections or (LOCAL_CONNECTIONS if self.address.is_local else FAR_CONNECTIONS)


@dataclass(eq=False, kw_only=True, slots=True)
class Mail(Outgoing):
    """A claimed delivery on its way. Its ``content`` is built when a connection asks for it, or for one shortly before it."""

    claimed: Claimed
    claimed_at: datetime


class Answer(NamedTuple):
    """What the server said of a mail; None: nothing of it left. ``fault`` is why we could not even build it."""

    claimed: Claimed
    reply: Reply | None = None
    fault: str | None = None
    is_accepted: bool = False
    """As `judge` has it."""

    @property
    def is_given_back(self) -> bool:
        return self.reply is None and self.fault is None


@dataclass(eq=False)
class Drain:
    """One run over one send; the source of its connections' mails. Ends when nothing is due, the send is not `sending` any
    more, or the relay must rest. The loop's thread alone changes it, but for ``praised_at``, which the ledger's thread sets."""

    database: Database
    way: Way
    send_id: int
    relay_id: int
    per_minute: int | None
    feedback: str
    compiled: dict[tuple[Language, int], Compiled]
    sender: SenderLine
    signers: Sequence[Signer]
    keys: Keys
    due: sa.TextClause
    claims_alone: bool
    """Whether what it may claim hangs on what other sends have claimed: nobody is asked for consent by two at once."""
    should_stop: Callable[[], bool]
    token: str
    flight: Flight
    permitted: deque["Mail"] = field(default_factory=deque)
    """Claimed, and not given to a connection."""
    flying: dict[int, Claimed] = field(default_factory=dict)
    """Given to a connection that has not told yet what became of them."""
    answers: list[Answer] = field(default_factory=list)
    """What the server said and the ledger does not know yet."""
    idle: list["Exchange[Mail]"] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    enough: int = 0
    """While so many are permitted the ledger is left alone, so that many share a commit."""
    praised_at: float = 0.0
    """When the relay was last told that it is well."""
    connected: int = 0
    closing: bool = False
    """The run has ended; a line that did not hear of its end, because its own work ended at that moment, sees it here."""
    resting: bool = False
    accepted: int = 0
    idled: float = 0.0
    """Seconds, on the loop's clock, in which every connection waited for the ledger."""
    idle_since: float | None = None
    """When the last of the connections ran out of mails."""

    @property
    def over(self) -> bool:
        return self.closing or self.resting or self.should_stop()

    def idle_for(self, now: float) -> float:
        """Seconds until ``now`` in which every connection waited for the ledger, those of the present wait too."""
        return self.idled + (now - self.idle_since if self.idle_since is not None else 0.0)

    def permit(self, claimed: Sequence[Claimed], since: datetime) -> None:
        """Let what was claimed leave."""
        if claimed and self.idle_since is not None:
            self.idled, self.idle_since = self.idle_for(asyncio.get_running_loop().time()), None
        mailbox = self.sender.mailbox
        self.permitted.extend([Mail(mailbox, one.address, (), claimed=one, claimed_at=since) for one in claimed])

    def give_back(self) -> None:
        """Let nothing leave that no connection was given."""
        self.answers += [Answer(mail.claimed) for mail in self.permitted]
        self.permitted.clear()

    # --- the source of the connections; see `exchange.Source` ---------------------------------------------------------------

    def take(self) -> Mail | None:
        while self.permitted and not self.over:
            mail = self.permitted.popleft()
            if clock.now() - mail.claimed_at > BEGUN_WITHIN:
                self.answers.append(Answer(mail.claimed))
                continue
            if not mail.content and not self._build(mail):
                continue
            self.flying[mail.claimed.id] = mail.claimed
            if len(self.permitted) == self.enough:
                self.wake.set()
            return mail
        self.wake.set()
        return None

    def _build(self, mail: Mail) -> bool:
        """Build a mail and those that come next: alone, between the words of an exchange, each takes twice the time (measured)."""
        try:
            mail.content = _built(self, mail)
        except Exception as error:  # whatever it is, it fails alone: it must not keep the others from leaving
            log.error("mail_not_buildable", delivery_id=mail.claimed.id, error=type(error).__name__)
            self.answers.append(Answer(mail.claimed, fault="not_buildable"))
            return False
        with suppress(Exception):  # which is told when its own turn comes
            for following in islice(self.permitted, BUILT_TOGETHER - 1):
                following.content = _built(self, following)
        return True

    def begun(self, mail: Mail) -> bool:
        if clock.now() - mail.claimed_at > self.way.begun_before:
            return False
        self.flight.begun(mail.claimed.id)
        return True

    def ended(self, mail: Mail, reply: Reply | None) -> None:
        claimed = mail.claimed
        is_accepted = reply is not None and reply.code == 250 and reply.step is Step.MESSAGE
        del self.flying[claimed.id]
        if is_accepted or (reply is not None and judge(reply).verdict is not Verdict.IN_DOUBT):
            self.flight.ended(claimed.id, accepted=is_accepted)
        self.answers.append(Answer(claimed, reply, None, is_accepted))
        if not is_accepted or self.idle or self.per_minute is not None or len(self.answers) == self.enough:
            self.wake.set()

    def rests(self, exchange: Exchange[Mail]) -> None:
        self.idle.append(exchange)
        if len(self.idle) == self.connected:
            self.idle_since = asyncio.get_running_loop().time()
        self.wake.set()


def _built(work: Drain, mail: Mail) -> list[bytes]:
    claimed = mail.claimed
    compiled = work.compiled[claimed.language, claimed.shown]
    values = fields.values(claimed.person, claimed.language, compiled.sources)
    values |= links.personal(work.way.settings, work.keys, claimed.id, compiled.sources)
    message_id = links.message_id(work.keys, claimed.id, work.sender.domain)
    to_name = names.display_name(claimed.person)
    envelope = Envelope(to_name, claimed.address, message_id, values["enlace_baja"], work.feedback, mail.claimed_at)
    return signing.signed(build(compiled, values, envelope, work.sender), work.sender.domain, work.signers)


def in_transaction(work: Drain, deed: Callable[[Session], T]) -> T:
    with work.database.session() as session:
        return deed(session)
