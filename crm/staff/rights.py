"""Who may do what: one table of roles, one table of routes, and nothing allowed that is not written here.

The doors ask `access_of` for every route before it runs; a route without a row is refused, and a test fails for it.
"""

from dataclasses import dataclass
from enum import StrEnum

from crm.errors import Forbidden, NotSignedIn
from crm.staff.models import Role


class Right(StrEnum):
    VIEW = "view"
    """See people, campaigns and results."""
    VIEW_ADDRESSES = "view_addresses"
    """See addresses and phones whole; without it they are masked."""
    EDIT = "edit"
    """Add and change contacts, segments, materials and drafts of campaigns."""
    IMPORT = "import"
    EXPORT = "export"
    """Take people out of the Red as a file, with a reason that stays in the log."""
    SEND = "send"
    """Order, pause, resume and cancel sends."""
    PRIVACY = "privacy"
    """Decide on consent rules, blocking and erasure."""
    ACCOUNTS = "accounts"
    KEYS = "keys"
    """Give and revoke keys of the API."""
    SETTINGS = "settings"


_SEE = {Right.VIEW, Right.VIEW_ADDRESSES}
ROLES: dict[Role, frozenset[Right]] = {
    Role.READING: frozenset({Right.VIEW}),
    Role.EDITING: frozenset(_SEE | {Right.EDIT}),
    Role.COORDINATION: frozenset(_SEE | {Right.EDIT, Right.IMPORT, Right.EXPORT, Right.SEND}),
    Role.PRIVACY: frozenset(_SEE | {Right.PRIVACY, Right.EXPORT}),
    Role.ADMINISTRATION: frozenset(
        _SEE | {Right.EDIT, Right.IMPORT, Right.EXPORT, Right.SEND, Right.ACCOUNTS, Right.KEYS, Right.SETTINGS}
    ),
}
ROLE_WORDS = {
    Role.READING: "Consulta",
    Role.EDITING: "Edición",
    Role.COORDINATION: "Coordinación",
    Role.PRIVACY: "Privacidad",
    Role.ADMINISTRATION: "Administración",
}
"""What people call the roles."""

SCOPES = frozenset(
    f"{resource}:{verb}"
    for resource, verbs in {
        "contacts": ("read", "write"),
        "segments": ("read", "write"),
        "materials": ("read", "write"),
        "campaigns": ("read", "write", "send"),
    }.items()
    for verb in verbs
)
"""Scopes of the API; `write` and `send` include `read` of the same resource."""


@dataclass(frozen=True)
class Access:
    """What a route asks: nothing (public), being signed in, a right of staff, or a scope of the API."""

    public: bool = False
    right: Right | None = None
    scope: str | None = None
    also: str | None = None
    """A second scope that a route of the API asks for besides."""


PUBLIC = Access(public=True)
SIGNED_IN = Access()


def needs(right: Right) -> Access:
    return Access(right=right)


def scope(name: str, also: str | None = None) -> Access:
    if name not in SCOPES or (also is not None and also not in SCOPES):
        raise ValueError(name)
    return Access(scope=name, also=also)


