"""Any no is a no: each row is what a head or a batch says about consent, and what
follows.
"""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from ingest.collect import admission, consent
from ingest.collect.consent import ConsentBasis
from ingest.http.problem import Problem
from shared.settings import Settings
from shared.tokens import Scope

IMPLIED = Settings(consent="implied")
REQUIRED = Settings(consent="required")
YES = ("Cookie", "analytics_consent=granted")
HEADER = ("Foldlog-Consent", "granted")
SAME_ORIGIN = [("Host", "a.example"), ("Sec-Fetch-Site", "same-origin"), ("Content-Type", "application/json")]
INGEST: frozenset[Scope] = frozenset(["ingest"])
Lines = list[tuple[str, str]]


def cookies(*lines: str) -> Lines:
    return [("Cookie", line) for line in lines]


def consent_of(lines: Lines, settings: Settings, scopes: frozenset[Scope] | None = None) -> str | None:
    """The consent that a head gives: granted, implied, None (the batch may still give
    it) or denied.
    """
    try:
        return admission.admit(CIMultiDict([*SAME_ORIGIN, *lines]), "a.example", scopes, settings)[1].consent
    except Problem as problem:
        assert (problem.status, problem.code) == (403, "consent")
        return "denied"


# The lines of a head, the settings, and the consent.
CONSENTS: dict[str, tuple[Lines, Settings, str | None]] = {
    "nothing, required": ([], REQUIRED, None),
    "nothing, implied": ([], IMPLIED, "implied"),
    "cookie": ([YES], REQUIRED, "granted"),
    "cookie among others": (cookies("a=b; analytics_consent=granted; c=d"), REQUIRED, "granted"),
    "cookie in quotes": (cookies('analytics_consent="granted"'), REQUIRED, "granted"),
    "no behind an odd blank": (cookies("a=b;\u00a0analytics_consent=no"), IMPLIED, "denied"),
    "no behind a form feed": (cookies("a=b;\x0canalytics_consent=no"), IMPLIED, "denied"),
    "no of a name in quotes": (cookies('"analytics_consent"=no'), IMPLIED, "denied"),
    "no with an odd blank behind its name": (cookies("analytics_consent\x0b=no"), IMPLIED, "denied"),
    "yes of a name in quotes": (cookies('"analytics_consent"=granted'), REQUIRED, None),
    "cookie in a line of its own": (cookies("sid=1", "analytics_consent=granted"), REQUIRED, "granted"),
    "cookie twice": (cookies("analytics_consent=granted; analytics_consent=granted"), REQUIRED, "granted"),
    "cookie without blanks": (cookies("a=b;analytics_consent=granted;c=d"), REQUIRED, "granted"),
    "cookie whose name only ends so": (cookies("no_analytics_consent=granted"), REQUIRED, None),
    "cookie whose name only begins so": (cookies("analytics_consent2=denied"), IMPLIED, "implied"),
    "cookie in the value of another": (cookies("a=analytics_consent=granted"), REQUIRED, None),
    "cookie in the value of another, after a comma": (cookies("a=b,analytics_consent=granted"), REQUIRED, None),
    "cookie in another case": (cookies("Analytics_Consent=granted"), REQUIRED, None),
    "cookie of another name in the settings": (cookies("cc=yes"), Settings(consent_cookie=("cc", "yes")), "granted"),
    "cookie with a comma in the settings": (cookies("cc=a,b"), Settings(consent_cookie=("cc", "a,b")), "granted"),
    "cookie with another value": (cookies("analytics_consent=denied"), REQUIRED, "denied"),
    "cookie with another value, implied": (cookies("analytics_consent=denied"), IMPLIED, "denied"),
    "cookie whose value only begins so": (cookies("analytics_consent=granted2"), REQUIRED, "denied"),
    "cookie whose value is in another case": (cookies("analytics_consent=GRANTED"), IMPLIED, "denied"),
    "cookie without a value": (cookies("analytics_consent="), IMPLIED, "denied"),
    "cookie without a value and without =": (cookies("analytics_consent; a=b"), IMPLIED, "denied"),
    "cookie no, then yes": (cookies("analytics_consent=denied; analytics_consent=granted"), REQUIRED, "denied"),
    "cookie yes, then no": (cookies("analytics_consent=granted; analytics_consent=denied"), REQUIRED, "denied"),
    "cookie no in quotes": (cookies('analytics_consent="denied"; analytics_consent=granted'), REQUIRED, "denied"),
    "cookie no in another case": (cookies("Analytics_Consent=no; analytics_consent=granted"), REQUIRED, "denied"),
    "cookie no with blanks": (cookies("analytics_consent = no ;analytics_consent=granted"), REQUIRED, "denied"),
    "cookie no in a line of its own": (
        cookies("analytics_consent=granted", "analytics_consent=denied"),
        REQUIRED,
        "denied",
    ),
    "cookie no first, in a line of its own": (
        cookies("analytics_consent=denied", "analytics_consent=granted"),
        REQUIRED,
        "denied",
    ),
    "cookie no after a comma": (cookies("a=b, analytics_consent=no; analytics_consent=granted"), REQUIRED, "denied"),
    "cookie no beside the header": ([*cookies("analytics_consent=denied"), HEADER], REQUIRED, "denied"),
    "cookie forged with 1000 others": (cookies("; ".join(f"a{n}=b" for n in range(1000))), REQUIRED, None),
    "header granted": ([HEADER], REQUIRED, "granted"),
    "header granted, implied": ([HEADER], IMPLIED, "granted"),
    "header granted twice": ([HEADER, HEADER], REQUIRED, "granted"),
    "header granted twice, joined": ([("Foldlog-Consent", "granted, granted")], REQUIRED, "granted"),
    "header granted in quotes": ([("foldlog-consent", '"granted"')], REQUIRED, "granted"),
    "header denied": ([("Foldlog-Consent", "denied")], REQUIRED, "denied"),
    "header denied beats the cookie": ([("Foldlog-Consent", "denied"), YES], REQUIRED, "denied"),
    "header denied beats implied": ([("Foldlog-Consent", "denied")], IMPLIED, "denied"),
    "header denied, then granted": ([("Foldlog-Consent", "denied"), HEADER], REQUIRED, "denied"),
    "header granted, then denied": ([HEADER, ("FOLDLOG-CONSENT", "denied")], REQUIRED, "denied"),
    "header granted and denied, joined": ([("Foldlog-Consent", "granted, denied")], IMPLIED, "denied"),
    "header in another case": ([("Foldlog-Consent", "Granted")], IMPLIED, "denied"),
    "header empty": ([("Foldlog-Consent", "")], IMPLIED, "denied"),
    "header empty beside granted": ([HEADER, ("Foldlog-Consent", "")], IMPLIED, "denied"),
    "GPC beats the header": ([("Sec-GPC", "1"), HEADER], REQUIRED, "denied"),
    "GPC switched off": ([("Sec-GPC", "1"), YES], Settings(honor_gpc=False), "granted"),
    "DNT switched off": ([("DNT", "1"), YES], Settings(honor_dnt=False), "granted"),
    "DNT with GPC switched off": ([("DNT", "1"), YES], Settings(honor_gpc=False), "denied"),
    "GPC with DNT switched off": ([("Sec-GPC", "1"), YES], Settings(honor_dnt=False), "denied"),
}


