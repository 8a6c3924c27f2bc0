"""Objects of a JSON stream are found wherever its pieces end."""

from __future__ import annotations

import json

import pytest

from foldlog.importers.exports.visits import Objects

OBJECTS = [{}, {"a": '{"}\\'}, {"b": {"c": [{}, '\\"', "é\n"]}}, {"d": "x" * 50, "e": None}, {"\\": '\\\\"'}]
TEXTS = {
    "array": json.dumps(OBJECTS),
    "lines": "\n".join(map(json.dumps, OBJECTS)),
    "indented": json.dumps(OBJECTS, indent=2, ensure_ascii=False),
    "arrays": f" {json.dumps(OBJECTS[:2])}\n\n[]\r\n{json.dumps(OBJECTS[2:])} \n",
    "with a mark": f"\ufeff{json.dumps(OBJECTS)}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_objects_are_the_same_in_pieces_of_any_size(text: str) -> None:
    content = text.encode()
    for size in (*range(1, 24), len(content)):
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        found = list(Objects(pieces, "visits.json"))
        assert [json.loads(each.content) for each in found] == OBJECTS
        lines = [content.count(b"\n", 0, content.index(each.content)) + 1 for each in found[1:]]
        assert [each.line for each in found[1:]] == lines
