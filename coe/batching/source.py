"""The requests of a batch, read from its input file one at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from coe import pipeline
from coe.batching.desk import Desk
from coe.errors import CoEError
from coe.pipeline import Gateway
from coe.policies.wishes import headers_of
from coe.stores.records import Batch, Line
from coe.types import Query

logger = logging.getLogger(__name__)

INTERNAL = "internal error; the gateway's log has the details"


@contextmanager
def boundary(batch: Batch, line: Line) -> Iterator[None]:
    """Make of a bug that line's error alone, as the HTTP boundary does.

    Without it one line would stop its batch, and be run first once more each time that it goes on.
    """
    try:
        yield
    except CoEError:
        raise
    except Exception:
        logger.exception("batch %s, line %d", batch.id, line.number)
        raise CoEError(INTERNAL) from None


class Source:
    """An input file that is open."""

    def __init__(self, desk: Desk, batch: Batch) -> None:
        """Store the parts; see `__enter__`."""
        self._path = desk.state.files.path(batch.input_file_id)
        self._desk = desk
        self._batch = batch
        self._parse = desk.kinds[batch.endpoint].parse
        self._headers = headers_of(batch.metadata or {})
        self._file = -1

    def __enter__(self) -> Self:
        """Open the file. Raises CoEError where it is gone."""
        try:
            self._file = os.open(self._path, os.O_RDONLY)
        except OSError as error:
            raise CoEError(f"{self._path}: {error.strerror}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        os.close(self._file)

    def query(self, line: Line, query_id: str) -> Query:
        """Return a line's request.

        Raises:
            InvalidRequest: its body is not what the endpoint takes.
            Unauthorized: the key that the batch was made with works no more.
        """
        request = self._desk.parse(os.pread(self._file, line.length, line.offset))
        query = self._parse(request["body"], query_id)
        headers = self._headers or query.headers
        return replace(query, identity=self._desk.identify(self._batch), headers=headers)

    @staticmethod
    async def admitted(gateway: Gateway, line: Line, query: Query) -> Query:
        """Return a placed line's request with what it may reach now, in its category.

        Raises:
            InvalidRequest: the batch keeps out whom there is not.
            Forbidden: it asks for what clients may not.
        """
        admitted = await pipeline.admitted(gateway, query)
        return pipeline.settled(gateway, admitted, line.category)
