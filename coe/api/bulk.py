"""The batches of a gateway, put together: where they are kept, what runs them, their endpoints."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from coe import planner
from coe.api import batches, embeddings, files, wire
from coe.api.counted import Counted
from coe.batching.desk import Desk, Held, Kind, Limits, Shelf
from coe.batching.runner import Runner
from coe.errors import StoreUnavailable, Unauthorized, UnknownModel
from coe.identity import Identity
from coe.pipeline import Gateway
from coe.settings import Settings
from coe.stores.records import Batch
from coe.types import Query


class Bulk:
    """The batches of one state folder. Nothing is made there before the first file comes.

    Attributes:
        shelf: what is kept.
        runner: works it off.
    """

    def __init__(
        self, current: Callable[[], Held], settings: Settings, folder: Path | None = None
    ) -> None:
        """Store the parts.

        Args:
            current: returns the gateway that serves now.
            settings: limits and the state folder.
            folder: where batches are kept instead.
        """
        self.shelf = Shelf(folder or settings.state_folder)
        self.runner = Runner(self._desk)
        self._current = current
        self._settings = settings
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{wire.new_id()[-8:]}"

    def endpoints(self) -> tuple[APIRouter, ...]:
        """Return /v1/files and /v1/batches."""
        counted = Counted(lambda: self._current().gateway)
        return (
            files.endpoints(self.shelf, self._settings, counted),
            batches.endpoints(self.shelf, self.runner, self._settings, counted),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the batches in the background meanwhile; also those that were left unfinished."""
        try:
            async with self.runner.running(self._settings.drain_s):
                yield
        finally:
            self.shelf.close()

    def _desk(self) -> Desk | None:
        state = self.shelf.found()
        if state is None:
            return None
        settings = self._settings
        return Desk(
            state=state,
            current=self._current,
            kinds=kinds(settings),
            parse=lambda raw: wire.parse_json(raw, settings),
            owner=self._owner,
            new_id=wire.new_id,
            identify=self._identify,
            limits=Limits(
                concurrency=settings.batch_concurrency,
                lines=settings.batch_max_lines,
                line_bytes=settings.max_body_bytes,
                lease_s=settings.batch_lease_s,
            ),
        )

    def _identify(self, batch: Batch) -> Identity:
        """Return who asks a batch's requests: the holder of the key that it was made with."""
        if not batch.key:
            return Identity(tenant=batch.tenant)
        premises = self._current().gateway.premises
        ring = premises.keys if premises is not None else None
        if ring is None or not ring.is_known:
            raise StoreUnavailable("the keys cannot be read yet")
        holder = ring.holder(batch.key)
        if holder is None:
            raise Unauthorized("the key that the batch was made with works no more")
        return holder


def kinds(settings: Settings) -> dict[str, Kind]:
    """Return what batches may be of, by endpoint."""

    def chat(body: dict[str, Any], query_id: str) -> Query:
        return wire.parse_chat(body, query_id, settings)

    return {
        "/v1/chat/completions": Kind(parse=chat, is_known=_is_routed),
        "/v1/embeddings": Kind(
            parse=wire.parse_embeddings, is_known=_embeds, encode=embeddings.open_answer
        ),
    }


def _is_routed(gateway: Gateway, model: str) -> bool:
    try:
        planner.pin(gateway.composition, model)
    except UnknownModel:
        return False
    return True


def _embeds(gateway: Gateway, model: str) -> bool:
    return model in gateway.encoders or model in gateway.composition.experts