PAGES: dict[str, Access] = {
    "GET /entrar": PUBLIC,
    "POST /entrar": PUBLIC,
    "POST /salir": SIGNED_IN,
    "GET /": needs(Right.VIEW),
    "GET /contactos": needs(Right.VIEW),
    "GET /personas/nueva": needs(Right.EDIT),
    "POST /personas/nueva": needs(Right.EDIT),
    "POST /personas/parecidas": needs(Right.EDIT),
    "GET /personas/{contact_id}": needs(Right.VIEW),
    "GET /personas/{contact_id}/editar": needs(Right.EDIT),
    "POST /personas/{contact_id}/editar": needs(Right.EDIT),
    "POST /personas/{contact_id}/notas": needs(Right.EDIT),
    "POST /personas/{contact_id}/tareas": needs(Right.EDIT),
    "POST /notas/{note_id}/quitar": needs(Right.EDIT),
    "POST /notas/{note_id}/reponer": needs(Right.EDIT),
    "GET /exportar": needs(Right.EXPORT),
    "POST /exportar": needs(Right.EXPORT),
    "GET /personas/{contact_id}/todo": needs(Right.PRIVACY),
    "POST /personas/{contact_id}/todo.json": needs(Right.PRIVACY),
    "GET /tareas": needs(Right.VIEW),
    "POST /tareas": needs(Right.EDIT),
    "POST /tareas/{task_id}/hecha": needs(Right.EDIT),
    "POST /tareas/{task_id}/quitar": needs(Right.EDIT),
    "POST /tareas/{task_id}/reabrir": needs(Right.EDIT),
    "GET /lotes": needs(Right.VIEW_ADDRESSES),
    "GET /lotes/nuevo": needs(Right.VIEW_ADDRESSES),
    "POST /lotes/nuevo": needs(Right.VIEW_ADDRESSES),
    "GET /lotes/{action_id}/personas": needs(Right.VIEW_ADDRESSES),
    "POST /lotes/{action_id}/deshacer": needs(Right.VIEW_ADDRESSES),
    "GET /lotes/bajas": needs(Right.EDIT),
    "POST /lotes/bajas": needs(Right.EDIT),
    "POST /personas/{contact_id}/exclusion": needs(Right.EDIT),
    "POST /personas/{contact_id}/rebote/levantar": needs(Right.SEND),
    "GET /regularizar": needs(Right.VIEW),
    "POST /regularizar": needs(Right.EDIT),
    "GET /duplicados": needs(Right.EDIT),
    "POST /duplicados/buscar": needs(Right.EDIT),
    "GET /duplicados/{pair_id}": needs(Right.EDIT),
    "POST /duplicados/{pair_id}/aparte": needs(Right.EDIT),
    "POST /duplicados/{pair_id}/revisar": needs(Right.EDIT),
    "POST /duplicados/{pair_id}/juntar": needs(Right.EDIT),
    "POST /uniones/{joining_id}/deshacer": needs(Right.EDIT),
    "GET /importar": needs(Right.IMPORT),
    "POST /importar": needs(Right.IMPORT),
    "GET /importar/{import_id}": needs(Right.IMPORT),
    "POST /importar/{import_id}": needs(Right.IMPORT),
    "GET /importar/{import_id}/avance": needs(Right.IMPORT),
    "GET /importar/{import_id}/filas": needs(Right.IMPORT),
    "GET /importar/{import_id}/filas/{number}": needs(Right.IMPORT),
    "POST /importar/{import_id}/filas/{number}": needs(Right.IMPORT),
    "POST /importar/{import_id}/rechazadas": needs(Right.IMPORT),
    "POST /importar/{import_id}/deshacer": needs(Right.IMPORT),
    "GET /segmentos": needs(Right.VIEW),
    "GET /segmentos/nuevo": needs(Right.EDIT),
    "POST /segmentos/nuevo": needs(Right.EDIT),
    "GET /segmentos/{segment_id}": needs(Right.VIEW),
    "POST /segmentos/{segment_id}": needs(Right.EDIT),
    "POST /segmentos/{segment_id}/duplicar": needs(Right.EDIT),
    "POST /segmentos/{segment_id}/borrar": needs(Right.EDIT),
    "POST /segmentos/{segment_id}/porque": needs(Right.VIEW),
    "GET /segmentos/{segment_id}/personas": needs(Right.VIEW),
    "GET /buscar": needs(Right.VIEW),
    "GET /ayuda": SIGNED_IN,
    "GET /ayuda/{name}": SIGNED_IN,
    "GET /buzon": needs(Right.VIEW_ADDRESSES),
    "GET /buzon/{number}": needs(Right.VIEW_ADDRESSES),
    "GET /buzon/{number}/vista": needs(Right.VIEW_ADDRESSES),
    "GET /campanas": needs(Right.VIEW),
    "GET /campanas/enviado": needs(Right.VIEW),
    "GET /campanas/enviado/archivo": needs(Right.VIEW),
    "GET /campanas/enviado/personas": needs(Right.VIEW),
    "GET /campanas/nueva": needs(Right.EDIT),
    "POST /campanas/nueva": needs(Right.EDIT),
    "POST /campanas/{campaign_id}/duplicar": needs(Right.EDIT),
    "GET /campanas/{campaign_id}/redactar": needs(Right.EDIT),
    "POST /campanas/{campaign_id}/redactar": needs(Right.EDIT),
    "GET /campanas/{campaign_id}/codigo": needs(Right.SETTINGS),
    "POST /campanas/{campaign_id}/codigo": needs(Right.SETTINGS),
    "GET /campanas/{campaign_id}/vista": needs(Right.VIEW),
    "GET /campanas/{campaign_id}/revisar": needs(Right.VIEW),
    "GET /campanas/{campaign_id}/personas": needs(Right.VIEW),
    "POST /campanas/{campaign_id}/enlaces": needs(Right.EDIT),
    "POST /campanas/{campaign_id}/prueba": needs(Right.EDIT),
    "POST /campanas/{campaign_id}/enviar": needs(Right.SEND),
    "POST /envios/{send_id}/editar": needs(Right.SEND),
    "POST /envios/{send_id}/sin-confirmar": needs(Right.SEND),
    "POST /envios/{send_id}/reintentar": needs(Right.SEND),
    "POST /envios/{send_id}/errata": needs(Right.EDIT),
    "GET /envios/{send_id}": needs(Right.VIEW),
    "GET /envios/{send_id}/avance": needs(Right.VIEW),
    "GET /envios/{send_id}/personas": needs(Right.VIEW),
    "GET /envios/{send_id}/vista": needs(Right.VIEW),
    "POST /envios/{send_id}/pausar": needs(Right.SEND),
    "POST /envios/{send_id}/reanudar": needs(Right.SEND),
    "POST /envios/{send_id}/cancelar": needs(Right.SEND),
    "POST /avisos/{notice_id}/visto": needs(Right.VIEW),
    "GET /materiales": needs(Right.VIEW),
    "GET /materiales/plantillas": needs(Right.VIEW),
    "GET /materiales/plantillas/{name}/vista": needs(Right.VIEW),
    "GET /materiales/nuevo": needs(Right.EDIT),
    "POST /materiales/nuevo": needs(Right.EDIT),
    "GET /materiales/{material_id}": needs(Right.VIEW),
    "GET /materiales/{material_id}/personas": needs(Right.VIEW),
    "GET /materiales/{material_id}/editar": needs(Right.EDIT),
    "POST /materiales/{material_id}/editar": needs(Right.EDIT),
    "GET /materiales/{material_id}/archivo": needs(Right.VIEW),
    "GET /materiales/{material_id}/miniatura": needs(Right.VIEW),
    "GET /materiales/{material_id}/imagen": needs(Right.VIEW),
    "GET /organizaciones": needs(Right.VIEW),
    "GET /organizaciones/{organization_id}": needs(Right.VIEW),
    "GET /organizaciones/{organization_id}/editar": needs(Right.EDIT),
    "POST /organizaciones/{organization_id}/editar": needs(Right.EDIT),
    "GET /ajustes": SIGNED_IN,
    "POST /ajustes/nombre": SIGNED_IN,
    "POST /ajustes/contrasena": SIGNED_IN,
    "POST /ajustes/sesiones/cerrar-otras": SIGNED_IN,
    "POST /ajustes/sesiones/{session_id}/cerrar": SIGNED_IN,
    "GET /ajustes/personas": needs(Right.ACCOUNTS),
    "POST /ajustes/personas/invitar": needs(Right.ACCOUNTS),
    "POST /ajustes/personas/invitaciones/{invitation_id}/retirar": needs(Right.ACCOUNTS),
    "POST /ajustes/personas/{account_id}/perfil": needs(Right.ACCOUNTS),
    "POST /ajustes/personas/{account_id}/desactivar": needs(Right.ACCOUNTS),
    "POST /ajustes/personas/{account_id}/activar": needs(Right.ACCOUNTS),
    "GET /ajustes/correo": needs(Right.SETTINGS),
    "POST /ajustes/correo": needs(Right.SETTINGS),
    "POST /ajustes/correo/prueba": needs(Right.SETTINGS),
    "GET /ajustes/claves": needs(Right.KEYS),
    "POST /ajustes/claves": needs(Right.KEYS),
    "POST /ajustes/claves/{client_id}/revocar": needs(Right.KEYS),
    "GET /ajustes/avisos": needs(Right.VIEW),
    "POST /ajustes/avisos": needs(Right.PRIVACY),
    "POST /ajustes/avisos/retirar": needs(Right.PRIVACY),
    "GET /ajustes/respaldo": needs(Right.SETTINGS),
    "POST /ajustes/respaldo": needs(Right.SETTINGS),
    "GET /entrar/invitacion/{token}": PUBLIC,
    "POST /entrar/invitacion/{token}": PUBLIC,
    "GET /p/baja/{token}": PUBLIC,
    "POST /p/baja/{token}": PUBLIC,
    "GET /p/consentimiento/{token}": PUBLIC,
    "POST /p/consentimiento/{token}": PUBLIC,
    "GET /p/materiales/{public_name}": PUBLIC,
    "GET /p/aviso/{version}": PUBLIC,
}
"""Pages of staff and public pages: ``"METHOD /path/{template}"``."""

