"""Whether the links of a mail lead somewhere: asked of their sites once, by a button, before 1,500 people try them.

Bounded in number and time. It never asks a private address (a link must not make this machine knock on doors of its own
network: CWE-918), nor a link that holds a person's value, which would be that person's click.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import BoundedSemaphore
from urllib.parse import urljoin, urlsplit

import httpx2

from crm.errors import Conflict
from crm.mailing import fields, markdown
from crm.mailing.schemas import AnyBlock, ButtonBlock, FactBlock, ImageBlock, TextBlock, VariantIn

LINKS_MOST = 30
REDIRECTS_MOST = 4
STEP_SECONDS = 5.0
LINK_SECONDS = 12.0
"""For one link in all, its redirects too."""
AT_ONCE = 10
_turns = BoundedSemaphore(2)
"""Checks of mails at once, of the whole process."""
_MARKED = re.compile(r"zq([a-z_]+?)zq")
"""A merge field where Markdown reads a link: it takes no braces there."""
AGENT = "RedVotoChilango-comprobador-de-enlaces"


class Finding(StrEnum):
    WORKS = "works"
    DEAD = "dead"
    UNSURE = "unsure"
    PERSONAL = "personal"
    """Holds a person's value: not asked."""
    PRIVATE = "private"
    """Of a private network: nobody who gets the mail could open it."""


@dataclass(frozen=True)
class Checked:
    """A link and what became of it, in words."""

    link: str
    finding: Finding
    words: str


Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port; OSError when it has none."""


def links_of(variants: Iterable[VariantIn]) -> list[str]:
    """The http(s) links that staff wrote, each once, in order; merge fields stand in them as they were written."""
    found = [link for variant in variants for block in variant.blocks for link in _links(block)]
    return list(dict.fromkeys(link for link in found if link.lower().startswith(("https://", "http://"))))


def _links(block: AnyBlock) -> list[str]:
    if isinstance(block, TextBlock | FactBlock):
        found = markdown.links(fields.replace(block.body, lambda use: f"zq{use.name}zq"))
        return [_MARKED.sub(r"{{ \1 }}", link) for link in found]
    return [block.link] if isinstance(block, ButtonBlock | ImageBlock) and block.link else []


_OPEN_IPV6 = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6 (RFC 4291, 2.4): what stands beyond it translates to IPv4, or is of one place alone."""


def is_public(address: str) -> bool:
    """Whether an IP address is of the open internet: neither private, loopback, link-local, shared, reserved nor multicast."""
    told = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(told, ipaddress.IPv6Address):
        within = told.ipv4_mapped or told.sixtofour
        return told in _OPEN_IPV6 and told.is_global and (within is None or is_public(str(within)))
    return told.is_global and not told.is_multicast


