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
