"""Bring the database to the newest schema."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from crm.config import Settings
from crm.database import make_engine

ROOT = Path(__file__).parent.parent


def upgrade(settings: Settings) -> None:
    """Create the tables, or change those of an older release; nothing happens when they are the newest."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = make_engine(settings.sqlalchemy_url)
    try:
        with engine.connect() as connection:
            bring(connection, "head")
            connection.commit()
    finally:
        engine.dispose()


def bring(connection: sa.Connection, revision: str) -> None:
    """Bring the tables of a connection up to a revision, in its transaction."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def newest() -> str:
    """The revision of this release."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def knows(revision: str) -> bool:
    """Whether a revision is of this release or of one before."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config
