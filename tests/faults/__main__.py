"""`make crash`: every programme of faults at full size, one after the other, each with
the row that it leaves.

    python -m tests.faults [--only WORDS] [--small]

An interrupted programme continues where it can: kill points remember which are done.
Programmes that need root or a tool name it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

PROGRAMMES = (
    "clones --clones 100000",
    "kill_points --every-call --seeds 3",
    "errors",
    "machine --examples 300",
    "damage",
    "races --races 1000",
    "out_of_memory --kills 100",
    "bad_disk --runs 50",
    "random_kills --kills 1000",
    "duplicates --sends 1000000",
    "power_cuts --file-system ext4 --cuts 200",
    "power_cuts --file-system xfs --cuts 200",
    # The controls, which are right when they find losses.
    "power_cuts --file-system ext4 --cuts 5 --lie",
)
SMALL = (
    "clones --clones 500",
    "kill_points --points 20",
    "errors --sample 20",
    "races --races 5",
    "random_kills --kills 5",
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Every programme of faults, one after the other.")
    parser.add_argument("--only", default="", help="those whose name begins so")
    parser.add_argument("--small", action="store_true", help="a few minutes of it, to see that they run")
    given = parser.parse_args()
    failed = []
    for programme in SMALL if given.small else PROGRAMMES:
        if programme.startswith(given.only):
            print(f"\n$ python -m tests.faults.{programme}", flush=True)
            name, *options = programme.split()
            started = time.monotonic()
            if subprocess.run([sys.executable, "-m", f"tests.faults.{name}", *options], check=False).returncode:
                failed.append(programme)
            print(f"({time.monotonic() - started:.0f} s)", flush=True)
    print(
        "\n" + "\n".join(f"FAILED: {programme}" for programme in failed) if failed else "\nall programmes found nothing"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