def resolve(host: str, port: int) -> Sequence[str]:
    """As the system resolves it."""
    return list(dict.fromkeys(str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def check(links: Sequence[str], *, resolver: Resolve = resolve, allowed: Callable[[str], bool] = is_public) -> list[Checked]:
    """Ask each link, at most `LINKS_MOST`, each within `LINK_SECONDS` whatever its site does. Waits for their sites: call it
    outside a transaction. Conflict(links_busy) while others are being asked: a slow site must not hold every
    thread of the product."""
    if not _turns.acquire(blocking=False):
        raise Conflict("links_busy")
    try:
        return asyncio.run(_check_all(links[:LINKS_MOST], resolver, allowed))
    finally:
        _turns.release()


async def _check_all(links: Sequence[str], resolver: Resolve, allowed: Callable[[str], bool]) -> list[Checked]:
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(link: str) -> Checked:
        async with at_once:
            try:
                async with asyncio.timeout(LINK_SECONDS):
                    return await _check(link, resolver, allowed)
            except TimeoutError:
                return Checked(link, Finding.UNSURE, "El sitio no contestó a tiempo. Ábralo usted.")

    return await asyncio.gather(*(one(link) for link in links))


async def _check(link: str, resolver: Resolve, allowed: Callable[[str], bool]) -> Checked:
    if fields.MERGE_FIELD.search(link):
        return Checked(link, Finding.PERSONAL, "Lleva un dato de cada persona: no se abre, para no usarlo en su nombre.")
    at = link
    for _ in range(REDIRECTS_MOST + 1):
        try:
            host, port, address = await asyncio.to_thread(_address, at, resolver, allowed)
        except PermissionError:
            return Checked(link, Finding.PRIVATE, "Lleva a una red privada: quien recibe el correo no podría abrirlo.")
        except socket.gaierror as error:
            return Checked(link, *_unresolved(error))
        except (OSError, ValueError):
            return Checked(link, Finding.DEAD, "El sitio no existe. Revise cómo está escrito.")
        try:
            status, elsewhere = await _ask(at, host, port, address)
            at = urljoin(at, elsewhere) if elsewhere is not None else at
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return Checked(link, *_fault(error))
        if elsewhere is None:
            return Checked(link, *_verdict(status))
    return Checked(link, Finding.UNSURE, "Da demasiadas vueltas de una dirección a otra. Ábralo usted.")


def _address(link: str, resolver: Resolve, allowed: Callable[[str], bool]) -> tuple[str, int, str]:
    """Host, port and one IP address; PermissionError when any of its addresses is not of the open internet."""
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("link")
    host = parts.hostname.encode("idna").decode()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = resolver(host, port)
    if not found:
        raise OSError("no address")
    if not all(allowed(address) for address in found):
        raise PermissionError("private")
    return host, port, found[0]


async def _ask(link: str, host: str, port: int, address: str) -> tuple[int, str | None]:
    """Status and where it leads on, asked of that very address: a name that changes meanwhile leads nowhere else."""
    parts = urlsplit(link)
    shown = f"[{address}]" if ":" in address else address
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": f"{host}:{parts.port}" if parts.port else host, "User-Agent": AGENT, "Accept": "*/*"}
    trusted = ssl.create_default_context()
    async with httpx2.AsyncClient(timeout=STEP_SECONDS, follow_redirects=False, trust_env=False, verify=trusted) as client:
        for method in ("HEAD", "GET"):
            request = client.build_request(
                method, f"{parts.scheme}://{shown}:{port}{path}", headers=headers, extensions={"sni_hostname": host}
            )
            answer = await client.send(request, stream=True)
            await answer.aclose()
            if method == "HEAD" and answer.status_code in (403, 404, 405, 501):
                continue  # some sites answer only to who reads them
            break
    return answer.status_code, answer.headers.get("location") if answer.is_redirect else None


def _unresolved(error: socket.gaierror) -> tuple[Finding, str]:
    """A name that nobody has, or a machine that cannot ask."""
    if error.errno == socket.EAI_NONAME:
        return Finding.DEAD, "El sitio no existe, o este equipo no sale a internet. Revise cómo está escrito."
    return Finding.UNSURE, "No se pudo buscar el sitio: quizá este equipo no sale a internet. Ábralo usted."


def _verdict(status: int) -> tuple[Finding, str]:
    if status < 400:
        return Finding.WORKS, "Funciona."
    if status in (404, 410):
        return Finding.DEAD, f"La página no existe (respondió {status})."
    return Finding.UNSURE, f"El sitio respondió {status}. Ábralo usted para ver si funciona."


def _fault(error: Exception) -> tuple[Finding, str]:
    if isinstance(error, httpx2.TimeoutException):
        return Finding.UNSURE, "El sitio no contestó a tiempo. Ábralo usted."
    if "certificate" in str(error).lower():
        return Finding.DEAD, "El certificado del sitio no es válido: el navegador advertiría a cada persona."
    return Finding.DEAD, "No se pudo conectar con el sitio."
