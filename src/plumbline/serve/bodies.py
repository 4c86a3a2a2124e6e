"""The body of a request as what it asks: a form with files, or JSON. It is counted while it streams in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from plumbline.console.text import file_size
from plumbline.errors import InputError
from plumbline.serve.fields import FILES, TEXTS, Asked, Upload, from_json, from_parts
from plumbline.serve.limits import Limits, TooLargeError
from plumbline.serve.places import Place

FORM, JSON = "multipart/form-data", "application/json"
_LONGEST_TEXT = 1 << 12
"""Bytes of the text of a field, at most."""


@asynccontextmanager
async def read_body(request: Request, limits: Limits, place: Place) -> AsyncIterator[Asked]:
    """Read a request, and tell its place of each piece; its files are open until the block ends.

    Files of more than 1 MB wait on disk, without a name; nothing of them is left there.

    Raises:
        InputError: the body is not what it should be.
        TooLargeError: it is larger than the limit.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.body:
        raise _too_large(limits)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    counted = Request(request.scope, _Counted(request.receive, limits, place))
    if kind == JSON:
        yield await run_in_threadpool(from_json, await counted.body())
        return
    if kind != FORM:
        raise InputError(f"the body is {kind or 'of no type'}; send {FORM} with files, or {JSON}")
    most = len(FILES) + len(TEXTS)
    try:
        form = await counted.form(max_files=most, max_fields=most, max_part_size=_LONGEST_TEXT)
    except HTTPException as error:  # with the sentence of the parser
        raise InputError(f"the form cannot be read: {error.detail.rstrip('.')}") from error
    try:
        texts: dict[str, str] = {}
        files: dict[str, Upload] = {}
        for name, value in form.multi_items():
            if not (value.filename or value.size if isinstance(value, UploadFile) else value):
                continue  # what a page sends of a field that is left empty
            if name in texts or name in files:
                raise InputError(f"{name} is given twice; send one")
            if isinstance(value, UploadFile):
                files[name] = Upload.of(value.filename, name, value.file)
            else:
                texts[name] = value
        yield from_parts(texts, files)
    finally:
        await form.close()


class _Counted:
    """Passes a body on, until it is larger than it may be: what a request says of its length may be wrong."""

    def __init__(self, receive: Receive, limits: Limits, place: Place) -> None:
        self._receive, self._limits, self._place = receive, limits, place

    async def __call__(self) -> Message:
        message = await self._receive()
        self._place.receive(len(message.get("body", b"")), more=message.get("more_body", False))
        if self._place.received > self._limits.body:
            raise _too_large(self._limits)
        return message


def _too_large(limits: Limits) -> TooLargeError:
    return TooLargeError(f"the body is larger than the {file_size(limits.body)} that this server takes")
