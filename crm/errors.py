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
    "dkim_key_invalid": "La llave DKIM {name} no se pudo leer. Debe ser un archivo PEM sin contraseña, RSA de 2048 bits o Ed25519.",
    "relay_limit_invalid": "El límite debe ser un número entre {least} y {most}, o quedar vacío.",
    "email_missing": "No tiene correo: entra a la Red, pero no se le podrá escribir.",
    "address_of_other_person": "Esa dirección ya es de otra persona, de la Red o de otra fila del archivo. Revise si es la misma.",
    "language_unknown": "El idioma debe ser es (español) o en (inglés).",
    "country_unknown": "No conocemos ese país. Escriba su nombre en español o su clave de dos letras, por ejemplo US.",
    "city_unknown": "No conocemos esa ciudad; se guardó como la escribió. Revise su nombre o agregue el estado y el país.",
    "city_ambiguous": "Hay varias ciudades con ese nombre. Agregue el estado o el país, por ejemplo: San José, Costa Rica.",
    "sector_unknown": "El sector debe ser desarrollo comunitario, negocios, academia o cultura.",
    "purpose_unknown": "Esa finalidad no está en el catálogo.",
    "channel_unknown": "Ese canal no está en el catálogo.",
    "cursor_invalid": "La página pedida no existe. Vuelva a empezar desde la primera.",
    "zone_required": "La fecha y hora deben decir su zona horaria, por ejemplo 2027-01-07T10:00:00-06:00.",
    # people
    "contact_not_found": "No encontramos a esa persona. Puede que la hayan borrado.",
    "contact_joined": "Esta ficha se juntó con otra: es la {kept_id}.",
    "pair_not_found": "Ese par ya no está: cambió algún dato o alguien lo resolvió. Vuelva a la lista de duplicados.",
    "pair_settled": "Otra persona ya decidió sobre este par. Vuelva a la lista de duplicados.",
    "joining_not_found": "No encontramos esa unión de fichas.",
    "joining_undone": "Esa unión ya se deshizo.",
    "joining_too_old": "Pasaron más de {days} días: esas fichas ya no se pueden separar.",
    "joining_under_another": "La ficha «{name}» se juntó después con otra. Deshaga primero esa unión.",
    "joining_blocked": "Una de las dos fichas está bloqueada por protección de datos y no se puede juntar ni separar.",
    "joining_mail_waits": "Hay un correo por salir para una de las dos fichas, en el envío «{name}». Espere a que termine, o "
    "resuelva sus correos en duda, e intente de nuevo.",
    "joining_changed": "Alguien cambió una de las dos fichas mientras usted las comparaba. Revise de nuevo y junte.",
    "contact_changed": "Otra persona cambió este registro mientras usted lo editaba. Revise los cambios y guarde de nuevo.",
    "tag_not_found": "No encontramos esa etiqueta.",
    "organization_not_found": "No encontramos esa organización.",
    "organization_exists": "Ya hay una organización con ese nombre. Elija otro, o use esa en las fichas de su gente.",
    "organization_city_unknown": "No conocemos esa ciudad. Revise su nombre o agregue el estado y el país.",
    "kind_unknown": "Ese tipo no está en el catálogo.",
    "city_not_found": "No encontramos esa ciudad.",
    "suppressed": "Esta dirección está en la lista de exclusión: la persona pidió la baja, se quejó o su buzón no existe.",
    "suppression_stays": "Esta exclusión no se puede levantar: la persona pidió la baja, se quejó o pidió borrar sus datos.",
    "not_bounced": "Esa dirección no está anotada como rebotada. Recargue la ficha para ver su estado actual.",
    "lift_reason_required": "Escriba por qué se levanta el rebote; quedará en la historia de la persona.",
    "proof_required": "Escriba cómo consta: llamada, carta, correo, con fecha y hora si las sabe.",
    "address_required": "Esta persona no tiene ninguna dirección. No hay a dónde dejar de escribir.",
    "date_invalid": "Esa fecha no existe. Escríbala como día, mes y año.",
    "purpose_required": "Elija para qué se dio el consentimiento.",
    "consent_stays_revoked": "Esta persona revocó su consentimiento para: {purposes}. Solo ella puede darlo de nuevo.",
    "evidence_required": "Escriba cómo consta el consentimiento: dónde, cuándo y cómo lo dio la persona.",
    "consent_revoked_kept": "Esta persona revocó su consentimiento; el archivo no lo cambia. Solo ella puede darlo de nuevo.",
    "post_without_organization": "El cargo no se guardó porque falta la organización. Escriba las dos.",
    "country_differs_from_city": "El país no corresponde a la ciudad registrada. Revise cuál es el correcto.",
    "notice_not_found": "No encontramos esa versión del aviso de privacidad.",
    "note_holds_document": "El texto trae una CURP o una clave de elector: la Red no las guarda. Bórrela y anote de nuevo.",
    "note_not_found": "No encontramos esa nota.",
    "task_not_found": "No encontramos esa tarea.",
    "date_too_far": "Esa fecha no es posible. Revise el año.",
    "account_unknown": "Esa cuenta no existe o está desactivada. Elija otra.",
    "export_reason_required": "Escriba para qué se exporta, en unas palabras: queda en la bitácora.",
    "period_year_invalid": "El periodo comienza entre los años 2000 y 2100. Revise la primera fecha.",
    "period_invalid": "El periodo va de una fecha a otra igual o posterior, de hasta diez años. Revise las dos.",
    "restored_needs_person": "La base de datos se restauró o es una copia: este envío lo reanuda una persona, en su página.",
    "links_busy": "Ya se están comprobando otros enlaces. Espere medio minuto e intente de nuevo.",
    "too_many_addresses": "Pegó más de {limit} direcciones. Hágalo en dos partes: así ninguna queda fuera sin que se note.",
    "nobody_chosen": "No marcó a nadie. Vuelva a la lista y elija a quiénes.",
    "bulk_action_not_found": "No encontramos esa acción.",
    "bulk_action_undone": "Esa acción ya se deshizo.",
    "bulk_action_too_old": "Pasaron más de {days} días: esta acción ya no se puede deshacer.",
    "notice_version_invalid": "Escriba el nombre de la versión en hasta 40 letras, sin / ni ?, por ejemplo 2027-1.",
    "notice_version_taken": "Ya hay una versión con ese nombre. Una versión publicada no se reescribe: póngale otro.",
    "notice_text_required": "Escriba el aviso simplificado: es el que se muestra donde se pide un consentimiento.",
    "notice_unfilled": "Quedó algo por escribir: {words}. Escríbalo o quítelo.",
    "notice_day_past": "Esa fecha ya pasó. Una versión nueva rige desde hoy o después: lo que se mostró antes no cambia.",
    "notice_in_force": "Esa versión ya rige y alguien pudo leerla: se queda como constancia. Publique otra.",
    "notice_needed": "No hay aviso de privacidad en vigor. Publique uno en Ajustes, «Avisos de privacidad».",
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
    "account_not_found": "No encontramos esa cuenta.",
    "own_account": "No puede quitarse permisos ni desactivar su propia cuenta. Pídalo a otra persona de administración.",
    "last_administration": "Es la única cuenta de administración. Dé antes ese perfil a otra persona.",
    "present_session": "Esta es la sesión en la que está. Para cerrarla use «Cerrar sesión».",
    "invitation_over": "Esta invitación ya se usó, se retiró o venció. Pida otra a quien administra el sistema.",
    "password_wrong": "Esa no es su contraseña actual.",
    "password_differs": "Las dos contraseñas no son iguales. Escríbalas de nuevo.",
    "mail_settings_changed": "Otra persona cambió el correo saliente mientras usted lo editaba. Revise lo que dice ahora.",
    "sender_name_invalid": "Escriba el nombre con el que llegan los correos, de hasta 100 letras.",
    "relay_host_invalid": "Escriba el nombre del servidor, por ejemplo smtp.ejemplo.mx.",
    "relay_tls_required": "Fuera de este equipo la conexión debe ir cifrada. Elija STARTTLS o TLS directo.",
    "relay_port_invalid": "El puerto es un número de {least} a {most}.",
    "relay_pace_invalid": "Escriba cuántos correos por minuto admite el servidor, de {least} a {most}.",
    "warm_up_invalid": "Escriba el primer día en que se usó el servidor o el dominio nuevo: hoy o una fecha anterior.",
    "relay_password_required": "Escriba la contraseña de este usuario y servidor.",
    "client_not_found": "No encontramos ese cliente de la API.",
    "days_invalid": "La vigencia de una clave va de 1 a {limit} días.",
    # the API
    "route_not_found": "No existe esa ruta. Revise la dirección y el método en la documentación de la API.",
    "method_not_allowed": "Esa ruta no admite ese método.",
    "body_unreadable": "No pudimos leer el contenido de la petición. Revise que sea JSON o un formulario válido.",
    "body_not_storable": "El JSON tiene demasiados niveles, un número demasiado grande o un carácter que no se puede guardar.",
    "body_too_wide": "El JSON tiene una lista o un objeto con más de 20,000 datos. Divida la petición.",
    "form_too_large": "El formulario pesa más de 64 KB. Escriba menos e intente de nuevo.",
    "body_too_large": "La petición pesa más de {limit} MB. Divídala o reduzca el archivo.",
    "value_invalid": "Este dato no tiene la forma esperada. Revise su tipo y sus valores posibles en la documentación.",
    "field_unknown": "Este dato no existe en esta ruta. Revise el nombre en la documentación.",
    "too_many_requests": "Hizo demasiadas peticiones en este minuto. Espere e intente de nuevo.",
    "idempotency_key_invalid": "Idempotency-Key debe tener de 1 a 200 caracteres ASCII visibles.",
    "idempotency_key_reused": "Esa Idempotency-Key ya se usó con otro contenido. Use una nueva para esta petición.",
    "too_many_conditions": "Hay bloques para más de 4 segmentos distintos. Deje a lo sumo 4, o haga otra campaña.",
    "message_unknown": "Ese identificador no es de un correo nuestro a esa dirección. Cópielo completo del encabezado Message-ID.",
    "date_future": "Esa fecha aún no llega. Escriba la de hoy o una anterior.",
    "if_match_invalid": 'If-Match debe llevar la versión que se leyó, por ejemplo "3".',
    "record_changed": "Otra petición cambió este registro al mismo tiempo. Léalo e intente de nuevo.",
    # mailing
    "merge_field_unknown": "No existe el campo «{name}». Elija uno de la lista de campos.",
    "merge_field_malformed": "Hay llaves sin cerrar. Un campo va así: {{{{ nombre }}}} o {{{{ nombre | texto si falta }}}}.",
    "merge_field_misplaced": "El campo «{name}» no puede ir al principio de un enlace. Escriba primero la dirección, por ejemplo https://…",
    "header_refused": "El asunto o el nombre tiene un salto de línea. Quítelo.",
    "template_unknown": "No existe esa plantilla.",
    "template_broken": "La plantilla no se pudo compilar. Avise a quien administra el sistema.",
    "language_repeated": "Cada idioma se escribe una sola vez.",
    "spanish_required": "Falta el texto en español: es el que recibe quien no tiene versión en su idioma.",
    "material_not_found": "No encontramos ese material.",
    "segment_not_found": "No encontramos ese segmento.",
    "segment_exists": "Ya hay un segmento con ese nombre. Elija otro.",
    "segment_in_use": "Este segmento no se puede borrar: lo usan las campañas {names}. Cámbielas o déjelo como está.",
    "segment_changed": "Otra persona cambió este segmento mientras usted lo editaba. Revise los cambios y guarde de nuevo.",
    "segment_shape_invalid": "La regla no se entiende. Cada parte es all, any, not, o una condición con field, op y value.",
    "segment_field_unknown": "Ese campo no existe para segmentos. Elija uno de la lista.",
    "segment_operator_unknown": "Ese operador no sirve para este campo. Use uno de: {operators}.",
    "segment_value_invalid": "Ese valor no sirve para este campo. Se espera {expected}.",
    "segment_city_ambiguous": "Hay varias ciudades con ese nombre. Agregue el estado o el país, por ejemplo: San José, Costa Rica.",
    "segment_too_deep": "La regla tiene demasiados grupos dentro de otros: admite hasta {limit} niveles.",
    "segment_too_long": "La regla tiene demasiadas condiciones: admite hasta {limit}.",
    "segment_too_many_values": "La regla tiene demasiados valores: admite hasta {limit} en una lista y {total} en toda la regla.",
    "campaign_not_found": "No encontramos esa campaña.",
    "campaign_changed": "Otra persona cambió esta campaña mientras usted la editaba. Revise los cambios y guarde de nuevo.",
    "decision_reason_required": "Escriba por qué: la razón queda en la bitácora.",
    "send_notice_not_found": "Ese aviso ya no está o no es suyo.",
    "send_begun": "El envío ya comenzó: lo que salió no se puede recuperar. Puede pausarlo o cancelar lo que falta.",
    "mail_not_found": "Ese correo ya no está en el buzón de prueba.",
    "help_not_found": "Esa página de la ayuda no existe.",
    "nothing_to_undo": "No hay más cambios que deshacer en esta campaña.",
    "campaign_not_ready": "La campaña todavía no puede enviarse: {problems}",
    "already_ordered": "Esta campaña ya tiene un envío a esa hora. Si de verdad quiere enviarla dos veces, dígalo expresamente.",
    "count_changed": "El envío llegaría a {now} personas y usted confirmó {confirmed}. Revise y confirme de nuevo.",
    "nobody_to_send": "Con esta audiencia no hay nadie a quien se pueda escribir. Revise el segmento y los consentimientos.",
    "instant_required": "Diga la fecha y la hora del envío.",
    "mode_not_offered": "El envío a la hora local de cada persona aún no se ofrece. Use el modo now o at.",
    "instant_too_far": "Esa fecha no es posible. Revise el año.",
    "instant_past": "Esa hora ya pasó. Elija una hora futura o envíe ahora.",
    "send_not_found": "No encontramos ese envío.",
    "send_over": "Este envío ya terminó o se canceló; no se puede cambiar.",
    "send_not_started": "Este envío aún no comienza. Puede cancelarlo.",
    "delivery_not_found": "No encontramos ese correo.",
    "test_address_refused": "Las pruebas solo se envían a direcciones de cuentas del equipo.",
    "suppression_key_missing": "No se puede enviar: falta la clave de la lista de exclusión. "
    "Restaure el archivo keys.json del respaldo antes de enviar.",
    "keys_missing": "No se inicia: keys.json falta en la carpeta de datos, está dañado o es de otra instalación. "
    "Restáurelo del respaldo; con claves nuevas se volvería a escribir a quienes pidieron la baja.",
    "already_running": "El sistema ya está en marcha en esta carpeta de datos. Deténgalo antes de iniciar otro.",
    "relay_unreachable": "No pudimos conectar con el servidor de correo.",
    # files
    "file_empty": "El archivo está vacío. Elija otro.",
    "file_too_large": "El archivo pesa más de {limit} MB. Reduzca su tamaño y súbalo de nuevo.",
    "file_not_found": "No encontramos ese archivo.",
    "file_type_refused": "Ese tipo de archivo no se admite. Suba una imagen PNG, JPEG o WebP, o un PDF.",
    "file_not_what_it_says": "El archivo no es lo que dice ser. Ábralo, guárdelo de nuevo como PNG, JPEG o PDF y súbalo otra vez.",
    "file_broken": "El archivo está dañado o incompleto. Expórtelo de nuevo y vuelva a subirlo.",
    "picture_too_large": "La imagen es demasiado grande: admite hasta {megapixels} megapíxeles y {side} píxeles por lado.",
    "picture_animated": "La imagen tiene movimiento. Suba una imagen fija; los videos van por enlace.",
    "pdf_active_content": "El PDF lleva programas, acciones o archivos adjuntos. Expórtelo como PDF sencillo, para imprimir.",
    "pdf_encrypted": "El PDF está protegido con contraseña o cifrado. Guárdelo sin protección y súbalo de nuevo.",
    # materials
    "material_kind_takes_pdf": "Un documento se sube en PDF.",
    "material_kind_takes_picture": "La miniatura de un video es una imagen PNG, JPEG o WebP.",
    "material_has_no_picture": "Ese material no tiene imagen para el correo. Elija otro o suba su imagen.",
    "file_required": "Elija el archivo del material.",
    "link_required": "Escriba el enlace del video.",
    "link_invalid": "El enlace no sirve. Debe empezar con https:// y llevar un sitio público, por ejemplo https://www.ejemplo.mx/video.",
    "alt_text_missing": "Falta el texto alternativo: diga en una oración qué muestra la imagen.",
    "full_text_missing": "Falta el texto completo: escriba todo lo que el material dice, para quien no puede verlo.",
    # imports
    "document_not_kept": "Una celda traía un documento de identidad (CURP o clave de elector). No se leyó ni se guardó.",
    "possible_duplicate": "Quizá ya está en la Red con otros datos. Entra aparte; compare y, si es la misma, junte las dos fichas.",
    "phone_in_exponent": "La hoja de cálculo guardó solo el principio del teléfono (por ejemplo 5.55E+09). Dé a la columna "
    "el formato Texto y escríbalo completo.",
    "sheet_format_unknown": "Solo leemos hojas de cálculo (.xlsx, .ods, .xls) y archivos de texto (.csv, .tsv, .txt). Guarde "
    "su archivo en uno de esos formatos.",
    "sheet_not_what_it_says": "El archivo no es la hoja de cálculo que dice su nombre. Ábralo en su programa y guárdelo de nuevo.",
    "sheet_encoding_unknown": "No pudimos leer las letras del archivo. Guárdelo como «CSV UTF-8» y súbalo de nuevo.",
    "sheet_encoding_differs": "Así no se pueden leer las letras de todo el archivo. Elija otra forma de leerlas.",
    "sheet_malformed": "La fila {row} del archivo tiene comillas que no cierran. Corríjala o guarde de nuevo el archivo.",
    "sheet_cell_too_long": "La fila {row} del archivo tiene una celda de más de {limit} KB, o comillas que no cierran. Corríjala.",
    "sheet_unpacks_too_large": "El archivo ocupa más de {limit} MB al abrirse. Guarde solo la hoja de la lista, como CSV.",
    "sheet_too_large": "La hoja tiene más de {limit} filas. Guárdela como «CSV UTF-8» y suba ese archivo.",
    "sheet_too_wide": "La hoja tiene datos más allá de la columna {limit}. Deje solo las columnas de la lista o guárdela como CSV.",
    "no_header": "La primera fila debe tener los títulos de las columnas, por ejemplo: Nombre, Primer apellido, Correo.",
    "no_person_column": "Falta una columna con el nombre o con el correo de las personas.",
    "column_repeated": "Hay dos columnas con el mismo título: {headers}. Deje solo una.",
    "too_many_values": "Hay demasiados datos en una celda. Deje solo los necesarios.",
    "name_seems_turned": "El nombre parece empezar por los apellidos, y el saludo de los correos saldría mal. Si es así, diga "
    "que la columna es «Nombre completo, apellidos primero».",
    "name_seems_straight": "El nombre no parece empezar por los apellidos, y el saludo de los correos saldría mal. Si es así, diga "
    "que la columna es «Nombre completo».",
    "second_value_unused": "Había dos columnas con este dato y valores distintos; guardamos el primero.",
    "row_without_person": "La fila no tiene nombre ni correo.",
    "treatment_unknown": "El trato debe ser Estimada, Estimado o neutral; lo dejamos sin dato.",
    "leader_without_sector": "Dice que es líder, pero no en qué sector: desarrollo comunitario, negocios, academia o cultura.",
    "import_not_found": "No encontramos esa importación.",
    "import_file_changed": "El archivo no es el mismo con el que empezó esta importación. Use el archivo original.",
    "source_unknown": "Ninguna lista anterior tiene ese nombre. Con esta se guardará; diga abajo qué es cada columna.",
    "sheet_not_found": "Ese libro no tiene esa hoja. Elija otra.",
    "column_field_unknown": "Una columna se indicó con un dato que no existe. Elija uno de la lista.",
    "import_row_not_found": "Esa fila no está en la importación.",
    "import_row_settled": "Esta fila ya no se puede corregir aquí: entró, la importación se deshizo o sus datos ya se borraron.",
    "import_not_checked": "Esta importación cambió desde que se revisó, o ya comenzó. Recargue la página.",
    "import_not_done": "Esta importación todavía no termina.",
    "import_undone": "Esta importación ya se deshizo.",
    "import_too_old": "Pasaron más de {days} días: esta importación ya no se puede deshacer.",
    "import_running": "Esa importación ya está en curso. Espere a que termine.",
    # backups
    "backup_exists": "Ya hay un archivo con ese nombre: {path}. Elija otro; un respaldo nunca se escribe sobre otro.",
    "backup_missing": "No encontramos el archivo {path}.",
    "backup_not_ours": "Ese archivo no es un respaldo de este sistema. No se cambió nada.",
    "backup_damaged": "El respaldo está dañado o incompleto. No se cambió nada: use otra copia del archivo o el respaldo anterior.",
    "backup_newer": "El respaldo es de una versión más nueva del sistema. Actualice el programa y restaure de nuevo.",
    "backup_disk_full": "No hay espacio en el disco para el respaldo. Libere espacio e intente de nuevo.",
    "backup_failed": "No se pudo hacer el respaldo. Revise el disco, los permisos y la base de datos: crm doctor.",
    "nothing_to_back_up": "Todavía no hay una base de datos que respaldar.",
    "restore_not_empty": "La base de datos ya tiene información. Para sustituirla use --replace: antes se respalda lo que hay.",
    "restore_other_keys": "En esta carpeta hay claves (keys.json) de otra instalación. Use otra carpeta en CRM_DATA_DIR o, para "
    "sustituirla, --replace: antes se respalda lo que hay.",
    "restore_in_use": "Otro proceso tiene abierta la base de datos. Detenga crm run, crm web y crm worker en todos los equipos; "
    "si uno se cortó de golpe, espere un minuto.",
    "restore_not_whole": "El respaldo no se pudo cargar: la base de datos no contestó, no hubo espacio o no corresponde. "
    "No se cambió nada; crm doctor dice más.",
    # demo
    "demo_not_empty": "La base de datos ya tiene información. La red de demostración solo se crea en una base vacía.",
    "demo_not_beyond": "Hay cuentas de demostración: el sistema solo escucha en este equipo (127.0.0.1). "
    "Para abrirlo a otros, empiece sin datos con CRM_DEMO=0 y otra carpeta en CRM_DATA_DIR.",
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


class Gone(CrmError):
    kind = "gone"


class Conflict(CrmError):
    kind = "conflict"


class TooLarge(CrmError):
    kind = "too_large"


class TooMany(CrmError):
    kind = "too_many"


class Unavailable(CrmError):
    kind = "unavailable"
