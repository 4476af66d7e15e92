"""What `coe init` finds: small servers that answer as the real ones do, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from coe.backends import discover as module
from coe.backends.discover import Found, Site, discover

pytestmark = pytest.mark.anyio

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """Serve JSON, or what a handler says, by path; yield the address."""
    app = web.Application()
    for path, answer in answers.items():
        app.router.add_get(path, answer if callable(answer) else _answering(answer))
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _answering(content: Any) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(content)

    return answer


def listing(*models: str, owner: str = "someone") -> dict[str, Any]:
    return {"object": "list", "data": [{"id": model, "owned_by": owner} for model in models]}


async def found_at(answers: Mapping[str, Any], *probes: module.Probe) -> Found | None:
    async with serving(answers) as url:
        rows = await discover({}, [Site(url, probes)])
    return rows[0] if rows else None


async def test_ollama_is_found_with_its_models() -> None:
    tags = {"models": [{"name": "llama3.2:3b", "size": 1}, {"name": "qwen2.5-coder:7b"}]}

    found = await found_at({"/api/tags": tags}, module.ollama)

    assert found is not None
    assert (found.name, found.type) == ("ollama", "ollama")
    assert found.models == ("llama3.2:3b", "qwen2.5-coder:7b")
    assert str(found) == f"ollama at {found.url}: 2 models"


async def test_vllm_is_known_by_the_owner_of_its_models() -> None:
    found = await found_at(
        {"/v1/models": listing("meta/llama", "legal-lora", owner="vllm")}, module.openai_compatible
    )

    assert found is not None
    assert found.type == "vllm"
    assert found.models == ("meta/llama", "legal-lora")


async def test_llamacpp_is_known_by_its_properties() -> None:
    answers = {
        "/props": {"default_generation_settings": {}, "total_slots": 1},
        "/v1/models": listing("tiny.gguf", owner="llamacpp"),
    }

    found = await found_at(answers, *module.SITES[2].probes)

    assert found is not None
    assert (found.type, found.models) == ("llamacpp", ("tiny.gguf",))


async def test_llama_swap_is_known_by_what_it_runs() -> None:
    answers = {"/running": {"running": []}, "/v1/models": listing("small", "large")}

    found = await found_at(answers, *module.SITES[2].probes)

    assert found is not None
    assert (found.type, found.models) == ("llama_swap", ("small", "large"))


async def test_lm_studio_is_found() -> None:
    found = await found_at({"/v1/models": listing("qwen3-4b")}, module.lm_studio)

    assert found is not None
    assert (found.name, found.type) == ("lm-studio", "openai")


async def test_any_other_openai_compatible_server_is_found() -> None:
    found = await found_at({"/v1/models": listing("m")}, *module.SITES[2].probes)

    assert found is not None
    assert (found.name, found.type) == ("server", "openai")


@pytest.mark.parametrize(
    "content",
    [
        [],
        "models",
        None,
        {"models": 3},
        {"models": None},
    ],
)
async def test_a_server_that_answers_something_else_is_not_taken_for_ollama(content: Any) -> None:
    assert await found_at({"/api/tags": content}, module.ollama) is None


async def test_rows_that_are_no_models_are_left_out() -> None:
    tags = {"models": [3, {"name": 4}, {"size": 1}, {"name": "m"}, {"name": "m"}, {"name": ""}]}

    found = await found_at({"/api/tags": tags}, module.ollama)

    assert found is not None
    assert found.models == ("m",)


async def test_garbage_redirects_and_errors_are_nothing_found() -> None:
    async def garbage(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff{not json", content_type="application/json")

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:9/api/tags")

    async def broken(_: web.Request) -> web.Response:
        return web.json_response({"models": []}, status=500)

    for answer in (garbage, elsewhere, broken):
        assert await found_at({"/api/tags": answer}, module.ollama) is None


async def test_an_answer_in_pieces_is_read_whole() -> None:
    async def pieces(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"models": [{"na', b'me": "m"', b"}]}"):
            await response.write(piece)
        return response

    found = await found_at({"/api/tags": pieces}, module.ollama)

    assert found is not None
    assert found.models == ("m",)


async def test_an_endless_answer_is_nothing_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    tags = {"models": [{"name": "m" * 200}]}

    assert await found_at({"/api/tags": tags}, module.ollama) is None


async def test_a_server_that_never_answers_costs_no_more_than_the_limit() -> None:
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving({"/api/tags": silent}) as url:
        rows = await discover({}, [Site(url, (module.ollama,))], limit_s=0.2)

    assert rows == []
    assert asked.is_set()


async def test_a_port_where_nothing_listens_is_nothing_found() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

        assert await discover({}, [Site(url, (module.ollama,))]) == []


async def test_a_listener_that_speaks_no_http_is_nothing_found() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        rows = await discover({}, [Site(url, (module.ollama, module.lm_studio))])

    assert rows == []


async def test_keys_are_found_by_their_names_and_never_shown() -> None:
    env = {
        "OPENAI_API_KEY": "sk-secret-1",
        "ANTHROPIC_API_KEY": "sk-secret-2",
        "MISTRAL_API_KEY": "",
        "GROQ_API_KEY": "sk-secret-3",
        "GOOGLE_API_KEY": "sk-secret-4",
        "PATH": "/bin",
    }

    rows = await discover(env, [])

    assert [(row.name, row.key) for row in rows] == [
        ("openai", "OPENAI_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("groq", "GROQ_API_KEY"),
        ("gemini", "GOOGLE_API_KEY"),
    ]
    assert "sk-secret" not in f"{rows} {' '.join(map(str, rows))}"


async def test_servers_come_before_services_and_in_the_order_of_the_sites() -> None:
    async with (
        serving({"/api/tags": {"models": []}}) as first,
        serving({"/v1/models": listing("m")}) as second,
    ):
        sites = [Site(first, (module.ollama,)), Site(second, (module.lm_studio,))]
        rows = await discover({"OPENAI_API_KEY": "k"}, sites)

    assert [row.name for row in rows] == ["ollama", "lm-studio", "openai"]


@pytest.mark.parametrize("form", ["{host}:{port}", "http://{host}:{port}/", "0.0.0.0:{port}"])
async def test_ollama_is_also_looked_for_where_its_own_variable_says(form: str) -> None:
    async with serving({"/api/tags": {"models": []}}) as url:
        port = url.rpartition(":")[2]
        rows = await discover({"OLLAMA_HOST": form.format(host="127.0.0.1", port=port)}, [])

    assert [row.url for row in rows] == [url]


async def test_a_site_that_is_named_twice_is_found_once() -> None:
    async with serving({"/api/tags": {"models": []}}) as url:
        rows = await discover({"OLLAMA_HOST": url}, [Site(url, (module.ollama,))])

    assert len(rows) == 1


async def test_a_variable_that_is_no_address_is_nothing_found() -> None:
    assert await discover({"OLLAMA_HOST": "[::bad"}, []) == []
    assert await discover({"OLLAMA_HOST": "http://a b:x"}, []) == []
