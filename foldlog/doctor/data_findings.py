"""What `foldlog doctor` says of a data directory, of what runs on it and of the
settings: pure, as diagnosis.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from foldlog.doctor.host_findings import Finding
from foldlog.processes import Running
from foldlog.quantities import ago
from shared.settings import Settings
from shared.undeclared_proxy import WARNING

SECRET_MIN = 16
_ANYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class Owned(NamedTuple):
    """Who owns a data directory and what is in it. Modes are permission bits; `foreign`
    are entries of another owner.
    """

    owner: str
    mode: int
    private_mode: int | None
    loose: Sequence[Path]
    foreign: Sequence[Path]
    foreign_owner: str


class Parts(NamedTuple):
    """The parts that a snapshot names: how many, and those that are missing or have
    another size.
    """

    named: int
    wrong: Sequence[Path]


def data_directory(root: Path, owned: Owned) -> Finding:
    """Who may look into the data directory, and who may write to it."""
    there = f"{root}: mode {owned.mode:o}, of {owned.owner}"
    if owned.mode & 0o022:
        who = "everybody" if owned.mode & 0o002 else "its group"
        level = "wrong" if owned.mode & 0o002 else "warning"
        return Finding("data directory", level, f"{there}: {who} may write there", f"chmod 750 {root}")  # type: ignore[arg-type]
    if owned.mode & 0o005:
        return Finding("data directory", "warning", f"{there}: everybody on this host may read it", f"chmod 750 {root}")
    return Finding("data directory", "ok", there)


def private(directory: Path, owned: Owned) -> Finding:
    """Salt and token hashes are for one user alone."""
    if owned.private_mode is None:
        return Finding("private files", "ok", "none yet")
    if owned.private_mode & 0o077:
        found = f"{directory}: mode {owned.private_mode:o}; with the salt in it visitors could be found out"
        return Finding("private files", "wrong", found, f"chmod 700 {directory}")
    if owned.loose:
        found = f"{owned.loose[0]} may be read by others{_and_more(owned.loose)}"
        return Finding("private files", "wrong", found, f"chmod 600 {directory}/*")
    return Finding("private files", "ok", f"{directory}: for its owner alone")


def ownership(root: Path, owned: Owned) -> Finding:
    """The classic: a command was run as root once, and left files that the service may
    not replace.
    """
    if owned.foreign:
        found = f"{owned.foreign[0]} belongs to {owned.foreign_owner}{_and_more(owned.foreign)}: a command was run as that user"
        do = f"chown -R {owned.owner}: {root}; and from now on `sudo -u {owned.owner} foldlog …`"
        return Finding("ownership", "wrong", found, do)
    return Finding("ownership", "ok", f"everything belongs to {owned.owner}")


def user(me: str, owner: str, service: str | None) -> Finding:
    """Who runs it: the service where one runs, else this command."""
    if service == "root" or (service is None and me == owner == "root"):
        do = "make a user for it: useradd --system --home-dir /var/lib/foldlog foldlog; chown the data directory"
        return Finding("user", "warning", "it runs as root: a flaw in it would be one of the whole host", do)
    if me not in {owner, "root"}:
        return Finding(
            "user", "warning", f"you are {me}, the data belongs to {owner}", f"sudo -u {owner} foldlog doctor"
        )
    if me != owner:
        do = f"`sudo -u {owner} foldlog …` for what writes (import, erase, rebuild): what root makes belongs to root"
        return Finding("user", "warning", f"you are {me}, the data belongs to {owner}", do)
    return Finding("user", "ok", me)


def _and_more(paths: Sequence[object]) -> str:
    return f", and {len(paths) - 1:,} more" if len(paths) > 1 else ""


def processes(running: Running, lag_s: float | None, settings: Settings) -> Finding:
    """Whether something takes events and folds them."""
    if running.workers is None:
        return Finding("processes", "unknown", "only the user that runs Foldlog can ask its workers")
    if running.is_nothing:
        return Finding("processes", "warning", "nothing runs here", "`foldlog serve`, or start the unit that does it")
    under = f"`foldlog serve` (process {running.serve})" if running.serve else "no `foldlog serve`, but"
    if running.unresponsive:
        found = f"{under}: of its workers these do not answer: {', '.join(running.unresponsive)}"
        do = "what do its messages say? `child_stuck`: it was killed, and is started again; else wait for FOLDLOG_WORKER_TIMEOUT"
        return Finding("processes", "wrong", found, do)
    if not running.responsive:
        return Finding("processes", "wrong", f"{under}: no worker answers", "what do its messages say?")
    if lag_s is not None and lag_s > settings.fold_late_after_s:
        found = f"{under}: workers answer, but the last fold was {ago(lag_s)}"
        return Finding("processes", "wrong", found, "is `foldlog compact` running, and what does it say?")
    return Finding("processes", "ok", f"{under}: {len(running.responsive)} answering, folds are made")


def address(running: Running, listens: bool | None, settings: Settings) -> Finding:
    """Whether FOLDLOG_LISTEN is ours. `listens`: something does there; None: that
    cannot be seen.
    """
    host, port = settings.listen
    here = f"{host}:{port}"
    if listens is None:
        return Finding("address", "unknown", f"whether something listens at {here} cannot be seen")
    if running.responsive and not listens:
        do = "are these the settings that the service runs with? Give --config or the same environment (`foldlog check-config`)"
        return Finding("address", "warning", f"workers run, but nothing listens at {here}", do)
    if listens and running.is_nothing:
        do = f"`ss -ltnp 'sport = :{port}'` says what it is: stop it, or set FOLDLOG_LISTEN. If it is systemd, start the service"
        return Finding("address", "wrong", f"something listens at {here}, and it is no worker of this directory", do)
    return Finding("address", "ok", f"{here}: {'a worker listens' if listens else 'free'}")


def proxies(one_address: bool, settings: Settings) -> Finding:
    """Whether the clients' addresses can be told."""
    trusted = settings.trusted_proxies
    if any(network in _ANYWHERE for network in trusted):
        do = "name the proxies alone, as in FOLDLOG_TRUSTED_PROXIES=127.0.0.1"
        return Finding("proxies", "wrong", "FOLDLOG_TRUSTED_PROXIES trusts everybody: clients choose their address", do)
    if one_address:
        do = "FOLDLOG_TRUSTED_PROXIES=127.0.0.1 if it is on this host, else its address; then restart"
        return Finding("proxies", "warning", WARNING, do)
    host = settings.listen[0]
    if not trusted and not _is_loopback(host):
        do = "listen on 127.0.0.1 behind a proxy with TLS (docs/deploy-nginx.md), or name the proxy in FOLDLOG_TRUSTED_PROXIES"
        return Finding(
            "proxies", "warning", f"it listens on {host} without a proxy: plain HTTP, tokens and all, in clear text", do
        )
    named = " ".join(map(str, trusted))
    return Finding("proxies", "ok", f"trusted: {named}" if named else "none, and only this host can reach it")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def settings_of(settings: Settings, ingest_tokens: int) -> Iterator[Finding]:
    """What the settings lead to that may not be meant. One finding each, or one that
    all is well.
    """
    found = [*_doubtful(settings)]
    yield from found or [Finding("settings", "ok", "nothing doubtful; `foldlog check-config` shows what is in force")]
    if not settings.sites and not settings.ingest_keys and not ingest_tokens:
        only = "only pages of the host that Foldlog answers for, and no server"
        others = "for pages of other hosts FOLDLOG_SITES, for servers `foldlog token create --scope ingest`"
        yield Finding("who may write", "ok", f"{only}; {others}")
    else:
        sites = " ".join(settings.sites) or "the host that it answers for"
        keys = len(settings.ingest_keys) + ingest_tokens
        yield Finding("who may write", "ok", f"pages of {sites}; {keys} {'key' if keys == 1 else 'keys'} for servers")