@pytest.mark.parametrize("scopes", [None, INGEST], ids=["page", "key"])
@pytest.mark.parametrize(("lines", "settings", "expected"), CONSENTS.values(), ids=CONSENTS)
def test_consent_from_the_head(
    lines: Lines, settings: Settings, expected: str | None, scopes: frozenset[Scope] | None
) -> None:
    assert consent_of(lines, settings, scopes) == expected


# The values of the lines of one header, and whether they ask not to be tracked.
SIGNALS: dict[str, tuple[list[str], bool]] = {
    "1": (["1"], True),
    "1 after a blank": ([" 1"], True),
    "1 before a tab": (["1\t"], True),
    "1 twice, joined": (["1, 1"], True),
    "1 twice": (["1", "1"], True),
    "0, then 1": (["0", "1"], True),
    "1, then 0": (["1", "0"], True),
    "0, then 1, joined": (["0,1"], True),
    "1 and an empty one": (["", "1"], True),
    "1 in quotes": (['"1"'], True),
    "1 of a structured field": (["?1"], True),
    "1 with a parameter": (["1;a=b"], True),
    "1 as a parameter": (["0;1"], True),
    "1 behind a semicolon": (["; 1"], True),
    "1 with an extension": (["1xyz"], True),
    "1 with leading zeros": (["01"], True),
    "1 of full width": (["\uff11"], True),
    "true": (["True"], True),
    "yes": (["YES"], True),
    "0": (["0"], False),
    "0 twice": (["0, 0", "0"], False),
    "0 of a structured field": (["?0"], False),
    "empty": ([""], False),
    "null": (["null"], False),
    "unspecified": (["unspecified"], False),
}


@pytest.mark.parametrize("name", ["Sec-GPC", "dnt"])
@pytest.mark.parametrize(("values", "asks"), SIGNALS.values(), ids=SIGNALS)
def test_signal_against_tracking_is_heard_in_any_spelling(values: list[str], asks: bool, name: str) -> None:
    lines = [(name, value) for value in values]
    assert consent_of([*lines, YES, HEADER], REQUIRED) == ("denied" if asks else "granted")
    assert consent_of(lines, IMPLIED) == ("denied" if asks else "implied")


BATCH_CONSENTS: dict[str, tuple[str | None, ConsentBasis | None, str]] = {
    "granted in the batch": ("granted", None, "granted"),
    "granted in the batch, implied before": ("granted", "implied", "granted"),
    "nothing in the batch, granted before": (None, "granted", "granted"),
    "nothing in the batch, implied before": (None, "implied", "implied"),
    "nothing anywhere": (None, None, "denied"),
    "denied in the batch": ("denied", None, "denied"),
    "denied in the batch, granted before": ("denied", "granted", "denied"),
    "denied in the batch, implied before": ("denied", "implied", "denied"),
    "a word in the batch": ("yes", "granted", "denied"),
    "empty in the batch": ("", "granted", "denied"),
}


@pytest.mark.parametrize(("given", "before", "expected"), BATCH_CONSENTS.values(), ids=BATCH_CONSENTS)
def test_consent_from_the_batch(given: str | None, before: ConsentBasis | None, expected: str) -> None:
    if expected == "denied":
        with pytest.raises(Problem) as caught:
            consent.resolve_consent(given, before)
        assert (caught.value.status, caught.value.code) == (403, "consent")
    else:
        assert consent.resolve_consent(given, before) == expected
