"""A server that holds models or adapters as some real one does, and misbehaves on command.

It speaks the documented addresses of the kinds below, over real sockets, and answers chats like
`coe.testing.upstream`. Nothing is computed. What it stands in for was not asked: a check that
passes here says that a client keeps to the documents.

    async with ModelServer("ollama", models={"alpha": 100, "beta": 200}) as server:
        ...  # server.url, server.held; server.spoil["load"] = "500"

What can be spoilt are `load`, `unload` and `list`; and how:

    late-200ms      answered after so long
    404, 500        refused with this status
    says-yes        answered well, and nothing is done
    half            the connection ends in the middle of the answer; it is done
    dies            the server is gone from then on
    fails           a load that begins well and ends badly, where loads go on after the answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from coe.testing import behaviours, wire
from coe.testing.serving import Received
from coe.testing.steps import End, Send, Step, Wait
from coe.testing.upstream import FakeUpstream

Kind = Literal["ollama", "vllm", "sglang", "llamacpp", "llama_cpp_python", "llama_swap"]
Verb = Literal["load", "unload", "list"]
_LATE = re.compile(r"late-(\d+)ms")
_SLEEP = re.compile(r"POST /sleep\?level=([12])")
_WAKE = re.compile(r"POST /wake_up(?:\?tags=(weights|kv_cache))?")
_NOT_FOUND = 404


class ModelServer(FakeUpstream):
    """The server. Start it with `async with`.

    Args:
        kind: whose addresses it speaks.
        models: bytes by name of what it can hold. For vLLM and SGLang these are adapters.
        base: the model that vLLM and SGLang serve.
        lasts_s: what loading and unloading takes.
        allows: whether adapters and sleep are switched on, for servers where they are not at first.

    Attributes:
        held: what is in memory, in the order in which it came.
        asleep: whether it sleeps.
        level: how deep it slept last.
        is_garbled: whether its weights are lost. vLLM answers nonsense then; this one with a 500,
            so that a test notices.
        spoil: what goes wrong, by what is asked for; take it out to end it.
        changes: every load and unload that was done, in order, such as `load alpha`.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        models: Mapping[str, int],
        base: str = "base",
        lasts_s: float = 0.0,
        allows: bool = True,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.sizes = dict(models)
        self.base = base
        self.lasts_s = lasts_s
        self.allows = allows
        self.held: list[str] = [next(iter(models))] if kind == "llama_cpp_python" else []
        self.asleep = False
        self.level = 0
        self.asleep_parts: set[str] = set()
        self.is_garbled = False
        self.spoil: dict[Verb, str] = {}
        self.changes: list[str] = []
        self._coming: set[str] = set()
        self._failed: set[str] = set()

    def answer(self, request: Received) -> list[Step]:
        """Take a request; return what to do with it."""
        self.received += 1
        self.requests.append(request)
        path = request.path
        if path.endswith("/chat/completions"):
            return self._chat(request)
        speak: dict[Kind, Callable[[str, Any], list[Step] | None]] = {
            "ollama": self._ollama,
            "vllm": self._vllm,
            "sglang": self._sglang,
            "llamacpp": self._llamacpp,
            "llama_cpp_python": self._llama_cpp_python,
            "llama_swap": self._llama_swap,
        }
        body = orjson.loads(request.body) if request.body else {}
        return speak[self.kind](f"{request.method} {path}", body) or _status(404, "Not Found")

    def _chat(self, request: Received) -> list[Step]:
        ask = wire.Ask.read(request.json, "chat/completions")
        names = {*self.held, self.base} if self.kind in {"vllm", "sglang"} else {*self.sizes}
        if self.asleep or ask.model not in names:
            return _status(404, f"The model `{ask.model}` does not exist.")
        if self.is_garbled:
            return _status(500, "made to fail: the weights are lost")
        if self.kind not in {"vllm", "sglang"}:
            self._bring(ask.model)  # these load what they are asked for
        return behaviours.steps(replace(ask, model="ok"))

    # ------------------------------------------------------------------ each kind's addresses

    def _ollama(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /api/ps":
            found = [
                {"name": n, "model": n, "size": self.sizes[n], "size_vram": self.sizes[n]}
                for n in self.held
            ]
            return self._done("list", {"models": found})
        if line == "GET /v1/models":
            return self._done("list", self._all())
        if line != "POST /api/generate":
            return None
        name, verb = body["model"], "unload" if body["keep_alive"] == 0 else "load"
        if name not in self.sizes:
            return _json(404, {"error": f"model '{name}' not found"})
        done = {"model": name, "response": "", "done": True, "done_reason": verb}
        return self._done("unload" if verb == "unload" else "load", done, name)

    def _vllm(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /v1/models":
            return self._done("list", self._cards())
        if not self.allows:
            return None
        if line in {"POST /v1/load_lora_adapter", "POST /v1/unload_lora_adapter"}:
            return self._vllm_adapter("unload" if "unload" in line else "load", body)
        return self._vllm_asleep(line, body)

    def _vllm_asleep(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /is_sleeping":
            return self._done("list", {"is_sleeping": self.asleep})
        if sleep := _SLEEP.fullmatch(line):
            return self._vllm_sleeps(int(sleep[1]))
        if wake := _WAKE.fullmatch(line):
            return self._vllm_wakes(wake[1] or "")
        return self._vllm_reads(body) if line == "POST /collective_rpc" else None

    def _vllm_sleeps(self, level: int) -> list[Step]:
        if self.asleep:  # whatever the level: it says so in its log, and does nothing
            return _json(200, {})
        steps = self._done("unload", {}, self.base)
        if self.asleep:
            self.asleep_parts = {"weights", "kv_cache"}
            self.level = level
            self.is_garbled = level == 2 or self.is_garbled  # noqa: PLR2004 - of sleep
        return steps

    def _vllm_wakes(self, tag: str) -> list[Step]:
        """Wake it, or a part of it; the last one wakes it. Lost weights stay lost."""
        left = self.asleep_parts - {tag} if tag else set()
        if left:
            self.asleep_parts = left
            return _json(200, {})
        steps = self._done("load", {}, self.base)
        if not self.asleep:
            self.asleep_parts = set()
        return steps

    def _vllm_reads(self, body: Any) -> list[Step]:
        """Read the base again, where it has its memory and no adapters were allowed."""
        if body != {"method": "reload_weights"} or "weights" in self.asleep_parts:
            return _status(500, "Internal Server Error")
        if self.sizes:
            return _status(500, "KeyError: 'layers.0.mlp.gate_up_proj.weight'")
        if self.spoil.get("load") != "says-yes":
            self.is_garbled = False
            self.changes.append(f"read {self.base}")
        return _json(200, {"results": [None]})

    def _vllm_adapter(self, verb: Verb, body: Any) -> list[Step]:
        name = body["lora_name"]
        if verb == "unload" and name not in self.held:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        if verb == "load" and name in self.held:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if verb == "load" and not self._has(body["lora_path"]):
            return _error(404, f"Loading lora {name} failed: No adapter found")
        return self._done(verb, "Success: LoRA adapter added successfully.", name)

    def _sglang(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /v1/models":
            return self._done("list", self._cards())
        verb = {"POST /load_lora_adapter": "load", "POST /unload_lora_adapter": "unload"}.get(line)
        if verb is None or not self.allows:
            return None
        name = body["lora_name"]
        if verb == "unload" or self._has(body["lora_path"]):
            done = {"success": True, "error_message": "", "loaded_adapters": {}}
            return self._done("load" if verb == "load" else "unload", done, name)
        return _json(400, {"success": False, "error_message": f"Failed to load adapter {name}"})

    def _llamacpp(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /models":
            return self._done("list", {"object": "list", "data": [*map(self._row, self.sizes)]})
        verb = {"POST /models/load": "load", "POST /models/unload": "unload"}.get(line)
        if verb is None:
            return None
        name = body["model"]
        if name not in self.sizes:
            return _error(404, "model is not found")
        if (verb == "load") == (name in self.held or name in self._coming):
            word = "already" if verb == "load" else "not"
            return _error(400, f"model is {word} running")
        return self._begun("load" if verb == "load" else "unload", name)

    def _llama_cpp_python(self, line: str, body: Any) -> list[Step] | None:
        if line == "GET /v1/models":
            return self._done("list", self._all())
        if line != "POST /extras/tokenize/count":
            return None
        name = body["model"] if body["model"] in self.sizes else next(iter(self.sizes))
        return self._done("load", {"count": 1}, name)

    def _llama_swap(self, line: str, body: Any) -> list[Step] | None:
        del body
        if line == "GET /running":
            found = [{"model": name, "state": "ready"} for name in self.held]
            found += [{"model": name, "state": "starting"} for name in self._coming]
            return self._done("list", {"running": found})
        for start, verb in (("GET /upstream/", "load"), ("POST /api/models/unload/", "unload")):
            if line.startswith(start):
                name = unquote(line.removeprefix(start).partition("/")[0])
                if name not in self.sizes:
                    return _status(404, f"no model {name}")
                return self._done("load" if verb == "load" else "unload", "OK", name)
        return None

    def _all(self) -> dict[str, object]:
        listed = [{"id": name, "object": "model", "owned_by": "me"} for name in self.sizes]
        return {"object": "list", "data": listed}

    # ------------------------------------------------------------------ what is done, and how

    def _done(self, verb: Verb, said: object, name: str = "") -> list[Step]:
        """Do what is asked for and say so, or what is spoilt about it."""
        how = self.spoil.get(verb, "")
        if how == "dies":
            self.stop_listening()
            return [End("reset")]
        if how.isdigit():
            return _status(int(how), "made to fail")
        if how != "says-yes" and name:
            self._change(verb, name)
        if isinstance(said, str):
            whole = wire.http(200, said.encode(), "text/plain; charset=utf-8")
        else:
            whole = wire.http(200, orjson.dumps(said))
        if how == "half":
            return [Send(whole[:-3]), End("close")]
        late = _LATE.fullmatch(how)
        wait_s = int(late[1]) / 1000 if late else self.lasts_s if name else 0.0
        return [Wait(wait_s), Send(whole)] if wait_s else [Send(whole)]

    def _begun(self, verb: Verb, name: str) -> list[Step]:
        """Begin what is asked for, which goes on after the answer."""
        how = self.spoil.get(verb, "")
        if how not in {"", "fails"}:
            return self._done(verb, {"success": True}, name)
        if verb == "load":
            self._coming.add(name)
        asyncio.get_running_loop().call_later(self.lasts_s, self._end, verb, name, how == "fails")
        return _json(200, {"success": True})

    def _end(self, verb: Verb, name: str, failed: bool) -> None:  # noqa: FBT001 - a timer's
        self._coming.discard(name)
        if failed:
            self._failed.add(name)
        else:
            self._change(verb, name)

    def _change(self, verb: Verb, name: str) -> None:
        if name == self.base and self.kind == "vllm":
            self.asleep = verb == "unload"
            self.changes.append(f"{verb} {name}")
        elif verb == "load":
            self._bring(name)
        elif name in self.held:
            self.held.remove(name)
            self.changes.append(f"unload {name}")

    def _bring(self, name: str) -> None:
        if name in self.held:
            return
        if self.kind == "llama_cpp_python":
            self.held.clear()
        self.held.append(name)
        self.changes.append(f"load {name}")

    def _has(self, path: str) -> bool:
        return path.rpartition("/")[2] in self.sizes

    def _cards(self) -> dict[str, Any]:
        adapters = [{"id": name, "object": "model", "parent": self.base} for name in self.held]
        return {"object": "list", "data": [{"id": self.base, "object": "model"}, *adapters]}

    def _row(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = {"value": "unloaded"}
        row: dict[str, Any] = {"id": name, "aliases": [], "object": "model"}
        if name in self._coming:
            status = {"value": "loading"}
        elif name in self.held:
            status = {"value": "loaded"}
            row["meta"] = {"size": self.sizes[name]}
        elif name in self._failed:
            status |= {"failed": True, "exit_code": 1}
        return {**row, "status": status}


def _status(status: int, detail: str) -> list[Step]:
    """Return what FastAPI says of an address or a model that is not there."""
    return _json(status, {"detail": detail})


def _error(status: int, message: str) -> list[Step]:
    return [Send(wire.http(status, wire.error_body(message, "BadRequestError", status)))]


def _json(status: int, value: object) -> list[Step]:
    return [Send(wire.http(status, orjson.dumps(value)))]
