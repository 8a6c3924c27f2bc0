"""Findings of `foldlog doctor` about a data directory: pure functions from values that
data_probe.py reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from foldlog.doctor.finding import Finding, and_more
from foldlog.users import as_user, owner_and_group
from shared.annotations import Annotation
from shared.control_chars import printable
from shared.generations.snapshot import RetentionHold, SetAside, Snapshot
from shared.generations.summary import Summary
from shared.kept_entries import Found
from shared.named_filters import NamedFilter
from shared.segments.recovery import NotASegment
from shared.tokens import TokensFile

# What to do where a pass does the rest.
DONE_BY_NEXT = "nothing: the next pass completes it"
DONE_BY_ANY = "`foldlog serve`, or `foldlog compact --once`: a pass completes it"


class Permissions(NamedTuple):
    """Owner and mode (permission bits) of a data directory and of private/. `loose`:
    private files that others may access; `foreign`: entries of another owner.
    """

    owner: str
    mode: int
    private_mode: int | None
    loose: Sequence[Path]
    foreign: Sequence[Path]
    foreign_owner: str


class PartFiles(NamedTuple):
    """How many parts a snapshot references, and those missing or of another size."""

    referenced: int
    wrong: Sequence[Path]


def data_directory(root: Path, permissions: Permissions) -> Finding:
    """Who may read the data directory, and who may write to it."""
    name, do = "data directory", f"chmod 750 {root}"
    found = f"{root}: mode {permissions.mode:o}, owner {permissions.owner}"
    if permissions.mode & 0o002:
        return Finding(name, "wrong", f"{found}: every user may write there", do)
    if permissions.mode & 0o020:
        return Finding(name, "warning", f"{found}: its group may write there", do)
    if permissions.mode & 0o005:
        return Finding(name, "warning", f"{found}: every user of this host may read it", do)
    return Finding(name, "ok", found)


def private(directory: Path, permissions: Permissions) -> Finding:
    """The salt and the hashes of tokens are readable for one user only."""
    name = "private files"
    if permissions.private_mode is None:
        return Finding(name, "ok", "none yet")
    if permissions.private_mode & 0o077:
        found = f"{directory}: mode {permissions.private_mode:o}; the salt in it could identify visitors"
        return Finding(name, "wrong", found, f"chmod 700 {directory}")
    if permissions.loose:
        found = f"other users may read {permissions.loose[0]}{and_more(permissions.loose)}"
        return Finding(name, "wrong", found, f"chmod 600 {directory}/*")
    return Finding(name, "ok", f"{directory}: only its owner may read it")


def locks(loose: Sequence[Path], foreign: Sequence[tuple[Path, int, str]]) -> Iterator[Finding]:
    """`loose`: lock files that others may open, and so lock. `foreign`: files that a
    process of another user has locked, with its pid and user.
    """
    for path, pid, name in foreign:
        found = f"process {pid} of {name} has locked {path}: the service waits for it, or does not start"
        yield Finding("locks", "wrong", found, f"kill {pid}; chmod 600 {path}")
    if loose:
        found = f"other users may lock {loose[0]}{and_more(loose)}, and stop the service with it"
        do = f"restart the service, which repairs that, or chmod 600 {loose[0]}"
        yield Finding("locks", "warning", found, do)


def tokens(path: Path, found: TokensFile) -> Iterator[Finding]:
    """What of tokens.json is not valid."""
    if found.is_lost:
        do = "restore it, or create new tokens with `foldlog token create`, which keeps it under another name"
        yield Finding("tokens", "wrong", f"{path} {found.damage}: no token in it is valid", do)
    elif found.damage:
        do = "restore the file, or create new tokens for those with `foldlog token create`"
        yield Finding("tokens", "wrong", f"{path} {found.damage}: they are not valid, the others are", do)


def store_tokens(path: Path, found: TokensFile) -> Iterator[Finding]:
    """Whether this host has a copy of the tokens of its store."""
    if found.damage:
        do = f"rm -r {path}: the service copies them from the store again, within half a minute"
        yield Finding("tokens", "wrong", f"{path} {found.damage}: no token of the store is valid here", do)


def goals(path: Path, found: Found[NamedFilter], invalid: Sequence[str]) -> Iterator[Finding]:
    """What of goals.json is not answered. `invalid`: names of entries whose filter is
    none.
    """
    yield from _kept_file("goals", path, found, "no goal and no saved filter in it is read", "goals")
    if invalid:
        text = f"{path}: the filter of {printable(invalid[0])}{and_more(invalid)} is none of a report"
        yield Finding("goals", "wrong", text, "change it, or delete it")


def notes(path: Path, found: Found[Annotation]) -> Iterator[Finding]:
    """What of annotations.json is not shown."""
    yield from _kept_file("annotations", path, found, "no annotation is shown", "one")


def share_links(path: Path, damage: str, *, is_lost: bool) -> Iterator[Finding]:
    """What of shares.json opens nothing. No backup has it."""
    if is_lost:
        do = "make new links on the page: the file is then kept under another name"
        yield Finding("share links", "wrong", f"{path} {damage}: no link in it opens anything", do)
    elif damage:
        do = "make new links for those on the page, or mend their entries in the file"
        yield Finding("share links", "wrong", f"{path} {damage}: they open nothing, the others do", do)


def _kept_file(entries: str, path: Path, found: Found[Any], lost: str, anew: str) -> Iterator[Finding]:
    if found.is_lost:
        do = f"restore {path}, or keep {anew} anew: the file is then kept under another name"
        yield Finding(entries, "wrong", f"{path} {found.damage}: {lost}", do)
    elif found.damage:
        do = f"mend them in {path}, or take them out"
        yield Finding(entries, "wrong", f"{path} {found.damage}: no {entries}, repeated, or too many", do)


def ownership(root: Path, permissions: Permissions) -> Finding:
    """Whether a command that was run as another user left files that the service may
    not replace.
    """
    owner, foreign = permissions.owner, permissions.foreign
    if foreign:
        found = (
            f"{foreign[0]} belongs to {permissions.foreign_owner}{and_more(foreign)}: a command was run as that user"
        )
        do = f"chown -R {owner_and_group(owner)} {root}; and from now on `{as_user(owner)} foldlog …`"
        return Finding("ownership", "wrong", found, do)
    return Finding("ownership", "ok", f"everything belongs to {owner}")


def user(me: str, owner: str, service: str | None) -> Finding:
    """Which user runs Foldlog: the service if it runs, else this command."""
    if service == "root" or (service is None and me == owner == "root"):
        do = "create a user for it: useradd --system --home-dir /var/lib/foldlog foldlog; chown the data directory"
        return Finding("user", "warning", "it runs as root: a vulnerability in it would affect the whole host", do)
    found = f"you are {me}, the data belongs to {owner}"
    if me not in {owner, "root"}:
        return Finding("user", "warning", found, f"{as_user(owner)} foldlog doctor")
    if me != owner:
        do = f"`{as_user(owner)} foldlog …` for commands that write (import, erase, rebuild): as root they are refused"
        return Finding("user", "warning", found, do)
    return Finding("user", "ok", me)


def parts(generation: int, files: PartFiles) -> Finding:
    """Whether the parts that the snapshot references exist, with the right sizes."""
    if files.wrong:
        return Finding(
            "parts",
            "wrong",
            f"{files.wrong[0]} is missing or has another size{and_more(files.wrong)}",
            "restore it from a backup, or run `foldlog rebuild`; `foldlog verify` checks all of them",
        )
    found = f"all {files.referenced:,} of generation {generation:,} exist (`foldlog verify` reads them)"
    return Finding("parts", "ok", found)


def active_segments(others: Sequence[NotASegment]) -> Iterator[Finding]:
    """What has the name of an active segment and is no file."""
    for other in others:
        found = f"{other.path} is {other.kind}, not a file: its writer takes no events"
        yield Finding("active segments", "wrong", found, f"mv {other.path} elsewhere; the writer begins a new one")


def without_checksum(files: Sequence[str]) -> Finding:
    """Sealed segments that wait for the fold and have no checksum: the disk failed
    while they were open, or their .sha256 was deleted.
    """
    if files:
        do = "nothing: the next pass folds the lines with a valid CRC. `dmesg` shows what the kernel reports"
        found = f"{files[0]} has no .sha256{and_more(files)}, and is not folded"
        return Finding("segments", "warning", found, do)
    return Finding("segments", "ok", "every segment that waits for the fold has its checksum")


def conflicts(total: int, added: int, since: int) -> Finding:
    """Duplicates that differ from the event that counts: `added` since the generation
    `since`, `total` in all.
    """
    if added > 0:
        found = f"{added:,} since generation {since:,}, {total:,} in all: one id came for two different events"
        do = "look for the sender of them: docs/reports.md (Events) has the command; only the first one counts"
        return Finding("conflicts", "warning", found, do)
    return Finding("conflicts", "ok", f"none since generation {since:,}, {total:,} in all")


def set_aside(entries: Sequence[SetAside]) -> Finding:
    """Lines that could not be folded: not counted, but in the log."""
    if not entries:
        return Finding("set aside", "ok", "every event could be folded")
    lines = sum(entry.lines for entry in entries)
    segments = sorted({entry.segment for entry in entries})
    found = f"{lines:,} events of {segments[0]}{and_more(segments)} could not be folded: {entries[0].reason}"
    do = (
        "nothing is lost: they stay in the log. Remove the reason (`foldlog verify` finds damage), then "
        "`foldlog compact --retry`; another version tries by itself"
    )
    return Finding("set aside", "warning", found, do)


def sites(summary: Summary | None, configured: Sequence[str]) -> Finding:
    """Whether clients may name sites, and whether more than one was named."""
    name = "sites"
    if configured:
        return Finding(name, "ok", f"FOLDLOG_SITES lists them: {' '.join(configured)}")
    named = [each.site for each in summary.sites] if summary else []
    if len(named) < 2:
        return Finding(name, "ok", "the host that a request asks for; FOLDLOG_SITES can list them")
    found = f"{len(named)} or more hosts have events, {named[0]}{and_more(named)}: clients name them as they like"
    return Finding(name, "warning", found, "FOLDLOG_SITES lists yours, and pages of other hosts are refused then")


def day_merge(snapshot: Snapshot) -> Finding:
    """Days that could not be merged: reports of them are exact, and cost more."""
    days = snapshot.unmerged_days()
    failure = snapshot.days[days[0]].merge_failure if days else None
    if failure is None:
        return Finding("day merge", "ok", "no finished day waits for its merge in vain")
    do = (
        "reports are exact, and cost more. Remove the reason (`foldlog verify` finds damage), then "
        "`foldlog compact --retry`; another version tries by itself"
    )
    return Finding("day merge", "warning", f"{days[0]}{and_more(days)} could not be merged: {failure.reason}", do)


def holds(on_hold: Mapping[str, RetentionHold], confirmed: Collection[str], is_folding: bool) -> Iterator[Finding]:
    """Deletions by retention that wait for a confirmation, or for the pass after it."""
    for kind, hold in on_hold.items():
        found = f"the deletion of {hold.days:,} of {hold.kept_days:,} days of the {kind} is on hold"
        do = "`foldlog retain --dry-run`; if it is meant, `foldlog retain --confirm`, or Holds on the page"
        if kind in confirmed:
            found += ", and confirmed"
            do = DONE_BY_NEXT if is_folding else DONE_BY_ANY
        yield Finding("retention holds", "warning", found, do)
    if not on_hold:
        yield Finding("retention holds", "ok", "none")


def erasures(pending: int, is_folding: bool) -> Finding:
    """Erasures that were requested and are not completed."""
    if not pending:
        return Finding("erasures", "ok", "none pending")
    do = DONE_BY_NEXT if is_folding else DONE_BY_ANY
    return Finding("erasures", "warning", f"{pending:,} pending", do)
