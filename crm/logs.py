"""Log lines: one JSON object each, of codes, ids and counts; never an address, a name, a subject, a token or a key."""

import logging
import sys

import structlog

QUIET = ("uvicorn.access", "mail.log", "aiosmtplib", "dbos", "sqlalchemy.engine", "alembic", "httpx", "asyncio")
"""Loggers of libraries whose lines could hold a path with a token, an envelope or a statement."""
_SHARED: list[structlog.typing.Processor] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True)]


def configure() -> None:
    """Send our lines to standard error as JSON; libraries speak only of errors, and those of `QUIET` not at all."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
            foreign_pre_chain=_SHARED,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.ERROR, force=True)
    # Somebody at a terminal reads what went wrong; a file or a collector gets every line.
    logging.getLogger("crm").setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
