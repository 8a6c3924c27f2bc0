"""Lines in the shapes that servers, balancers and runtimes write: each is the same
request, or is not understood.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from foldlog.importers.block_parser import Rules
from foldlog.importers.outcome import NOT_UNDERSTOOD as NOT_UNDERSTOOD_LINE
from foldlog.importers.site_choice import SiteChoice
from shared.disk.layout import DataDirectory
from shared.timestamps import now_ms
from tests.builders.access_logs import SITE, TIME, UA, combined, events_of, import_logs, take_apart, written
from tests.builders.command import run_here
from tests.builders.logs import fold_all
from tests.builders.server import environment

LINE = combined("198.51.100.7", "GET /a?x=1 HTTP/1.1", referrer="https://other.example/b")
COMMON = LINE.partition(' "https')[0]
MS = 1795338000
RULES = Rules(SiteChoice(SITE, ()), 10**13, ZoneInfo("UTC"))

# Shapes whose visitor is 198.51.100.7, and which know referrer and agent.
WHOLE = {
    "combined": LINE,
    "nginx's stock main": f'{LINE} "-"',
    "main with a list": f'{LINE} "203.0.113.5, 10.0.0.1"',
    "combinedio": f"{LINE} 345 600",
    "request times": f'{LINE} 0.003 0.002 . "upstream"',
    "Traefik's text": f'{LINE} 1 "web@docker" "http://172.17.0.2:80" 3ms',
    "vhost_combined": f"example.com:443 {LINE}",
    "vhost without a port": f"example.com {LINE}",
    "with a carriage return": f"{LINE}\r",
    "a load balancer first": f"10.0.0.1 {LINE}",
    "X-Forwarded-For, then a load balancer": LINE.replace("198.51.100.7", "198.51.100.7 10.0.0.1", 1),
    "a list of X-Forwarded-For": LINE.replace("198.51.100.7", "198.51.100.7, 203.0.113.77, 10.0.0.1", 1),
    "a balancer, then a list": LINE.replace("198.51.100.7", "10.0.0.1 198.51.100.7, 10.0.0.9", 1),
    "with a port": LINE.replace("198.51.100.7", "198.51.100.7:5133", 1),
    "an IPv4 address in IPv6": LINE.replace("198.51.100.7", "::ffff:198.51.100.7", 1),
    "a user": LINE.replace("- -", "- bob", 1),
    "a user with a blank": LINE.replace("- -", "- bob smith", 1),
    "a user with a bracket": LINE.replace("- -", "- bob [x]", 1),
    "a user in quotes": LINE.replace("- -", '- "bob"', 1),
    "syslog": f"Nov 22 09:00:00 web1 nginx: {LINE}",
    "syslog of a single-digit day": f"Nov  2 09:00:00 192.0.2.1 nginx[812]: {LINE}",
    "syslog with a priority": f"<190>Nov 22 09:00:00 web1 nginx: {LINE}",
    "syslog without a host": f"<190>Nov 22 09:00:00 nginx: {LINE}",
    "syslog, RFC 5424": f"<190>1 2026-11-22T09:00:00Z web1 nginx 812 - - {LINE}",
    "rsyslog": f"2026-11-22T09:00:00.123456+01:00 web1 nginx: {LINE}",
    "a tag": f"nginx[812]: {LINE}",
    "containerd": f"2026-11-22T09:00:00.123456789Z stdout F {LINE}",
    "docker logs -t": f"2026-11-22T09:00:00.123456789Z {LINE}",
    "docker compose": f"web-1  | {LINE}",
    "docker compose with times": f"web-1  | 2026-11-22T09:00:00.123456789Z {LINE}",
    "kubectl --prefix": f"[pod/web-5d9f/nginx] {LINE}",
    "docker's file": json.dumps({"log": f"{LINE}\n", "stream": "stdout", "time": "2026-11-22T09:00:00.1Z"}),
    "nginx with escape=json": json.dumps(
        {
            "time_iso8601": "2026-11-22T09:00:00+00:00",
            "remote_addr": "198.51.100.7",
            "request": "GET /a?x=1 HTTP/1.1",
            "status": "200",
            "body_bytes_sent": "512",
            "http_referer": "https://other.example/b",
            "http_user_agent": UA,
        }
    ),
    "nginx with escape=json, other variables": json.dumps(
        {
            "msec": f"{MS}.000",
            "remote_addr": "198.51.100.7",
            "request_method": "GET",
            "request_uri": "/a?x=1",
            "status": 200,
            "http_referrer": "https://other.example/b",
            "agent": UA,
            "host": "example.com",
        }
    ),
    "Caddy": json.dumps(
        {
            "level": "info",
            "ts": MS,
            "logger": "http.log.access.log0",
            "msg": "handled request",
            "request": {
                "remote_ip": "10.0.0.1",
                "client_ip": "198.51.100.7",
                "method": "GET",
                "host": "example.com",
                "uri": "/a?x=1",
                "headers": {"User-Agent": [UA], "Referer": ["https://other.example/b"]},
            },
            "size": 512,
            "status": 200,
            "resp_headers": {"Content-Type": ["text/html; charset=utf-8"]},
        }
    ),
    "Caddy before client_ip, behind containerd": "2026-11-22T09:00:00.1Z stderr F "
    + json.dumps(
        {
            "ts": "2026-11-22T09:00:00.000Z",
            "request": {
                "remote_ip": "198.51.100.7",
                "method": "GET",
                "host": "example.com:443",
                "uri": "/a?x=1",
                "headers": {"User-Agent": [UA], "Referer": ["https://other.example/b"]},
            },
            "status": 200,
        }
    ),
    "Traefik": json.dumps(
        {
            "ClientAddr": "198.51.100.7:5555",
            "ClientHost": "198.51.100.7",
            "DownstreamStatus": 200,
            "DownstreamContentSize": 512,
            "RequestHost": "example.com",
            "RequestMethod": "GET",
            "RequestPath": "/a?x=1",
            "StartUTC": "2026-11-22T09:00:00.000000001Z",
            "request_User-Agent": UA,
            "request_Referer": "https://other.example/b",
        }
    ),
    "IIS": "#Software: Microsoft Internet Information Services 10.0\n"
    "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) "
    "sc-status sc-substatus sc-win32-status time-taken\n"
    f"2026-11-22 09:00:00 10.0.0.1 GET /a x=1 443 - 198.51.100.7 {UA.replace(' ', '+')} https://other.example/b "
    "200 0 0 15",
    "CloudFront": "#Version: 1.0\n"
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol\n"
    + "\t".join(
        "2026-11-22 09:00:00 FRA56-P1 512 198.51.100.7 GET d111.cloudfront.net /a 200 https://other.example/b "
        f"{UA.replace(' ', '%20')} x=1 - Hit id== example.com https".split(" ")
    ),
}
# Shapes that do not know all of it: what is missing.
PARTLY = {
    "common": (COMMON, {"referrer", "ua"}),
    "common with fields behind": (f"{COMMON} 0.003", {"referrer", "ua"}),
    "a balancer of AWS": (
        (
            "h2 2026-11-22T09:00:00.000000Z app/web/50dc 198.51.100.7:2817 10.0.0.66:80 0.000 0.001 0.000 200 "
            f'200 5 257 "GET https://example.com:443/a?x=1 HTTP/2.0" "{UA}" ECDHE-RSA TLSv1.2 arn:aws:x "Root=1" "-" '
            '"-" 1 2026-11-22T09:00:00.1Z "forward" "-" "-" "10.0.0.66:80" "200" "-" "-"'
        ),
        {"referrer"},
    ),
    "a classic balancer of AWS": (
        (
            "2026-11-22T09:00:00.000000Z web 198.51.100.7:2817 10.0.0.66:80 0.000 0.001 0.000 200 200 0 29 "
            f'"GET http://example.com:80/a?x=1 HTTP/1.1" "{UA}" - -'
        ),
        {"referrer"},
    ),
    "HAProxy": (
        (
            "Nov 22 09:00:00 lb haproxy[14389]: 198.51.100.7:33317 [22/Nov/2026:09:00:00.000] http-in static/srv1 "
            '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {example.com} {} "GET /a?x=1 HTTP/1.1"'
        ),
        {"referrer", "ua"},
    ),
    "HAProxy that captures the agent": (
        (
            "198.51.100.7:33317 [22/Nov/2026:09:00:00.000] http-in~ static/srv1 10/0/30/69/109 200 2750 - - ---- "
            f'1/1/1/1/0 0/0 {{example.com|{UA}}} "GET /a?x=1 HTTP/1.1"'
        ),
        {"referrer"},
    ),
}
PATTERNS = {
    "in nginx's words": (
        '$remote_addr [$time_local] $status "$request" "$http_user_agent" "$http_referer"',
        f'198.51.100.7 [{TIME}] 200 "GET /a?x=1 HTTP/1.1" "{UA}" "https://other.example/b"',
    ),
    "a whole directive": (
        (
            "log_format timed '$time_iso8601 $remote_addr $request_method $request_uri $status '\n"
            '    \'"$http_referer" "$http_user_agent" rt=$request_time\';'
        ),
        f'2026-11-22T09:00:00+00:00 198.51.100.7 GET /a?x=1 200 "https://other.example/b" "{UA}" rt=0.002',
    ),
    "with pipes": (
        "$msec|$remote_addr|$host|$request|$status|$http_referer|$http_user_agent",
        f"{MS}.000|198.51.100.7|example.com|GET /a?x=1 HTTP/1.1|200|https://other.example/b|{UA}",
    ),
    "of JSON": (
        (
            '{"when": "$time_local", "from": "$remote_addr", "what": "$request", "code": $status, '
            '"ua": "$http_user_agent", "ref": "$http_referer"}'
        ),
        json.dumps(
            {
                "when": TIME,
                "from": "198.51.100.7",
                "what": "GET /a?x=1 HTTP/1.1",
                "code": 200,
                "ua": UA,
                "ref": "https://other.example/b",
            }
        ),
    ),
}
NOT_UNDERSTOOD = {
    "a host name for an address": LINE.replace("198.51.100.7", "host.example.net", 1),
    "no address": LINE.replace("198.51.100.7", "-", 1),
    "an address that is none": LINE.replace("198.51.100.7", "198.51.100.777", 1),
    "an address of five numbers": LINE.replace("198.51.100.7", "198.51.100.7.9", 1),
    "an IPv6 address that is none": LINE.replace("198.51.100.7", "2001:db8:::7", 1),
    "hexadecimal words": LINE.replace("198.51.100.7", "bad.cafe", 1),
    "a word before it": f"web1 {LINE}",
    "a number before it": f"17 {LINE}",
    "no such day": LINE.replace("22/Nov", "31/Feb"),
    "no such zone": LINE.replace("+0000", "+9959"),
    "no zone": LINE.replace(" +0000", ""),
    "no such year": LINE.replace("2026", "10000"),
    "another script's digits": LINE.replace("2026", "\u0662\u0660\u0662\u0666"),
    "no status": LINE.replace(" 200 ", " - "),
    "broken JSON": '{"remote_addr":"198.51.100.7","time_local":',
    "JSON of something else": '{"level":"info","msg":"server running"}',
    "what is this": "what is this",
    "brackets": " [" * 16384,
    "quotes": '"' * 32768,
    "backslashes": "\\" * 32768,
}


SHAPES = {**{name: (text, set[str]()) for name, text in WHOLE.items()}, **PARTLY}


@pytest.mark.parametrize(("text", "missing"), SHAPES.values(), ids=SHAPES)
def test_each_shape_is_the_same_request(text: str, missing: set[str]) -> None:
    (event,) = take_apart(text, rules=RULES).events
    assert event["time"] == "2026-11-22T09:00:00.000Z"
    assert event["url"] == "https://example.com/a?x=1"
    assert event["site"] == SITE
    assert event["props"] == {"status": 200, "type": "page"}
    assert {"referrer", "ua"} - event.keys() == missing
    assert event.get("ua", UA) == UA
    assert event.get("referrer", "https://other.example/b") == "https://other.example/b"
    same = combined("198.51.100.7", agent="" if "ua" in missing else UA)
    assert event["visitor"] == take_apart(same, rules=RULES).events[0]["visitor"]


@pytest.mark.parametrize(("pattern", "text"), PATTERNS.values(), ids=PATTERNS)
def test_pattern_in_the_syntax_of_nginx(pattern: str, text: str) -> None:
    (event,) = take_apart(text, pattern).events
    assert (event["time"], event["url"]) == ("2026-11-22T09:00:00.000Z", "https://example.com/a?x=1")
    assert (event["ua"], event["referrer"]) == (UA, "https://other.example/b")


@pytest.mark.parametrize("text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD)
def test_other_line_is_not_understood(text: str) -> None:
    assert take_apart(text).events == []
    beside = take_apart(f"{LINE}\n{text}\n{LINE}", "combined")
    assert (len(beside.events), beside.counts[NOT_UNDERSTOOD_LINE]) == (2, 1)


def test_fields_of_a_w3c_log_may_change(tmp_path: Path) -> None:
    lines = [
        "#Fields: date time c-ip cs-method cs-uri-stem sc-status",
        "2026-11-22 09:00:00 198.51.100.7 GET /a 200",
        "#Fields: date time cs-method cs-uri-stem c-ip sc-status",
        "2026-11-22 09:00:01 GET /b 198.51.100.8 200",
        "#Fields: date time cs-method",
        "2026-11-22 09:00:02 GET",
    ]
    done = import_logs(tmp_path, written(tmp_path / "iis.log", lines), format_="iis")
    assert [event["url"] for event in events_of(tmp_path)] == ["https://example.com/a", "https://example.com/b"]
    assert (done.lines, done.events, done.count(1), done.reasons[1].first) == (6, 2, 1, 6)


def test_time_without_a_zone_is_that_of_the_setting() -> None:
    text, _ = PARTLY["HAProxy"]
    (event,) = take_apart(text, rules=replace(RULES, zone=ZoneInfo("Europe/Berlin"))).events
    assert event["time"] == "2026-11-22T08:00:00.000Z"


END_TO_END = ("combined", "vhost_combined", "common", "docker's file", "nginx with escape=json", "Caddy", "Traefik",
              "IIS", "CloudFront", "a balancer of AWS", "HAProxy that captures the agent")  # fmt: skip


def test_logs_of_every_kind_from_file_to_report(tmp_path: Path) -> None:
    """Three people each, two of whom ask the same in the same second; imported twice,
    in another order and compressed.
    """
    files = []
    for number, name in enumerate(END_TO_END):
        shape = SHAPES[name][0]
        assert "198.51.100.7" in shape
        lines = [shape.replace("198.51.100.7", f"198.51.{number}.{client}") for client in (1, 2, 3)]
        files.append((f"site{number}.example", written(tmp_path / f"{number}.log", lines)))
    environ = environment(tmp_path / "data", disk_reserve=0)
    for site, file in files:
        assert run_here(["import", "--site", site, "--other-hosts", "count", str(file)], environ).returncode == 0
    for site, file in reversed(files):
        file.with_suffix(".gz").write_bytes(gzip.compress(file.read_bytes()))
        again = ["import", "--site", site, "--other-hosts", "count", str(file.with_suffix(".gz"))]
        assert run_here(again, environ).returncode == 0
    fold_all(DataDirectory(tmp_path / "data"), now_ms())
    asked = ["report", "--by", "site", "--from", "2026-11-22", "--to", "2026-11-22", "--bots", "include", "--json"]
    report = json.loads(run_here(asked, environ).stdout)
    found = {row["value"]: (row["events"], row["visitors"]) for row in report["rows"]}
    assert found == {site: (3, 3) for site, _ in files}
