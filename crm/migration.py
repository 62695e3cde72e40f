"""Bring the database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from crm.config import Settings
from crm.database import make_engine

ROOT = Path(__file__).parent.parent


def upgrade(settings: Settings) -> None:
    """Create the tables, or change those of an older release; nothing happens when they are the newest."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = Config(str(ROOT / "alembic.ini"))
    config.set_main_option("script_location", str(ROOT / "migrations"))
    engine = make_engine(settings.sqlalchemy_url)
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
