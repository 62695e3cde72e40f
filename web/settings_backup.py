"""Ajustes, Respaldo: when the last backup was and where it lies, one now, and how it is brought back."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from crm import backup
from crm.backup import FOLDER, KEEP_DAYS, KEEP_WEEKS, BackupState, Trouble
from crm.errors import SENTENCES
from web.dependencies import SessionOf, ViewerOf, settings_of
from web.pages import page

HERE = "/ajustes/respaldo"
STATES = {
    BackupState.WAITING: ("Haciéndose", "live"),
    BackupState.DONE: ("Completo", "good"),
    BackupState.FAILED: ("No se pudo", "bad"),
}
"""A state of a backup in words, and its colour."""
TROUBLES = {
    Trouble.NEVER: "La Red todavía no tiene respaldo",
    Trouble.OLD: "El último respaldo bueno tiene más de dos días",
    Trouble.FAILED: "El último respaldo no se pudo hacer",
}
"""Why somebody should look at this page."""
MENDS = {
    Trouble.NEVER: "Lo hace solo crm run o crm worker: revise que esté en marcha.",
    Trouble.OLD: "Lo hace solo crm run o crm worker: revise que esté en marcha.",
    Trouble.FAILED: "Se intenta de nuevo solo cada hora.",
}

router = APIRouter()


@router.get(HERE)
def show(request: Request, session: SessionOf) -> Response:
    """The backups, and how they stand."""
    status, recent = backup.status(session), backup.recent(session)
    context = {
        "good": status.good,
        "trouble": TROUBLES[status.trouble] if status.trouble else "",
        "mend": MENDS[status.trouble] if status.trouble else "",
        "why": SENTENCES.get(status.last.failure or "", "") if status.last and status.trouble is Trouble.FAILED else "",
        "recent": [(row, STATES[row.state], SENTENCES.get(row.failure or "", "")) for row in recent],
        "waits": any(row.state is BackupState.WAITING for row in recent),
        "folder": str((settings_of(request).data_dir / FOLDER).resolve()),
        "days": KEEP_DAYS,
        "weeks": KEEP_WEEKS,
    }
    return page(request, "settings/backup.html", context)


@router.post(HERE)
def ask(session: SessionOf, viewer: ViewerOf) -> Response:
    """One now: a worker makes it."""
    backup.ask(session, viewer.account_id)
    return RedirectResponse(HERE, status_code=303)
