"""The product: `ours DATABASE_URL DATA_DIR PORT CONNECTIONS [KEY_FILE]` drains send 1 of a database that the bench made."""

import gc
import sys
from pathlib import Path

from sqlalchemy import orm

from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.keys import load_keys
from crm.mailing import sending
from crm.mailing.drain import Way
from tests.bench.senders import measured

url, folder, port, connections, *keys = sys.argv[1:]
settings = Settings(
    database_url=url,
    data_dir=Path(folder),
    secret_key="a secret of the benches",
    demo=False,
    dkim_keys=f"bench={keys[0]}" if keys else "",
)
relay = RelayAddress(host="127.0.0.1", port=int(port), tls="none", per_minute=None)
database = Database(settings, load_keys(settings.data_dir))
orm.configure_mappers()  # which a worker has done long before
gc.collect()
gc.freeze()  # as `crm worker` does
measured(lambda: sending.drain(database, 1, Way(settings, relay, connections=int(connections))))
