"""Ways to break P7 over several hosts: an id counts twice, or nowhere.

Their tests need PostgreSQL. The model has mutants of its own (tests/claims/mutants.py).
"""

from __future__ import annotations

from tests.faults.mutant import Edit, Mutant

HAZARDS = "tests/compactor/claims/test_hazards.py"
HOSTS = "tests/compactor/claims/test_hosts.py"
KEPT = "tests/compactor/claims/test_kept.py"

MUTANTS_OF_CLAIMS = (
    Mutant(
        "compare only claims of the same day",
        (Edit("compactor/claims/lost.sql", "<= $window", "<= 0 * $window"),),
        (HOSTS,),
    ),
    Mutant(
        "do not compare again under the lock of claims",
        (Edit("compactor/claims/claim.py", "        find_lost(host.database, host.instance, since)\n", ""),),
        (HAZARDS,),
    ),
    Mutant(
        "claim nothing again when the store was restored",
        (
            Edit(
                "compactor/claims/standing.py",
                "    return Standing.AS_NOTED if is_as_noted else Standing.RENEW\n",
                "    return Standing.AS_NOTED\n",
            ),
            Edit(
                "compactor/claims/session.py", "(note.epoch, note.claims, note", "(note.epoch, found and found[1], note"
            ),
        ),
        (KEPT, HAZARDS),
    ),
    Mutant(
        "fetch blocks after a number that was used again",
        (Edit("compactor/claims/known_claims.py", "has_block(connection, seq, name)", "name"),),
        (HAZARDS,),
    ),
    Mutant(
        "release the claims of what was erased or has expired",
        (Edit("compactor/claims/kept_claims.py", 'kept = "(seq <= $2 OR', 'kept = "($2 < 0 OR'),),
        (KEPT,),
    ),
    Mutant(
        "a rebuild of the store releases them",
        (Edit("compactor/claims/kept_claims.py", 'gone = "seq <= $2', 'gone = "seq < 0 * $2'),),
        (KEPT,),
    ),
    Mutant(
        "a new epoch releases them",
        (Edit("compactor/claims/compare.py", "{_OWN} AND seq <= $2", "{_OWN} AND seq < 0 * $2"),),
        (KEPT,),
    ),
    Mutant(
        "a new epoch claims nothing that the store has lost of them",
        (
            Edit(
                "compactor/claims/claim.py",
                '    host.database.execute(f"INSERT INTO wanted {before} WHERE day >= $1", [pruned or date.min])\n',
                "    del before\n",
            ),
        ),
        (KEPT,),
    ),
    Mutant(
        "keep what was claimed for a generation that was never published",
        (Edit("compactor/claims/kept_claims.py", 'kept = "(seq <= $2 OR', 'kept = "($2 >= 0 OR'),),
        (KEPT,),
    ),
    Mutant(
        "claim again what a takeover has released",
        (Edit("compactor/claims/takeover.py", "        forget_own(host.database, host.instance)\n", ""),),
        (KEPT,),
    ),
    Mutant(
        "claim some of the hashes of an event that is yielded",
        (
            Edit(
                "compactor/claims/wanted.sql",
                "l ON w.day = l.day AND w.head = l.head",
                "l ON false",
            ),
        ),
        (KEPT,),
    ),
)
