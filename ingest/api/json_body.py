"""The JSON body of a request that changes something."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp.web_request import BaseRequest

from ingest.context import WorkerContext
from ingest.http.body_reader import read_body
from ingest.http.problem import Problem

JSON = "application/json"

_T = TypeVar("_T")


async def json_body(
    worker: WorkerContext, request: BaseRequest, decoder: msgspec.json.Decoder[_T], max_bytes: int
) -> _T:
    """Raises Problem 400 for what is no JSON, 413, 415, and 422 for what it may not
    say.
    """
    if request.content_type != JSON:
        raise Problem(415, "media_type", f"send it as {JSON}")
    content = await read_body(request, max_bytes, worker.body_budget)
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem(400, "malformed", "the body is no JSON") from None