def _doubtful(settings: Settings) -> Iterator[Finding]:
    def warning(found: str, do: str) -> Finding:
        return Finding("settings", "warning", found, do)

    if settings.consent == "implied":
        yield warning(
            "FOLDLOG_CONSENT=implied: events are taken without a word from the visitor",
            "FOLDLOG_CONSENT=required, unless your law allows it (docs/consent.md)",
        )
    short = [name for name, secrets in _secrets(settings) if any(len(secret) < SECRET_MIN for secret in secrets)]
    for name in short:
        yield warning(
            f"{name} has fewer than {SECRET_MIN} characters: it can be guessed",
            "`foldlog token create` makes a good one",
        )
    if settings.disk_reserve == 0:
        yield warning(
            "FOLDLOG_DISK_RESERVE=0: the disk may become full to the last byte", "FOLDLOG_DISK_RESERVE=512MiB"
        )
    if settings.rate_limit == 0:
        yield warning("FOLDLOG_RATE_LIMIT=0: one client may send as much as it can", "FOLDLOG_RATE_LIMIT=600")
    if settings.durability == "os":
        yield warning(
            "FOLDLOG_DURABILITY=os: answers are 202, and a power cut takes the events of the last seconds",
            "FOLDLOG_DURABILITY=fsync, unless that is meant",
        )
    if settings.archive_retention_days < settings.log_retention_days:
        yield warning(
            "FOLDLOG_ARCHIVE_RETENTION_DAYS is below FOLDLOG_LOG_RETENTION_DAYS: the log keeps events that reports cannot see",
            "keep the log for a shorter time than the archive",
        )
    if settings.log_retention_days == 0:
        yield warning(
            "FOLDLOG_LOG_RETENTION_DAYS=0: of a damaged part nothing could be made again",
            "keep the log for a few days",
        )
    if settings.country_header and not settings.trusted_proxies:
        yield warning(
            "FOLDLOG_COUNTRY_HEADER is believed from FOLDLOG_TRUSTED_PROXIES alone, and there are none",
            "name the proxy that sends it",
        )


