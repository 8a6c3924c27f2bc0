"""Private ClickHouse servers: those of Debian, as one or more shards, that can be
killed and started again. Nothing of them outlives the tests.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.builders.guard import guarded
from tests.builders.programs import program
from tests.builders.waiting import TIMEOUT_S, until

CLUSTER = "analytics"
_USERS = """<yandex>
<profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
<quotas><default/></quotas>
<users><default>
  <password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
</default></users>
</yandex>"""
_CONFIG = """<yandex>
<logger><level>warning</level><console>1</console></logger>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>{home}/data/</path><tmp_path>{home}/tmp/</tmp_path>
<users_config>users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>
<remote_servers><{cluster}>{shards}</{cluster}></remote_servers>
</yandex>"""
_SHARD = "<shard><replica><host>127.0.0.1</host><port>{tcp}</port></replica></shard>"


class ClickHouseServer:
    """One shard. Its data stays when it is killed."""

    def __init__(self, command: list[str], home: Path, http: int, tell_guard: Callable[[int | None], None]) -> None:
        self.http = http
        self._command, self._home, self._tell_guard = command, home, tell_guard
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        assert self._process is None, "this ClickHouse runs already"
        with (self._home / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt of the tests is not the server's
                **_identity(),
            )
        self._tell_guard(self._process.pid)
        until(self._is_ready, (self._home / "server.log").read_text)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(TIMEOUT_S)
        self._process = None
        self._tell_guard(None)

    def stand_still(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def keep_copy(self, to: Path) -> None:
        """Of its data, as a backup has it."""
        self.kill()
        shutil.copytree(self._home / "data", to)
        self.start()

    def restore(self, copy: Path) -> None:
        self.kill()
        shutil.rmtree(self._home / "data")
        shutil.copytree(copy, self._home / "data")
        if identity := _identity():
            for path in (self._home / "data", *(self._home / "data").rglob("*")):
                os.chown(path, identity["user"], identity["group"], follow_symlinks=False)
        self.start()

    def ask(self, sql: str, timeout_s: float = TIMEOUT_S) -> str:
        """What it answers, as TabSeparated."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/", sql.encode())
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return str(answer.read().decode())

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def _is_ready(self) -> bool:
        with suppress(OSError):
            return self.ask("SELECT 1") == "1\n"
        return False


class Shards:
    """The servers of a cluster."""

    def __init__(self, servers: Sequence[ClickHouseServer]) -> None:
        self.servers = servers
        self._databases = 0

    def ask(self, sql: str, timeout_s: float = TIMEOUT_S) -> str:
        """What the first one answers."""
        return self.servers[0].ask(sql, timeout_s)

    def database(self) -> str:
        """The address of a new, empty database on all shards."""
        self._databases += 1
        name = f"test_{self._databases}"
        for server in self.servers:
            server.ask(f"CREATE DATABASE {name}")
        hosts = ",".join(f"127.0.0.1:{server.http}" for server in self.servers)
        return f"clickhouse://{hosts}/{name}?cluster={CLUSTER}"


@contextmanager
def running(shards: int) -> Iterator[Shards]:
    """A cluster of its own. Skips the test without the program, or fails it in CI."""
    # Debian's package: apt-get install clickhouse-server
    found = program("clickhouse-server")
    ports = [(_free_port(), _free_port()) for _ in range(shards)]
    listed = "".join(_SHARD.format(tcp=tcp) for _, tcp in ports)
    with ExitStack() as stack:
        servers = []
        for http, tcp in ports:
            home = Path(tempfile.mkdtemp(prefix="clickhouse-"))
            tell_guard = stack.enter_context(guarded(home))
            (home / "users.xml").write_text(_USERS)
            (home / "config.xml").write_text(
                _CONFIG.format(http=http, tcp=tcp, home=home, cluster=CLUSTER, shards=listed)
            )
            if identity := _identity():
                shutil.chown(home, identity["user"], identity["group"])
            home.chmod(0o711)
            server = ClickHouseServer([found, f"--config-file={home / 'config.xml'}"], home, http, tell_guard)
            server.start()
            stack.callback(_end, server)
            servers.append(server)
        yield Shards(servers)


def _end(server: ClickHouseServer) -> None:
    if server.is_running:
        server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _identity() -> dict[str, Any]:
    """Who it runs as, for subprocess: not root."""
    if os.geteuid():
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
