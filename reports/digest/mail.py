"""A digest as a mail: text and HTML, with the chart as a file, for `sendmail -t`."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid

from reports.digest.chart import svg
from reports.digest.numbers import change, written
from reports.digest.page import page, title
from reports.digest.questions import NUMBERS, TABLES, Digest
from shared.control_chars import escape_controls
from shared.exit_codes import UsageError

_LABEL_WIDTH = 16


class AddressInvalid(UsageError):
    """The text is no address that a mail can go to."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def __str__(self) -> str:
        return f"--mail {self.address!r}: give one address, such as team@example.com"


def mail(digest: Digest, to: str) -> bytes:
    """The message, without `From`, which the mail server adds. Raises
    AddressInvalid.
    """
    if to.count("@") != 1 or not to.isprintable() or set(to) & set(' ,;<>()[]\\"'):
        raise AddressInvalid(to)
    message = EmailMessage(policy=SMTP)
    message["To"] = to
    message["Subject"] = escape_controls(title(digest))[:200]
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="foldlog.invalid")
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text(digest))
    message.add_alternative(page(digest), subtype="html")
    chart = svg(digest.chart, "visitors", digest.notes).encode("utf-8")
    message.add_attachment(chart, maintype="image", subtype="svg+xml", filename="visitors.svg")
    return message.as_bytes()


def text(digest: Digest) -> str:
    """The numbers and the tables as plain text."""
    now, before = digest.totals["total"], digest.totals["total"].get("previous", {})
    lines = [title(digest), ""]
    for name, label, form in NUMBERS:
        shown = written(now[name], form)
        lines.append(f"{label:{_LABEL_WIDTH}}{shown:>14}  {change(now[name], before.get(name))}".rstrip())
    if digest.notes:
        lines += ["", "Notes", *(f"  {note.at}  {note.text}" for note in digest.notes)]
    for (_, name), report in zip(TABLES, digest.tables, strict=True):
        lines += ["", name]
        lines += [f"{row['visitors'] or 0:>10,}  {row['value'] or '(none)'}" for row in report["rows"]]
    if "reason" in digest.totals:
        lines += ["", f"Left out where there is no exact number: {digest.totals['reason']}."]
    return "\n".join(escape_controls(line) for line in lines) + "\n"
