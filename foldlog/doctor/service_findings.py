"""Findings of `foldlog doctor` about the processes that run and the settings in force:
pure functions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from foldlog.doctor.finding import Finding
from foldlog.processes import Running
from foldlog.quantities import ago, counted
from shared.settings import Settings
from shared.undeclared_proxy import WARNING

_ANY_ADDRESS = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def processes(running: Running, lag_s: float | None, settings: Settings) -> Finding:
    """Whether events are accepted and folded. `lag_s`: age of the last fold."""
    name = "processes"
    if running.workers is None:
        return Finding(name, "unknown", "only the user that runs Foldlog can query its workers")
    if running.is_nothing:
        return Finding(name, "warning", "no process is running here", "`foldlog serve`, or start its unit")
    under = f"`foldlog serve` (process {running.serve})" if running.serve else "no `foldlog serve`, but"
    if running.unresponsive:
        found = f"{under}: these workers do not respond: {', '.join(running.unresponsive)}"
        do = "check the log: after `child_stuck` they are restarted; else wait for FOLDLOG_WORKER_TIMEOUT"
        return Finding(name, "wrong", found, do)
    if not running.responsive:
        return Finding(name, "wrong", f"{under}: no worker responds", "check the log")
    if lag_s is not None and lag_s > settings.fold_late_after_s:
        found = f"{under}: workers respond, but the last fold was {ago(lag_s)}"
        return Finding(name, "wrong", found, "check that `foldlog compact` is running, and its log")
    return Finding(name, "ok", f"{under}: {len(running.responsive)} responding, folds on time")


def address(running: Running, is_listening: bool | None, settings: Settings) -> Finding:
    """Whether a worker listens at FOLDLOG_LISTEN. `is_listening`: whether any process
    does; None where that cannot be seen.
    """
    host, port = settings.listen
    here = f"{host}:{port}"
    if is_listening is None:
        return Finding("address", "unknown", f"whether a process listens at {here} cannot be seen")
    if running.responsive and not is_listening:
        do = "check that the service has these settings: use its --config or environment (`foldlog check-config`)"
        return Finding("address", "warning", f"workers are running, but nothing listens at {here}", do)
    if is_listening and running.is_nothing:
        do = (
            f"`ss -ltnp 'sport = :{port}'` shows it: stop it, or set FOLDLOG_LISTEN. If it is systemd, start the "
            f"service"
        )
        return Finding("address", "wrong", f"the process that listens at {here} is not a worker of this directory", do)
    return Finding("address", "ok", f"{here}: {'a worker listens' if is_listening else 'free'}")


def proxies(is_undeclared: bool, settings: Settings) -> Finding:
    """Whether the addresses of clients are known."""
    name, trusted = "proxies", settings.trusted_proxies
    if any(network in _ANY_ADDRESS for network in trusted):
        do = "list the proxies only, as in FOLDLOG_TRUSTED_PROXIES=127.0.0.1"
        return Finding(name, "wrong", "FOLDLOG_TRUSTED_PROXIES trusts every address: clients choose their own", do)
    if is_undeclared:
        do = "FOLDLOG_TRUSTED_PROXIES=127.0.0.1 if it is on this host, else its address; then restart"
        return Finding(name, "warning", WARNING, do)
    host = settings.listen[0]
    if not trusted and not _is_loopback(host):
        found = f"it listens on {host} without a proxy: plain HTTP, tokens included, unencrypted"
        do = (
            "listen on 127.0.0.1 behind a proxy with TLS (docs/deploy-nginx.md), or add the proxy to "
            "FOLDLOG_TRUSTED_PROXIES"
        )
        return Finding(name, "warning", found, do)
    listed = " ".join(map(str, trusted))
    return Finding(name, "ok", f"trusted: {listed}" if listed else "none; only this host can reach it")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def rate_store(where: str, answer: float | str, answer_max_s: float) -> Finding:
    """Whether the hosts share one rate limit. `where`: the store, without secrets;
    `answer`: the seconds that it took, or why there was none.
    """
    name = "rate store"
    alone = "each host counts alone meanwhile"
    do = "docs/runbook.md, The rate limit is not shared"
    if isinstance(answer, str):
        return Finding(name, "warning", f"{where} does not answer ({answer}): {alone}", do)
    if answer > answer_max_s:
        found = (
            f"{where} answers after {answer * 1000:.0f} ms, and no request waits longer than {answer_max_s * 1000:g}"
        )
        return Finding(name, "warning", f"{found}: {alone}", do)
    return Finding(name, "ok", f"{where} answers after {answer * 1000:.1f} ms")


def settings_of(settings: Settings, ingest_tokens: int) -> Iterator[Finding]:
    """A finding for each setting that may be a mistake, or one that there is none; then
    who may write.
    """
    found = [Finding("settings", "warning", text, do) for text, do in _doubtful(settings)]
    yield from found or [Finding("settings", "ok", "none is doubtful; `foldlog check-config` shows what is in force")]
    yield _writers(settings, ingest_tokens)


def _writers(settings: Settings, ingest_tokens: int) -> Finding:
    keys = len(settings.ingest_keys) + ingest_tokens
    if settings.sites or keys:
        sites = " ".join(settings.sites) or "the host that Foldlog serves"
        return Finding("who may write", "ok", f"pages of {sites}; {counted(keys, 'key')} for servers")
    others = "for pages of other hosts FOLDLOG_SITES, for servers `foldlog token create --scope ingest`"
    return Finding("who may write", "ok", f"only pages of the host that Foldlog serves, and no server; {others}")


def _doubtful(settings: Settings) -> Iterator[tuple[str, str]]:
    """What was found, and what to do."""
    if settings.consent == "implied":
        yield (
            "FOLDLOG_CONSENT=implied: events are accepted without consent of the visitor",
            "FOLDLOG_CONSENT=required, unless your law allows it (docs/consent.md)",
        )
    if settings.disk_reserve == 0:
        yield "FOLDLOG_DISK_RESERVE=0: the disk may fill up completely", "FOLDLOG_DISK_RESERVE=512MiB"
    for name in ("rate_limit", "rate_limit_events", "rate_limit_bytes"):
        if getattr(settings, name) == 0:
            setting = f"FOLDLOG_{name.upper()}"
            yield f"{setting}=0: one client may send without limit", f"{setting}={getattr(Settings, name)}"
    if settings.durability == "os":
        yield (
            "FOLDLOG_DURABILITY=os: answers are 202, and a power cut loses the events of the last seconds",
            "FOLDLOG_DURABILITY=fsync, unless that is intended",
        )
    yield from _doubtful_retention(settings)
    if settings.country_header and not settings.trusted_proxies:
        yield (
            "FOLDLOG_COUNTRY_HEADER is accepted only from FOLDLOG_TRUSTED_PROXIES, and there are none",
            "add the proxy that sends it",
        )


def _doubtful_retention(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.archive_retention_days < settings.log_retention_days:
        yield (
            "FOLDLOG_ARCHIVE_RETENTION_DAYS is below FOLDLOG_LOG_RETENTION_DAYS: reports miss events of the log",
            "keep the log for a shorter time than the archive",
        )
    if settings.log_retention_days == 0:
        yield (
            "FOLDLOG_LOG_RETENTION_DAYS=0: a damaged part could not be rebuilt",
            "keep the log for a few days",
        )
