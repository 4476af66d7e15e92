"""Room for files: what is there, and what is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from coe.stores.batches import BatchState
from coe.stores.files import FileStore, Room, Upload
from coe.stores.records import File

MOST = 1000
STEPS = st.tuples(
    st.sampled_from(["begin", "begin", "add", "end"]),
    st.sampled_from(["a", "b"]),
    st.integers(1, 600),
)


@contextmanager
def store() -> Iterator[FileStore]:
    with TemporaryDirectory() as folder:
        state = BatchState.open(Path(folder))
        try:
            yield state.files
        finally:
            state.close()


@settings(max_examples=30)
@given(steps=st.lists(STEPS, max_size=25))
def test_what_is_there_and_what_comes_never_need_more_than_there_is(
    steps: list[tuple[str, str, int]],
) -> None:
    coming: dict[str, list[tuple[Upload, ExitStack]]] = {"a": [], "b": []}
    there = {"a": 0, "b": 0}
    with store() as files:
        for number, (what, tenant, size) in enumerate(steps):
            if what == "begin":
                stack = ExitStack()
                upload = stack.enter_context(files.uploading(Room(MOST, tenant)))
                left = files.left(upload.room)
                assert files.hold(upload, size) == upload.held == min(size, left)
                coming[tenant].append((upload, stack))
            elif coming[tenant]:
                upload, stack = coming[tenant].pop(0)
                if what == "add" and upload.held:
                    there[tenant] += upload.held
                    add(files, f"file-{number}", upload)
                stack.close()
            for name, uploads in coming.items():
                held = sum(upload.held for upload, _ in uploads)
                assert files.left(Room(MOST, name)) == MOST - there[name] - held >= 0
            held = sum(upload.held for uploads in coming.values() for upload, _ in uploads)
            assert files.left(Room(2 * MOST, None)) == 2 * MOST - sum(there.values()) - held


def add(files: FileStore, name: str, upload: Upload) -> None:
    size = files.write(name, [b"x" * upload.held])
    file = File(
        id=name,
        filename="in",
        purpose="batch",
        size=size,
        created_at=1,
        tenant=str(upload.room.tenant),
    )
    files.add(file, upload)
