"""Whom to blame: one table that judges what a mail server said.

The stage speaks first: a refusal of MAIL or a 421 belongs to the relay or the sender, only RCPT (or an enhanced 5.1.x,
4.2.x...) judges the address, a 5xx after the dot speaks of content or policy. Then the enhanced code (RFC 3463), then the
basic code (RFC 5321, 4.2). A person is blamed only for a mailbox or a domain that does not exist.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple


class Step(StrEnum):
    """Where in the conversation the answer came."""

    CONNECT = "connect"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    MESSAGE = "message"
    """After the final dot."""


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    HARD = "hard"
    """The mailbox or its domain does not exist: failed, the address is judged."""
    SOFT = "soft"
    """This mailbox cannot take it now: deferred, tried again later."""
    BLOCK = "block"
    """The server refuses us or this content by policy: nobody is blamed, back to pending, the relay rests."""
    SYSTEM = "system"
    """The relay or the way to it is out of order: nobody is blamed, back to pending, the relay rests."""
    REFUSED = "refused"
    """This one mail cannot be given to this server (size, letters of the address): failed, nobody is blamed."""
    IN_DOUBT = "in_doubt"
    """The content left and no clear answer came."""


class Reply(NamedTuple):
    """What the server said at a step; code 0 when it said nothing that can be read."""

    step: Step
    code: int
    text: str = ""
    known: str | None = None
    """The code of its sentence, where we know what is wrong better than the server says it."""

    @property
    def enhanced(self) -> str:
        """The enhanced status code that begins the text (`5.1.1`), or an empty string."""
        found = re.match(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b", self.text)
        return f"{found[1]}.{int(found[2])}.{int(found[3])}" if found and found[1] == str(self.code)[:1] else ""


@dataclass(frozen=True)
class Judgement:
    """A verdict and the code of its sentence in `SENTENCES`."""

    verdict: Verdict
    reason: str


SENTENCES: dict[str, str] = {
    "mailbox_unknown": "El buzón no existe. Pida a la persona otra dirección.",
    "domain_unknown": "El dominio de la dirección no existe o no recibe correo. Revise si está bien escrita.",
    "mailbox_disabled": "El buzón está desactivado. Pida a la persona otra dirección.",
    "mailbox_full": "El buzón está lleno. Lo intentaremos de nuevo más tarde.",
    "try_later": "El servidor de la persona pidió intentar más tarde. Lo haremos solos.",
    "gave_up": "Se intentó durante 72 horas sin éxito. Puede volver a ponerlo en la fila.",
    "policy": "El servidor rechazó el correo por sus reglas. Pida a quien administra el correo que revise SPF, DKIM, DMARC y la "
    "reputación del remitente.",
    "content_refused": "El servidor rechazó el contenido. Revise enlaces y adjuntos, o pida a quien administra el correo la causa.",
    "too_large": "El correo pesa más de lo que admite el servidor. Use imágenes más ligeras.",
    "letters_unsupported": "La dirección tiene letras que este servidor de correo no admite. Pida a la persona otra dirección.",
    "sender_refused": "El servidor no acepta este remitente. Pida a quien administra el correo permiso para usar esa dirección.",
    "sign_in_refused": "El servidor de correo no aceptó el usuario o la contraseña. Revise CRM_SMTP_URL con quien lo administra.",
    "sign_in_disabled": "El servidor ya no admite contraseña simple (5.7.30). Pida a quien administra el correo un relay u OAuth2.",
    "token_unavailable": "No pudimos obtener el permiso de envío (OAuth2): su servidor no respondió o no se entendió. Revise "
    "CRM_SMTP_OAUTH_TENANT o CRM_SMTP_OAUTH_TOKEN_URL, y que este equipo tenga salida a internet.",
    "token_client_refused": "El servidor de permisos (OAuth2) no aceptó a esta aplicación. Pida a quien administra Entra ID que "
    "revise el inquilino (CRM_SMTP_OAUTH_TENANT), el id de cliente (CRM_SMTP_OAUTH_CLIENT_ID) y que el secreto no haya vencido.",
    "token_secret_unreadable": "No se puede leer el secreto de OAuth2. Revise que el archivo de CRM_SMTP_OAUTH_SECRET_FILE exista, "
    "no esté vacío y el servicio pueda leerlo.",
    "token_refused": "El servidor de correo no aceptó el permiso (OAuth2) para este buzón. Pida a quien lo administra que revise "
    "el permiso SMTP.SendAsApp, la entidad de servicio registrada con acceso al buzón y que el buzón admita «SMTP AUTH».",
    "xoauth2_not_offered": "El servidor de correo no ofrece OAuth2 (XOAUTH2). Revise con quien lo administra el servidor y el "
    "puerto, o quite los ajustes CRM_SMTP_OAUTH.",
    "quota": "Se alcanzó el límite de envío del servidor de correo. Reanude más tarde o pida que lo amplíen.",
    "relay_out_of_order": "El servidor de correo tiene una falla. Avise a quien lo administra y reanude después.",
    "relay_closed": "El servidor de correo cerró la conexión. Si se repite, pida a quien lo administra que revise sus límites.",
    "relay_unclear": "El servidor de correo recibió varios correos y no contestó con claridad. Pida a quien lo administra que lo "
    "revise antes de reanudar; los correos sin confirmar no se repiten solos.",
    "relay_unreachable": "No pudimos conectar con el servidor de correo. Revise que esté encendido y la dirección en CRM_SMTP_URL.",
    "tls_required": "El servidor de correo exige una conexión segura. Agregue ?tls=starttls a CRM_SMTP_URL.",
    "tls_refused": "La conexión segura con el servidor de correo falló. Pida a quien lo administra que revise su certificado.",
    "not_buildable": "El correo de esta persona no se pudo armar con sus datos. Revise su nombre y su dirección.",
    "holder_lost": "El proceso que lo entregaba se interrumpió y no se sabe si el correo salió. Decida si se vuelve a enviar.",
    "no_clear_answer": "El correo salió y el servidor no contestó con claridad. Decida si se vuelve a enviar.",
}

# Enhanced code -> (verdict, reason). A code that ends in `.*` stands for its whole subject.
_ENHANCED: dict[str, tuple[Verdict, str]] = {
    "5.1.1": (Verdict.HARD, "mailbox_unknown"),
    "5.1.2": (Verdict.HARD, "domain_unknown"),
    "5.1.3": (Verdict.HARD, "mailbox_unknown"),
    "5.1.6": (Verdict.HARD, "mailbox_unknown"),
    "5.1.7": (Verdict.BLOCK, "sender_refused"),
    "5.1.8": (Verdict.BLOCK, "sender_refused"),
    "5.1.10": (Verdict.HARD, "domain_unknown"),
    "5.2.1": (Verdict.HARD, "mailbox_disabled"),
    "5.2.2": (Verdict.SOFT, "mailbox_full"),
    "5.2.3": (Verdict.REFUSED, "too_large"),
    "5.3.4": (Verdict.REFUSED, "too_large"),
    "5.3.*": (Verdict.SYSTEM, "relay_out_of_order"),
    "5.4.5": (Verdict.SYSTEM, "quota"),
    "5.6.7": (Verdict.REFUSED, "letters_unsupported"),
    "5.6.*": (Verdict.BLOCK, "content_refused"),
    "5.7.30": (Verdict.SYSTEM, "sign_in_disabled"),
    "5.7.60": (Verdict.BLOCK, "sender_refused"),
    "5.7.8": (Verdict.SYSTEM, "sign_in_refused"),
    "5.7.*": (Verdict.BLOCK, "policy"),
    "4.7.5": (Verdict.SYSTEM, "tls_refused"),
    "4.2.1": (Verdict.SOFT, "try_later"),
    "4.2.2": (Verdict.SOFT, "mailbox_full"),
    "4.2.*": (Verdict.SOFT, "try_later"),
    "4.3.*": (Verdict.SYSTEM, "relay_out_of_order"),
    "4.4.5": (Verdict.SYSTEM, "quota"),
    "4.7.*": (Verdict.SOFT, "try_later"),
}
_SPEAKS_OF_MAILBOX = re.compile(
    r"unknown|no such|(does not|doesn't|not) exist|not found|no mailbox|invalid (recipient|mailbox|address|user)"
    r"|no existe|desconocid",
    re.IGNORECASE,
)
"""Words that a server without enhanced codes must say before an address is judged for good."""
_SPEAKS_OF_ROOM = re.compile(
    r"quota|full|over ?size|exceeded.*(mailbox|storage)|(mailbox|storage).*exceeded|llen[oa]", re.IGNORECASE
)
_SPEAKS_OF_US = re.compile(
    r"sender|relay|denied|spam|policy|verif|too many|\bIP\b|#5\.7\.|\bspf\b|dkim|dmarc|dns|\bptr\b|reverse|\bhelo\b|\behlo\b"
    r"|client|mail from|reputation|block|blacklist|\byour (server|host|domain|message)\b",
    re.IGNORECASE,
)
_NAMES_A_MAILBOX = re.compile(r"mailbox|user|recipient|address|account|usuario|buz[oó]n|destinatario|cuenta|@", re.IGNORECASE)
"""Whose the unknown thing is: without such a word it may be a domain or a host of ours."""
_SIGN_IN = {530, 534, 535, 538}
"""Codes of RFC 4954: the server wants to know who we are, or does not believe it, whatever the enhanced code."""
_ENHANCED_OF_RELAY = {Verdict.BLOCK, Verdict.SYSTEM}

DEFER_STEPS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=24))
"""How long to wait before each new try of a deferred mail; the last repeats until `GIVE_UP_AFTER`."""
GIVE_UP_AFTER = timedelta(hours=72)


def judge(reply: Reply) -> Judgement:
    """What an answer means and whose fault it is."""
    if reply.known is not None:
        return Judgement(Verdict.SYSTEM, reply.known)
    if reply.step is Step.MESSAGE:
        if reply.code == 250:
            return Judgement(Verdict.ACCEPTED, "accepted")
        if not 400 <= reply.code <= 599:
            return Judgement(Verdict.IN_DOUBT, "no_clear_answer")
    if reply.code == 0:
        reason = "relay_unreachable" if reply.step is Step.CONNECT else "relay_closed"
        return Judgement(Verdict.SYSTEM, reason)
    if reply.code == 421:
        return Judgement(Verdict.SYSTEM, "relay_closed")
    if reply.code < 400:  # an answer to another question than ours
        return Judgement(Verdict.SYSTEM, "relay_out_of_order")
    told = _by_enhanced(reply.enhanced)
    if reply.step in {Step.CONNECT, Step.MAIL}:
        return _of_the_relay(reply, told)
    if told is not None and not (told.verdict is Verdict.HARD and reply.step is not Step.RCPT):
        return told
    return _of_the_address(reply) if reply.step is Step.RCPT else _of_the_content(reply)


def _by_enhanced(code: str) -> Judgement | None:
    found = _ENHANCED.get(code) or _ENHANCED.get(code.rpartition(".")[0] + ".*")
    return Judgement(*found) if found else None


def _of_the_relay(reply: Reply, told: Judgement | None) -> Judgement:
    """At the door or at MAIL no person is judged, whatever the code says."""
    if reply.code == 530 and "STARTTLS" in reply.text.upper():  # RFC 3207, 4
        return Judgement(Verdict.SYSTEM, "tls_required")
    if reply.code in _SIGN_IN and reply.enhanced not in {"5.7.30", "5.4.5"}:
        return Judgement(Verdict.SYSTEM, "sign_in_refused")
    if reply.step is Step.MAIL and reply.code == 552:
        return Judgement(Verdict.REFUSED, "too_large")
    if told is not None and (told.verdict in _ENHANCED_OF_RELAY or told.reason in {"too_large", "letters_unsupported"}):
        return told
    if reply.step is Step.MAIL and reply.code >= 500:
        return Judgement(Verdict.BLOCK, "sender_refused")
    return Judgement(Verdict.SYSTEM, "relay_out_of_order")


def _of_the_address(reply: Reply) -> Judgement:
    if reply.code in {550, 551, 553}:
        return _of_a_refused_address(reply)
    if reply.code == 552:
        return Judgement(Verdict.SOFT, "mailbox_full")
    if reply.code in {530, 535}:
        return Judgement(Verdict.SYSTEM, "sign_in_refused")
    return Judgement(Verdict.BLOCK, "policy") if reply.code >= 500 else Judgement(Verdict.SOFT, "try_later")


def _of_a_refused_address(reply: Reply) -> Judgement:
    """550, 551 and 553 mean many things: an address is judged for good only when the server says so."""
    if reply.enhanced or _SPEAKS_OF_US.search(reply.text):
        return Judgement(Verdict.BLOCK, "policy")
    if _SPEAKS_OF_ROOM.search(reply.text):
        return Judgement(Verdict.SOFT, "mailbox_full")
    known = _SPEAKS_OF_MAILBOX.search(reply.text) and _NAMES_A_MAILBOX.search(reply.text)
    return Judgement(Verdict.HARD, "mailbox_unknown") if known else Judgement(Verdict.BLOCK, "policy")


def _of_the_content(reply: Reply) -> Judgement:
    if reply.code == 552:
        return Judgement(Verdict.REFUSED, "too_large")
    if reply.code >= 500:
        return Judgement(Verdict.BLOCK, "content_refused")
    if reply.code in {451, 452, 454}:
        return Judgement(Verdict.SYSTEM, "relay_out_of_order") if reply.code == 452 else Judgement(Verdict.SOFT, "try_later")
    return Judgement(Verdict.SOFT, "try_later")


def wait_before(attempt: int) -> timedelta:
    """How long to wait after the nth failed attempt (from 1)."""
    return DEFER_STEPS[min(attempt, len(DEFER_STEPS)) - 1]