def _secrets(settings: Settings) -> list[tuple[str, tuple[str, ...]]]:
    admin = (settings.admin_token,) if settings.admin_token else ()
    return [("FOLDLOG_ADMIN_TOKEN", admin), ("a key in FOLDLOG_INGEST_KEYS", settings.ingest_keys)]


def parts(generation: int, found: Parts) -> Finding:
    """Whether what the snapshot names is there. Only by size: `foldlog verify` reads
    it.
    """
    if found.wrong:
        return Finding(
            "parts",
            "wrong",
            f"{found.wrong[0]} is missing or has another size{_and_more(found.wrong)}",
            "restore it from a backup, or run `foldlog rebuild`; `foldlog verify` checks all of them",
        )
    return Finding(
        "parts", "ok", f"all {found.named:,} of generation {generation:,} are there (`foldlog verify` reads them)"
    )


def suspect(files: Sequence[str]) -> Finding:
    """Sealed segments without a checksum: the disk failed while they were open, or
    somebody deleted the .sha256.
    """
    if files:
        do = "nothing: the next pass takes what the CRC of each line vouches for. What does the kernel say (`dmesg`)?"
        return Finding("segments", "warning", f"{files[0]} has no .sha256{_and_more(files)}, and is not folded", do)
    return Finding("segments", "ok", "none that waits for the fold lacks its checksum")


def erasures(pending: int, is_folding: bool) -> Finding:
    """Erasures that were asked for and are not done."""
    if pending:
        do = (
            "nothing: the next pass does it"
            if is_folding
            else "`foldlog serve`, or `foldlog compact --once`: a pass does it"
        )
        return Finding("erasures", "warning", f"{pending:,} asked for and not done yet", do)
    return Finding("erasures", "ok", "none waits to be done")
