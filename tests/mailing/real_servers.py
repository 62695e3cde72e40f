"""Mail servers as Debian installs them, each started with a configuration of its own that delivers into folders of a test."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from crm.config import RelayAddress

DOMAINS = ("example.org", "example.com", "example.net")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

_POSTFIX = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {daemons}
command_directory = /usr/sbin
mail_owner = {user}
setgid_group = postdrop
myhostname = mail.example.org
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
virtual_mailbox_domains = {domains}
virtual_mailbox_base = {folder}/boxes
virtual_mailbox_maps = texthash:{folder}/known
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
maillog_file_prefixes = {folder}
maillog_file = {folder}/data/log
"""
_POSTFIX_SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
retry unix - - n - - error
virtual unix - n n - - virtual
postlog unix-dgram n - n - 1 postlogd
"""
_QUEUES = [f"queue/{name}" for name in ("active", "bounce", "defer", "deferred", "incoming", "private", "public")]
"""What `postfix check` would make, in three seconds of shell."""
_EXIM = """
primary_hostname = mail.example.org
spool_directory = {folder}/data
log_file_path = {folder}/data/%slog
pid_file_path = {folder}/data/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
domainlist ours = {domains}
smtp_accept_queue_per_connection = 0
smtputf8_advertise_hosts = *
tls_advertise_hosts =
host_lookup =
keep_environment =
deliver_drop_privilege = true
acl_smtp_rcpt = known
acl_smtp_data = accept
begin acl
known:
  accept domains = +ours
         verify = recipient
  deny message = no such user here
begin routers
boxes:
  driver = accept
  domains = +ours
  condition = ${{lookup{{$local_part@$domain}}lsearch{{{folder}/known}}{{yes}}{{no}}}}
  transport = box
begin transports
box:
  driver = appendfile
  maildir_format
  directory = {folder}/boxes/${{lookup{{$local_part@$domain}}lsearch{{{folder}/known}}}}
  create_directory
"""


@dataclass(frozen=True)
class RealServer:
    """A running server; what it delivers lies in a folder per address."""

    port: int
    folder: Path

    @property
    def relay(self) -> RelayAddress:
        return RelayAddress(host="127.0.0.1", port=self.port, tls="none", per_minute=None)

    def delivered(self, count: int, seconds: float = 8) -> dict[str, list[EmailMessage]]:
        """The mails by address, as soon as there are so many."""
        until = time.monotonic() + seconds
        while len(files := list((self.folder / "boxes").glob("*/new/*"))) < count and time.monotonic() < until:
            time.sleep(0.02)
        told: dict[str, list[EmailMessage]] = {}
        for file in files:
            told.setdefault(file.parts[-3], []).append(message_from_bytes(file.read_bytes(), policy=policy.default))
        return told

    @property
    def log(self) -> str:
        return "".join(file.read_text(errors="replace") for file in (self.folder / "data").glob("*log") if file.is_file())


def why_not(program: str) -> str | None:
    """Why a server cannot be started here; None: it can."""
    if shutil.which(program, path=_PATH) is None:
        return f"{program} is not installed (in Debian: apt-get install {program.replace('exim4', 'exim4-daemon-light')})"
    return f"{program} starts only as root, and these tests run as another user" if os.geteuid() != 0 else None


@contextmanager
def postfix(known: Sequence[str]) -> Iterator[RealServer]:
    """Postfix, which knows some addresses and no other."""
    user = pwd.getpwnam("postfix")
    with _folder("postfix") as (folder, port):
        (folder / "queue" / "pid").mkdir()
        for part in ("data", "boxes", *_QUEUES):
            (folder / part).mkdir(exist_ok=True)
            os.chown(folder / part, user.pw_uid, user.pw_gid)
        asked = [_found("postconf"), "-dh", "daemon_directory"]
        daemons = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
        told = {"folder": folder, "port": port, "daemons": daemons, "domains": " ".join(DOMAINS)}
        (folder / "known").write_text("".join(f"{address} {address}/\n" for address in known))
        (folder / "main.cf").write_text(_POSTFIX.format(**told, user=user.pw_name, uid=user.pw_uid, gid=user.pw_gid))
        (folder / "master.cf").write_text(_POSTFIX_SERVICES.format(**told))
        with _started([f"{daemons}/master", "-c", folder, "-d"], folder, port) as server:
            yield server


@contextmanager
def exim(known: Sequence[str]) -> Iterator[RealServer]:
    """Exim, which knows some addresses and no other."""
    with _folder("exim") as (folder, port):
        for part in ("data", "boxes"):
            (folder / part).chmod(0o777)  # the name of its user is its own affair
        (folder / "known").write_text("".join(f"{address}: {address}\n" for address in known))
        (folder / "exim.conf").write_text(_EXIM.format(folder=folder, port=port, domains=" : ".join(DOMAINS)))
        with _started([_found("exim4"), "-C", folder / "exim.conf", "-bdf"], folder, port) as server:
            yield server


SERVERS = {"postfix": postfix, "exim4": exim}
"""By the name of their program."""


def _found(program: str) -> str:
    return shutil.which(program, path=_PATH) or program


@contextmanager
def _folder(name: str) -> Iterator[tuple[Path, int]]:
    """A folder that the server's user may enter, and a free port."""
    with tempfile.TemporaryDirectory(prefix=f"real-{name}-") as made, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        folder, port = Path(made), probe.getsockname()[1]
        folder.chmod(0o755)
        for part in ("data", "boxes", "queue"):
            (folder / part).mkdir()
        probe.close()
        yield folder, port


@contextmanager
def _started(command: Sequence[str | Path], folder: Path, port: int) -> Iterator[RealServer]:
    server = RealServer(port, folder)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_for(server, process)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _wait_for(server: RealServer, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 5) as talk:
            if talk.recv(3) == b"220":
                return
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {server.log[-2000:]}")
