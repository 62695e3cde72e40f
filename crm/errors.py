"""What can go wrong, as one small tree. Each error has a stable code, a kind (its class) and a Spanish sentence.

    CrmError
    ├── InvalidInput    what came in cannot be understood or is not allowed; names the field
    ├── NotSignedIn     nobody is signed in, or the key is not valid
    ├── Forbidden       signed in, without the right
    ├── NotFound        no such record
    ├── Conflict        the record is not in a state that allows it, or someone else changed it
    ├── TooLarge        a file or a body over its limit
    ├── TooMany         too many tries; wait
    └── Unavailable     the product cannot do it now (a key is missing, a relay rests)

The doors translate kinds: `api/errors.py` to problem+json, `web/errors.py` to pages and forms. Nobody else does.
A sentence says what happened and what to do; it never holds personal data, because errors are logged by code.
"""

from typing import Any, ClassVar

SENTENCES: dict[str, str] = {
    # what comes in
    "invalid_input": "Hay datos que corregir.",
    "field_required": "Escriba este dato; es necesario.",
    "field_too_long": "Este dato es demasiado largo: admite hasta {limit} caracteres.",
    "field_control_characters": "Este dato tiene saltos de línea o caracteres que no se ven. Bórrelos y escríbalo de nuevo.",
    "name_required": "Escriba al menos el nombre o el primer apellido.",
    "address_invalid": "La dirección de correo no es válida. Revise que tenga la forma nombre@dominio.",
    "address_of_other_person": "Esa dirección ya es de otra persona de la Red. Revise si es la misma antes de guardar.",
    "language_unknown": "El idioma debe ser es (español) o en (inglés).",
    "country_unknown": "No conocemos ese país. Escriba su nombre en español o su clave de dos letras, por ejemplo US.",
    "city_ambiguous": "Hay varias ciudades con ese nombre. Agregue el estado o el país, por ejemplo: San José, Costa Rica.",
    "sector_unknown": "El sector debe ser uno de: community_development, business, academia, culture.",
    "purpose_unknown": "Esa finalidad no está en el catálogo.",
    "channel_unknown": "Ese canal no está en el catálogo.",
    "cursor_invalid": "La página pedida no existe. Vuelva a empezar desde la primera.",
    "zone_required": "La fecha y hora deben decir su zona horaria, por ejemplo 2027-01-07T10:00:00-06:00.",
    # people
    "contact_not_found": "No encontramos a esa persona. Puede que la hayan fusionado o borrado.",
    "contact_changed": "Otra persona cambió este registro mientras usted lo editaba. Revise los cambios y guarde de nuevo.",
    "tag_not_found": "No encontramos esa etiqueta.",
    "organization_not_found": "No encontramos esa organización.",
    "city_not_found": "No encontramos esa ciudad.",
    "suppressed": "Esta dirección está en la lista de exclusión: la persona pidió la baja, se quejó o su buzón no existe.",
    "evidence_required": "Escriba cómo consta el consentimiento: dónde, cuándo y cómo lo dio la persona.",
    "ground_required": "Escriba el fundamento de este cambio; quedará en la bitácora.",
    # sign-in and rights
    "not_signed_in": "Inicie sesión para continuar.",
    "sign_in_failed": "El correo o la contraseña no son correctos. Revíselos e intente de nuevo.",
    "too_many_sign_ins": "Hubo demasiados intentos. Espere {minutes} minutos e intente de nuevo.",
    "forbidden": "Su perfil no permite hacer esto. Pida ayuda a quien coordina.",
    "request_forged": "No pudimos comprobar que la petición viniera de esta página. Recárguela e intente de nuevo.",
    "key_invalid": "La clave de API no es válida, venció o fue revocada.",
    "scope_missing": "La clave de API no tiene el alcance {scope}.",
    "account_exists": "Ya hay una cuenta con ese correo.",
    "role_unknown": "Ese perfil no existe. Use reading, editing, coordination, privacy o administration.",
    "password_too_short": "La contraseña debe tener al menos 12 caracteres.",
    "scope_unknown": "Ese alcance no existe: {scope}.",
    # files
    "file_empty": "El archivo está vacío. Elija otro.",
    "file_too_large": "El archivo pesa más de {limit} MB. Reduzca su tamaño y súbalo de nuevo.",
    "file_not_found": "No encontramos ese archivo.",
    "internal_error": "Algo falló de nuestro lado. Ya quedó registrado; intente de nuevo en un momento.",
    "database_busy": "El sistema está ocupado en este momento. Intente de nuevo en unos segundos.",
}


class CrmError(Exception):
    """Base of every error that a person may be told about."""

    kind: ClassVar[str] = "internal"

    def __init__(self, code: str, *, field: str | None = None, **details: Any) -> None:
        self.code = code
        self.field = field
        self.details = details
        super().__init__(code)

    @property
    def sentence(self) -> str:
        """What happened and what to do, in Spanish."""
        return SENTENCES[self.code].format(**self.details)


class InvalidInput(CrmError):
    kind = "invalid"

    def __init__(self, code: str, *, field: str | None = None, parts: "list[InvalidInput] | None" = None, **details: Any) -> None:
        super().__init__(code, field=field, **details)
        self.parts = parts or [self]
        """One error per field that is wrong, so that a form shows them all at once."""


class NotSignedIn(CrmError):
    kind = "not_signed_in"


class Forbidden(CrmError):
    kind = "forbidden"


class NotFound(CrmError):
    kind = "not_found"


class Conflict(CrmError):
    kind = "conflict"


class TooLarge(CrmError):
    kind = "too_large"


class TooMany(CrmError):
    kind = "too_many"


class Unavailable(CrmError):
    kind = "unavailable"
