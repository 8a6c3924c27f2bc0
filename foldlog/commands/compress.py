"""`foldlog compress`: compress folded segments."""

from __future__ import annotations

from compactor.compress import Compressed, compress
from foldlog.commands import Invocation
from foldlog.preflight import require_data_dir
from foldlog.quantities import size
from foldlog.terminal import Console, plain, steps
from shared.exit_codes import SUCCESS
from shared.timestamps import now_ms


def run(call: Invocation) -> int:
    with steps(Console(stderr=True), "compressing") as progress:
        done = compress(require_data_dir(call.data), call.options.method, call.options.older_than, now_ms(), progress)
    show(Console(soft_wrap=True), done)
    return SUCCESS


def show(console: Console, done: Compressed) -> None:
    """One line for all compressed segments, and one for each that was not
    compressed.
    """
    sizes = f": {size(done.bytes_before)} became {size(done.bytes_after)}" if done.segments else ""
    console.print(plain(f"compressed {done.segments:,} segments{sizes}"))
    for file, reason in done.left.items():
        console.print(plain(f"not compressed: log/{file} {reason}. To do: run `foldlog verify`."))
