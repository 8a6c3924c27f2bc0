"""Network locations, each with its host: what door and fold must agree on."""

from __future__ import annotations

NETLOCS = {
    "example.com": "example.com",
    "Example.COM": "example.com",
    "example.com:443": "example.com",
    "example.com:": "example.com",
    "example.com.": "example.com",
    "example.com..:8080": "example.com",
    "user@example.com": "example.com",
    "user:pass@example.com:80": "example.com",
    "a@b@example.com": "example.com",
    "[2001:db8::7]": "[2001:db8::7]",
    "[2001:DB8::7]:8080": "[2001:db8::7]",
    "user@[::1]:80": "[::1]",
    "[::ffff:192.0.2.1]": "[::ffff:192.0.2.1]",
    "192.0.2.1:8080": "192.0.2.1",
    "my_host": "my_host",
    "www.example.com.": "www.example.com",
    "xn--bcher-kva.example:8443": "xn--bcher-kva.example",
}

# Hosts that no browser sends: only A to Z have a lower case.
ODD_NETLOCS: dict[str, str] = {
    "\u0130nstagram.com": "\u0130nstagram.com",
    "EXAMPLE\u0130.com": "example\u0130.com",
    "\u212ayoto.example": "\u212ayoto.example",
    "B\u00dcCHER.Example": "b\u00dccher.example",
    "STRA\u1e9eE.example": "stra\u1e9ee.example",
    "\u03a3\u03a3.GR:80": "\u03a3\u03a3.gr",
    "\uff21.example": "\uff21.example",
    "XN--Bcher-KVA.example.": "xn--bcher-kva.example",
    "user@\u0130.Example:8080": "\u0130.example",
}