API: dict[str, Access] = {
    "GET /openapi.json": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /contacts": scope("contacts:read"),
    "POST /contacts": scope("contacts:write"),
    "POST /contacts/batch": scope("contacts:write"),
    "GET /contacts/{contact_id}": scope("contacts:read"),
    "PATCH /contacts/{contact_id}": scope("contacts:write"),
    "GET /cities": scope("contacts:read"),
    "GET /tags": scope("contacts:read"),
    "POST /suppressions": scope("contacts:write"),
    "GET /segments": scope("segments:read"),
    "POST /segments": scope("segments:write"),
    "GET /segments/fields": scope("segments:read"),
    "POST /segments/preview": scope("segments:read"),
    "GET /segments/{segment_id}": scope("segments:read"),
    "PUT /segments/{segment_id}": scope("segments:write"),
    "GET /segments/{segment_id}/explain/{contact_id}": scope("contacts:read"),
    "GET /materials": scope("materials:read"),
    "POST /materials": scope("materials:write"),
    "GET /materials/{material_id}": scope("materials:read"),
    "GET /materials/{material_id}/file": scope("materials:read"),
    "POST /imports": scope("contacts:write"),
    "GET /imports/{import_id}": scope("contacts:read"),
    "GET /imports/{import_id}/rows": scope("contacts:read"),
    "GET /templates": scope("campaigns:read"),
    "GET /campaigns": scope("campaigns:read"),
    "POST /campaigns": scope("campaigns:write"),
    "GET /campaigns/{campaign_id}": scope("campaigns:read"),
    "PUT /campaigns/{campaign_id}": scope("campaigns:write"),
    "GET /campaigns/{campaign_id}/review": scope("campaigns:read"),
    "POST /campaigns/{campaign_id}/preview": scope("campaigns:read", also="contacts:read"),
    "POST /campaigns/{campaign_id}/tests": scope("campaigns:write", also="contacts:read"),
    "GET /campaigns/{campaign_id}/sends": scope("campaigns:read"),
    "POST /campaigns/{campaign_id}/sends": scope("campaigns:send"),
    "GET /sends/{send_id}": scope("campaigns:read"),
    "POST /sends/{send_id}/pause": scope("campaigns:send"),
    "POST /sends/{send_id}/resume": scope("campaigns:send"),
    "POST /sends/{send_id}/cancel": scope("campaigns:send"),
    "GET /sends/{send_id}/deliveries": scope("campaigns:read"),
}
"""Routes of the API, without their prefix /api/v1."""


def access_of(table: dict[str, Access], method: str, path: str) -> Access:
    """The row of a route; Forbidden(forbidden) when it has none."""
    access = table.get(f"{'GET' if method == 'HEAD' else method} {path}")
    if access is None:
        raise Forbidden("forbidden")
    return access


def check_role(access: Access, role: Role | None) -> None:
    """Let a member of staff through; NotSignedIn or Forbidden otherwise. A route of the API is never open to a session."""
    if access.public:
        return
    if role is None:
        raise NotSignedIn("not_signed_in")
    if access.scope is not None or (access.right is not None and access.right not in ROLES[role]):
        raise Forbidden("forbidden")


def check_scopes(access: Access, held: frozenset[str] | None) -> None:
    """Let an API client through; NotSignedIn without a key, Forbidden(scope_missing) without the scope."""
    if access.public:
        return
    if held is None:
        raise NotSignedIn("key_invalid")
    for name in (access.scope, *([access.also] if access.also else [])):
        if name is None or name not in widened(held):
            raise Forbidden("scope_missing", scope=name or "")


def widened(held: frozenset[str]) -> frozenset[str]:
    """Scopes with those that they include: `campaigns:send` reads campaigns too."""
    return held | {f"{name.split(':')[0]}:read" for name in held}
