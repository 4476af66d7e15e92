"""Every mistake that the file can hold: its place, its words, and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coe.composition import check, load
from coe.errors import CompositionError, Problem

Write = Callable[[str], Path]

BASE = """\
version: 1
backends:
  here: {url: http://127.0.0.1:8000, memory: 10GiB, reserve: 1GiB}
  engine: local
experts:
  general: here/small
  coder: {backend: here, model: coder}
categories:
  code:
    utterances: [c1, c2, c3, c4, c5]
    experts: [coder]
  law:
    utterances: [l1, l2, l3, l4, l5]
    experts: [general]
default: general
"""


@dataclass(frozen=True)
class Mistake:
    """One change to BASE and the problem that it must bring.

    Attributes:
        old: what is replaced in BASE; empty to add `new` at the end.
        place: line:column.
    """

    name: str
    old: str
    new: str
    place: str
    path: str
    message: str
    hint: str = ""
    severity: str = "error"

    @property
    def text(self) -> str:
        if not self.old:
            return BASE + self.new
        assert BASE.count(self.old) == 1, self.old
        return BASE.replace(self.old, self.new)


SECTIONS = "{backend: here, model: coder}"

MISTAKES = [
    # -- unknown, unsupported and missing keys
    Mistake(
        "unknown top key", "", "expert: {}\n", "16:1", "expert", "unknown key", "mean `experts`"
    ),
    Mistake(
        "unknown key of an expert",
        SECTIONS,
        "{backend: here, modell: coder}",
        "7:26",
        "experts.coder.modell",
        "unknown key `modell`",
        "did you mean `model`? Allowed: kind, backend, model",
    ),
    Mistake(
        "unknown key without a near one",
        "    experts: [coder]",
        "    zzzz: 1",
        "11:5",
        "categories.code.zzzz",
        "unknown key `zzzz`",
        "one of `description`",
    ),
    Mistake(
        "misspelt threshold",
        "    experts: [coder]",
        "    treshold: 0.5",
        "11:5",
        "categories.code.treshold",
        "unknown key",
        "did you mean `threshold`?",
    ),
    Mistake(
        "a word of another tool",
        "",
        "embedders: {a: minilm}\n",
        "16:1",
        "embedders",
        "unknown key `embedders`",
        "did you mean `encoders`?",
    ),
    Mistake(
        "embedder of a router",
        "",
        "routers:\n  r:\n    type: embedding\n    embedder: minilm\n",
        "19:5",
        "routers.r.embedder",
        "unknown key `embedder`",
        "did you mean `encoder`?",
    ),
    Mistake(
        "section for later", "", "batching: {}\n", "16:1", "batching", "`batching` is not supported"
    ),
    Mistake(
        "key for later",
        SECTIONS,
        "{backend: here, model: coder, residency: pinned}",
        "7:40",
        "experts.coder.residency",
        "`residency` is not supported yet",
    ),
    Mistake(
        "value for later",
        "",
        "routing: {choose: weighted}\n",
        "16:19",
        "routing.choose",
        "`weighted` is not supported yet",
    ),
    Mistake(
        "condition for later",
        "",
        "models:\n  coe/cheap: {choose: cheapest_good}\n",
        "17:15",
        "models.coe/cheap.choose",
        "`choose` is not supported yet",
    ),
    Mistake(
        "child category",
        "  law:\n",
        "  code.rust:\n",
        "12:3",
        "categories.code.rust",
        "a child of the category `code` is not supported yet",
    ),
    Mistake("no version", "version: 1\n", "", "1:1", "", "`version` is missing", "`version: 1`"),
    Mistake("no default", "default: general\n", "", "1:1", "", "`default` is missing"),
    Mistake("empty default", "default: general", "default:", "15:1", "default", "is missing"),
    Mistake(
        "another version", "version: 1", "version: 2", "1:10", "version", "version 2 of the schema"
    ),
    Mistake(
        "no model",
        SECTIONS,
        "{backend: here}",
        "7:3",
        "experts.coder",
        "`model` is missing",
        "or `base`",
    ),
    Mistake(
        "no type",
        "",
        "encoders:\n  e: {dim: 4}\n",
        "17:3",
        "encoders.e",
        "`type` is missing",
    ),
    # -- wrong kinds of values
    Mistake(
        "number for a text",
        SECTIONS,
        "{backend: here, model: 4}",
        "7:33",
        "experts.coder.model",
        "expected a text, not a number (4)",
        "quotes",
    ),
    Mistake(
        "list for a mapping",
        SECTIONS,
        "[here, coder]",
        "7:10",
        "experts.coder",
        "expected a mapping (`key: value` lines), not a list",
    ),
    Mistake(
        "text for a list",
        "",
        "routers: {r: {type: keyword}}\nrouting: {none: 3}\n",
        "17:17",
        "routing.none",
        "expected a list, not a number (3)",
    ),
    Mistake(
        "nothing for a mapping",
        "    experts: [coder]",
        "    keywords: {any: }",
        "11:16",
        "categories.code.keywords.any",
        "expected a list, not nothing",
        "give it a value or remove",
    ),
    Mistake(
        "text for a number",
        SECTIONS,
        "{backend: here, model: coder, skills: {code: good}}",
        "7:55",
        "experts.coder.skills.code",
        "expected a number, not a text",
    ),
    Mistake(
        "fraction for a count",
        "engine: local",
        "engine: {type: local, concurrency: 1.5}",
        "4:38",
        "backends.engine.concurrency",
        "expected a whole number",
    ),
    Mistake(
        "empty text",
        "utterances: [c1,",
        "utterances: [' ',",
        "10:18",
        "categories.code.utterances[0]",
        "an empty text",
    ),
    Mistake(
        "threshold above one",
        "    experts: [coder]",
        "    threshold: 1.5",
        "11:16",
        "categories.code.threshold",
        "1.5 is out of range: must be at most 1",
    ),
    Mistake(
        "threshold not a number",
        "    experts: [coder]",
        "    threshold: .nan",
        "11:16",
        "categories.code.threshold",
        "nan",
    ),
    Mistake(
        "threshold of a router",
        "",
        "routers:\n  r: {type: keyword, margin: -1}\n",
        "17:30",
        "routers.r.margin",
        "-1 is out of range",
    ),
    Mistake(
        "unknown status",
        SECTIONS,
        "{backend: here, model: coder, status: canari}",
        "7:48",
        "experts.coder.status",
        "`canari` is not one of live, canary",
        "did you mean `canary`?",
    ),
    Mistake(
        "size without unit",
        "memory: 10GiB",
        "memory: 10",
        "3:46",
        "backends.here.memory",
        "the size 10 has no unit",
    ),
    Mistake(
        "duration without unit",
        "",
        "timeouts: {connect: 5}\n",
        "16:21",
        "timeouts.connect",
        "the duration 5 has no unit; write for example `5s`",
    ),
    Mistake(
        "not a price",
        SECTIONS,
        "{backend: here, model: coder, cost: {input: cheap}}",
        "7:54",
        "experts.coder.cost.input",
        "`cheap` is not a price",
    ),
    Mistake(
        "bad pattern",
        "    experts: [coder]",
        "    keywords: {regex: ['ok', '(']}",
        "11:30",
        "categories.code.keywords.regex[1]",
        "not a regular expression",
    ),
    Mistake(
        "bad name",
        "  law:\n",
        "  the law:\n",
        "12:3",
        "categories.the law",
        "`the law` cannot be a name",
        "letters, digits",
    ),
    Mistake(
        "no attempts",
        "",
        "fallbacks: {attempts: 0}\n",
        "16:23",
        "fallbacks.attempts",
        "must be at least 1",
    ),
    Mistake(
        "expert shorthand without a backend",
        "general: here/small",
        "general: small",
        "6:12",
        "experts.general",
        "`small` is not `backend/model`",
    ),
    # -- backends
    Mistake(
        "unknown type",
        "engine: local",
        "engine: {type: olama, url: http://h}",
        "4:18",
        "backends.engine.type",
        "no `coe.backends` plugin is named `olama`",
        "did you mean `ollama`?",
    ),
    Mistake(
        "shorthand that is no address",
        "engine: local",
        "engine: 127.0.0.1:8000",
        "4:11",
        "backends.engine.type",
        "no `coe.backends` plugin is named `127.0.0.1:8000`",
    ),
    Mistake(
        "unknown router type",
        "",
        "routers: {r: {type: embeding}}\n",
        "16:21",
        "routers.r.type",
        "no `coe.routers` plugin",
        "did you mean `embedding`?",
    ),
    Mistake(
        "unknown encoder type",
        "",
        "encoders: {e: hash}\n",
        "16:15",
        "encoders.e.type",
        "no `coe.encoders` plugin",
        "did you mean `hashed`?",
    ),
    Mistake(
        "no url",
        "engine: local",
        "engine: {type: vllm}",
        "4:3",
        "backends.engine",
        "a backend of type `vllm` needs a `url`",
    ),
    Mistake(
        "url of the embedded engine",
        "engine: local",
        "engine: {type: local, url: http://h}",
        "4:30",
        "backends.engine.url",
        "has no url",
    ),
    Mistake(
        "not an address",
        "engine: local",
        "engine: ftp://h",
        "4:11",
        "backends.engine.url",
        "not an http or https address",
    ),
    Mistake(
        "port that is none",
        "engine: local",
        "engine: http://h:99999",
        "4:11",
        "backends.engine.url",
        "cannot be used",
    ),
    Mistake(
        "literal password",
        "engine: local",
        "engine: http://me:hunter2@h",
        "4:11",
        "backends.engine.url",
        "a literal password",
    ),
    Mistake(
        "address with a space",
        "engine: local",
        "engine: 'http://h /v1'",
        "4:11",
        "backends.engine.url",
        "cannot be used",
    ),
    Mistake(
        "address with a query",
        "engine: local",
        "engine: http://h/v1?key=x",
        "4:11",
        "backends.engine.url",
        "with a query",
    ),
    Mistake(
        "address from a variable that is not set",
        "engine: local",
        "engine: ${env:ADDRESS}",
        "4:11",
        "backends.engine.url",
        "the environment variable ADDRESS is not set",
        severity="warning",
    ),
    Mistake(
        "reserve of everything",
        "reserve: 1GiB",
        "reserve: 10GiB",
        "3:62",
        "backends.here.reserve",
        "nothing is left for experts",
    ),
    Mistake(
        "listen nowhere",
        "",
        "server: {listen: 8088}\n",
        "16:18",
        "server.listen",
        "expected a text",
    ),
    Mistake(
        "listen without port",
        "",
        "server: localhost\n",
        "16:9",
        "server.listen",
        "is not `HOST:PORT`",
    ),
    # -- experts
    Mistake(
        "dangling backend",
        "general: here/small",
        "general: there/small",
        "6:12",
        "experts.general.backend",
        "there is no backend `there`",
        "did you mean `here`?",
    ),
    Mistake(
        "lora without base",
        SECTIONS,
        "{kind: lora, adapter: x}",
        "7:3",
        "experts.coder",
        "a LoRA adapter without `base`",
    ),
    Mistake(
        "lora without adapter",
        SECTIONS,
        "{base: general}",
        "7:3",
        "experts.coder",
        "`adapter` is missing",
    ),
    Mistake(
        "lora with a dangling base",
        SECTIONS,
        "{base: generl, adapter: x}",
        "7:17",
        "experts.coder.base",
        "there is no expert `generl`",
        "did you mean `general`?",
    ),
    Mistake(
        "lora with a backend",
        SECTIONS,
        "{base: general, adapter: x, backend: here}",
        "7:38",
        "experts.coder.backend",
        "has the `backend` of its base",
    ),
    Mistake(
        "adapter without base",
        SECTIONS,
        "{backend: here, model: m, adapter: x}",
        "7:36",
        "experts.coder.adapter",
        "`adapter` is for LoRA adapters",
        "add `base`",
    ),
    Mistake(
        "lora on itself",
        SECTIONS,
        "{base: coder, adapter: x}",
        "7:17",
        "experts.coder.base",
        "is a LoRA adapter itself",
    ),
    Mistake(
        "never fits",
        SECTIONS,
        "{backend: here, model: coder, memory: 9.5GiB}",
        "7:48",
        "experts.coder.memory",
        "never fits: 9728MiB, but `here` has room for 9GiB",
    ),
    Mistake(
        "unknown capability",
        SECTIONS,
        "{backend: here, model: coder, capabilities: [tool]}",
        "7:55",
        "experts.coder.capabilities[0]",
        "nothing ever asks for the capability `tool`",
        "did you mean `tools`?",
        "warning",
    ),
    Mistake(
        "local model that is not there",
        SECTIONS,
        "{backend: engine, model: ./nowhere}",
        "7:35",
        "experts.coder.model",
        "there is no folder",
    ),
    Mistake(
        "local model of an unknown user",
        SECTIONS,
        "{backend: engine, model: ~nobody-here/model}",
        "7:35",
        "experts.coder.model",
        "there is no folder",
    ),
    Mistake(
        "local model with an impossible name",
        SECTIONS,
        f"{{backend: engine, model: ./{'x' * 300}}}",
        "7:35",
        "experts.coder.model",
        "there is no folder",
    ),
    Mistake(
        "local model that may be a hub's",
        SECTIONS,
        "{backend: engine, model: acme/small}",
        "7:35",
        "experts.coder.model",
        "taken as a Hugging Face name",
        "./",
        "warning",
    ),
    # -- categories
    Mistake(
        "utterance of two categories",
        "[l1, l2,",
        "[l1, ' C2 ',",
        "13:22",
        "categories.law.utterances[1]",
        "two categories, `law` and `code`",
        "make it a negative",
    ),
    Mistake(
        "utterance and negative",
        "    experts: [coder]",
        "    negatives: [dress code, C3]\n    experts: [coder]",
        "11:29",
        "categories.code.negatives[1]",
        "also an utterance of this category",
    ),
    Mistake(
        "utterance twice",
        "[c1, c2,",
        "[c1, c2, c1,",
        "10:26",
        "categories.code.utterances[2]",
        "is here twice; first at",
        severity="warning",
    ),
    Mistake(
        "few utterances",
        "[c1, c2, c3, c4, c5]",
        "[c1, c2]",
        "9:3",
        "categories.code",
        "2 utterances; a router needs 5",
        severity="warning",
    ),
    Mistake(
        "no utterances",
        "utterances: [c1, c2, c3, c4, c5]",
        "description: x",
        "9:3",
        "categories.code",
        "neither utterances nor keywords",
        severity="warning",
    ),
    Mistake(
        "no route",
        "    experts: [general]\n",
        "",
        "12:3",
        "categories.law",
        "no route: `general` answers it",
        severity="warning",
    ),
    Mistake(
        "missing file of utterances",
        "    experts: [coder]",
        "    utterances_file: nowhere.txt",
        "11:22",
        "categories.code.utterances_file",
        "cannot read the file",
    ),
    # -- routing
    Mistake(
        "dangling expert of a category",
        "experts: [coder]",
        "experts: [coder, generl]",
        "11:22",
        "categories.code.experts[1]",
        "there is no expert `generl`",
        "did you mean `general`?",
    ),
    Mistake(
        "dangling default",
        "default: general",
        "default: nobody",
        "15:10",
        "default",
        "there is no expert `nobody`",
        "experts: `coder`, `general`",
    ),
    Mistake(
        "dangling category of a route",
        "",
        "routing:\n  routes: {cod: [coder]}\n",
        "17:12",
        "routing.routes.cod",
        "there is no category `cod`",
        "did you mean `code`?",
    ),
    Mistake(
        "none among the routes",
        "",
        "routing:\n  routes: {none: [coder]}\n",
        "17:12",
        "routing.routes.none",
        "there is no category `none`",
        "`routing.none`, one level up",
    ),
    Mistake(
        "dangling expert of a route",
        "",
        "routing:\n  none: [coder, codr]\n",
        "17:17",
        "routing.none[1]",
        "there is no expert `codr`",
        "did you mean `coder`?",
    ),
    Mistake(
        "two routes of a category",
        "",
        "routing:\n  routes: {code: [coder]}\n",
        "11:5",
        "categories.code.experts",
        "also in `routing.routes`",
    ),
    Mistake(
        "expert twice in a route",
        "experts: [coder]",
        "experts: [coder, coder]",
        "11:22",
        "categories.code.experts[1]",
        "in this list twice",
    ),
    Mistake(
        "empty route",
        "experts: [coder]",
        "experts: []",
        "11:5",
        "categories.code.experts",
        "a list without experts",
    ),
    Mistake(
        "route of retired experts",
        SECTIONS,
        "{backend: here, model: m, status: retired}",
        "11:5",
        "categories.code.experts",
        "nobody here may answer: `coder` is retired",
    ),
    Mistake(
        "retired default",
        "general: here/small",
        "general: {backend: here, model: m, status: shadow}",
        "15:10",
        "default",
        "nobody here may answer: `general` is shadow",
    ),
    Mistake(
        "unused expert",
        "experts: [coder]",
        "experts: [general]",
        "7:3",
        "experts.coder",
        "no route leads to it",
        severity="warning",
    ),
    Mistake(
        "virtual model named like an expert",
        "",
        "models: {coder: {}}\n",
        "16:10",
        "models.coder",
        "already that of an expert",
    ),
    Mistake(
        "virtual model named like a category",
        "",
        "models: {law: {}}\n",
        "16:10",
        "models.law",
        "already that of a category",
    ),
    Mistake(
        "expert in the place of a category",
        "  coder: {",
        "  coe/law: here/x\n  coder: {",
        "13:3",
        "categories.law",
        "the name `coe/law` is already that of an expert",
    ),
    Mistake(
        "expert named like the automatic model",
        "  coder: {",
        "  coe/auto: here/x\n  coder: {",
        "7:3",
        "experts.coe/auto",
        "already that of a virtual model (is always there)",
    ),
    # -- routers
    Mistake(
        "dangling router",
        "",
        "routers: {fast: embedding}\nrouting: {router: fats}\n",
        "17:19",
        "routing.router",
        "there is no router `fats`",
        "did you mean `fast`?",
    ),
    Mistake(
        "dangling encoder",
        "",
        "routers: {fast: {type: embedding, encoder: minilmm}}\n",
        "16:44",
        "routers.fast.encoder",
        "there is no encoder `minilmm`",
        "did you mean `minilm`?",
    ),
    Mistake(
        "dangling stage",
        "",
        "routers:\n  fast: embedding\n  all: {type: chain, stages: [fast, slow]}\n",
        "18:37",
        "routers.all.stages[1]",
        "there is no router `slow`",
    ),
    Mistake(
        "stages in a circle",
        "",
        "routers:\n  a: {type: chain, stages: [b]}\n  b: {type: chain, stages: [a]}\n"
        "routing: {router: a}\n",
        "17:28",
        "routers.a.stages",
        "lead back to itself",
    ),
    Mistake(
        "several routers",
        "",
        "routers: {a: keyword, b: embedding}\n",
        "16:1",
        "routers",
        "nothing says which one decides",
        "routing: {router: NAME}",
    ),
    # -- secrets
    Mistake(
        "literal key",
        "engine: local",
        "engine: {url: http://h, api_key: sk-123}",
        "4:36",
        "backends.engine.api_key",
        "a literal secret",
        "${env:NAME}",
    ),
    Mistake(
        "literal key as a default",
        "engine: local",
        "engine: {url: http://h, api_key: '${env:K:-sk-123}'}",
        "4:36",
        "backends.engine.api_key",
        "the default of a secret",
    ),
    Mistake(
        "literal header",
        "engine: local",
        "engine: {url: http://h, headers: {Authorization: Bearer sk-123}}",
        "4:52",
        "backends.engine.headers.Authorization",
        "a literal secret",
    ),
    Mistake(
        "literal key among the options",
        "engine: local",
        "engine: {url: http://h, options: {auth_token: sk-123}}",
        "4:49",
        "backends.engine.options.auth_token",
        "a literal secret",
    ),
    Mistake(
        "key of an encoder",
        "",
        "encoders: {e: {type: http, api_key: sk-123}}\n",
        "16:37",
        "encoders.e.api_key",
        "a literal secret",
    ),
    Mistake(
        "key that is no text",
        "engine: local",
        "engine: {url: http://h, api_key: 12345}",
        "4:36",
        "backends.engine.api_key",
        "expected a text, not a number",
    ),
    Mistake(
        "reference of another tool",
        "engine: local",
        "engine: {url: http://h, api_key: '${KEY}'}",
        "4:36",
        "backends.engine.api_key",
        "not a reference that is known",
    ),
    Mistake(
        "reference without an end",
        "engine: local",
        "engine: {url: http://h, api_key: '${env:KEY'}",
        "4:36",
        "backends.engine.api_key",
        "without its closing brace",
    ),
    Mistake(
        "variable that is not set",
        "engine: local",
        "engine: {url: http://h, api_key: '${env:KEY}'}",
        "4:36",
        "backends.engine.api_key",
        "the environment variable KEY is not set",
        severity="warning",
    ),
    Mistake(
        "file that is not there",
        "engine: local",
        "engine: {url: http://h, api_key: '${file:key.txt}'}",
        "4:36",
        "backends.engine.api_key",
        "cannot read the file",
        severity="warning",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_with_its_place_and_remedy(mistake: Mistake, write: Write) -> None:
    problems = check(write(mistake.text), {})

    found = [p for p in problems if mistake.message in p.message and p.path == mistake.path]
    assert found, "\n".join(map(str, problems)) or "no problem at all"
    assert f"{found[0].line}:{found[0].column}" == mistake.place
    assert mistake.hint in found[0].hint
    assert found[0].severity == mistake.severity
    assert not any(secret in str(p) for p in problems for secret in ("sk-123", "hunter2", "12345"))


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_brings_no_second_error_for_the_same_place(
    mistake: Mistake, write: Write
) -> None:
    problems = check(write(mistake.text), {})

    errors = [p for p in problems if p.severity == "error"]
    assert len({(p.line, p.column) for p in errors}) == len(errors), "\n".join(map(str, errors))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("memory: 10GiB", "memory: 10", "backends.here.memory"),
        (SECTIONS, "{base: 4, adapter: x}", "experts.coder.base"),
        (SECTIONS, "{base: general, adapter: 4}", "experts.coder.adapter"),
        (SECTIONS, "{kind: lara, base: general, adapter: x}", "experts.coder.kind"),
        (SECTIONS, "{backend: 4, model: x}", "experts.coder.backend"),
        (SECTIONS, "4", "experts.coder"),
        ("experts: [coder]", "experts: 4", "categories.code.experts"),
        ("default: general", "default: 4", "default"),
        ("here: {url", "here: {ulr", "backends.here.ulr"),
    ],
)
def test_a_broken_value_brings_no_problem_elsewhere(
    old: str, new: str, path: str, write: Write
) -> None:
    errors = [p for p in check(write(BASE.replace(old, new)), {}) if p.severity == "error"]

    assert [p.path for p in errors] == [path]


def test_the_file_that_the_mistakes_start_from_is_faultless(write: Write) -> None:
    assert check(write(BASE), {}) == []


def test_all_problems_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = """\
version: 1
backends:
  a: {url: http://h, memry: 1GiB}
  b: {type: olama, url: http://h}
experts:
  one: {backend: a, model: m, context: much}
  two: {backend: c, model: m}
  three: {base: four, adapter: x}
categories:
  code: {utterances: [c1, c2, c3, c4, c5], threshold: 3, experts: [one, six]}
  law: {utterances: [c1, l2, l3, l4, l5], experts: [two]}
batching: {}
default: three
"""

    with pytest.raises(CompositionError) as refused:
        load(write(text), {})

    assert [(p.line, p.path) for p in refused.value.problems] == [
        (3, "backends.a.memry"),
        (4, "backends.b.type"),
        (6, "experts.one.context"),
        (7, "experts.two.backend"),
        (8, "experts.three.base"),
        (10, "categories.code.threshold"),
        (10, "categories.code.experts[1]"),
        (11, "categories.law.utterances[0]"),
        (12, "batching"),
    ]


def test_a_broken_section_is_told_once_and_not_again_for_every_name(write: Write) -> None:
    text = BASE.replace("backends:\n", "backends: []\nold:\n")

    problems = [p for p in check(write(text), {}) if p.severity == "error"]

    assert sorted(p.path for p in problems) == ["backends", "old"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]", "just words", "42", "~"])
def test_a_file_that_holds_no_mapping_is_refused(text: str, write: Write) -> None:
    with pytest.raises(CompositionError, match="expected a mapping"):
        load(write(text), {})


def test_a_lora_on_a_backend_without_lora_is_refused(write: Write) -> None:
    text = BASE.replace("engine: local", "cloud: litellm").replace(
        SECTIONS, "{backend: cloud, model: m}\n  tuned: {base: coder, adapter: x}"
    )

    (problem,) = [p for p in check(write(text), {}) if p.severity == "error"]

    assert problem.path == "experts.tuned.base"
    assert "type `litellm`, which loads no LoRA adapters" in problem.message


def test_a_lora_must_fit_together_with_its_base(write: Write) -> None:
    text = BASE.replace(
        SECTIONS,
        "{backend: here, model: m, memory: 8GiB}\n  tuned: {base: coder, adapter: x, memory: 2GiB}",
    )

    (problem,) = [p for p in check(write(text), {}) if p.severity == "error"]

    assert "never fits: 10GiB with its base `coder`" in problem.message


@pytest.mark.parametrize(
    ("key", "file"), [("model", "config.json"), ("adapter", "adapter_config.json")]
)
def test_a_folder_without_weights_is_refused(key: str, file: str, write: Write) -> None:
    lora = "\n  tuned: {base: coder, adapter: ./tuned}" if key == "adapter" else ""
    path = write(BASE.replace(SECTIONS, "{backend: engine, model: ./coder}" + lora))
    (path.parent / "coder").mkdir()
    (path.parent / "tuned").mkdir()
    if key == "adapter":
        (path.parent / "coder" / "config.json").touch()

    (problem,) = [p for p in check(path, {}) if p.severity == "error"]

    assert f"holds no {file}" in problem.message


@pytest.mark.parametrize("model", ["hf://acme/small", "small", "${env:MODEL:-x}"])
def test_a_local_model_that_is_no_path_is_left_to_the_engine(model: str, write: Write) -> None:
    path = write(BASE.replace(SECTIONS, f"{{backend: engine, model: '{model}'}}"))

    assert check(path, {}) == []


def test_a_lora_on_a_broken_base_brings_no_second_problem(write: Write) -> None:
    text = BASE.replace("general: here/small", "general: small").replace(
        SECTIONS, "{base: general, adapter: x}"
    )

    (problem,) = check(write(text), {})

    assert problem.path == "experts.general"


def test_keywords_alone_make_a_category(write: Write) -> None:
    text = BASE.replace("utterances: [c1, c2, c3, c4, c5]", "keywords: [segfault]")

    assert check(write(text), {}) == []


def test_a_huge_file_of_utterances_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coe.composition.texts.MAX_BYTES", 3)
    path = write(
        BASE.replace("    experts: [coder]", "    utterances_file: more.txt\n    experts: [coder]")
    )
    (path.parent / "more.txt").write_text("too long", encoding="utf-8")

    (problem,) = check(path, {})

    assert "is larger than 3 bytes" in problem.message


def test_folders_with_weights_are_accepted(write: Write) -> None:
    path = write(
        BASE.replace(
            SECTIONS,
            "{backend: engine, model: weights/coder}\n  tuned: {base: coder, adapter: ./tuned}",
        ).replace("[general]", "[tuned, general]")
    )
    for folder, file in (("weights/coder", "config.json"), ("tuned", "adapter_config.json")):
        (path.parent / folder).mkdir(parents=True)
        (path.parent / folder / file).touch()

    assert check(path, {}) == []


def test_a_conflict_in_an_utterance_file_is_placed_in_that_file(write: Write) -> None:
    path = write(
        BASE.replace("    experts: [coder]", "    utterances_file: more.txt\n    experts: [coder]")
    )
    (path.parent / "more.txt").write_text("# more of them\n\nc6\n  L2\n", encoding="utf-8")

    (problem,) = check(path, {})

    assert problem.file.endswith("experts.yaml")
    assert f"(at {path.parent / 'more.txt'}:4:1)" in problem.message


def test_an_utterance_file_that_is_not_utf8_is_placed_in_that_file(write: Write) -> None:
    path = write(
        BASE.replace("    experts: [coder]", "    negatives_file: no.txt\n    experts: [coder]")
    )
    (path.parent / "no.txt").write_bytes(b"fine\n\xff\n")

    (problem,) = check(path, {})

    assert problem.file.endswith("no.txt")
    assert (problem.line, problem.message) == (2, "not UTF-8")


def test_a_warning_does_not_forbid_to_load(write: Write) -> None:
    composition = load(write(BASE.replace("[l1, l2, l3, l4, l5]", "[l1]")), {})

    assert [p.severity for p in composition.warnings] == ["warning"]


def test_a_problem_reads_as_one_clickable_line(write: Write) -> None:
    path = write(BASE.replace("    experts: [coder]", "    treshold: 0.5"))

    text = str(next(p for p in check(path, {}) if p.severity == "error"))

    assert text.startswith(f"{path}:11:5: categories.code.treshold: unknown key `treshold` (did")
    assert isinstance(check(path, {})[0], Problem)
