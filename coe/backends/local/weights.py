"""Loading and unloading: each base model once, each adapter once, each failure translated.

Owned by the engine's thread; only `Weights.read` is called in another one, so that whoever is
being answered does not wait for files.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from coe.backends.local.lora import AdapterBank, Pairs, plain_pairs
from coe.backends.local.options import Options
from coe.backends.local.places import Place, fingerprint, other_base
from coe.backends.local.request import Sampling
from coe.errors import BackendRejected, CoEError, ExpertLoadFailed

_MAX_NEW_TOKENS = 256
# Layers whose cache is keys and values per token, so that rows can join and leave a batch.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(slots=True, kw_only=True)
class Base:
    """A model in memory.

    Attributes:
        context: the most tokens that its positions allow; None where the model does not say.
        defaults: from the model's generation config; greedy where that says nothing.
        max_new_tokens: of an answer whose request names no limit.
        ends: token ids that end an answer.
        mixable: whether rows can be padded and joined; False for recurrent states.
        accepts: the names of the arguments that the forward pass takes.
    """

    model: Any
    tokenizer: Any
    bank: AdapterBank
    device: torch.device
    context: int | None
    defaults: Sampling
    max_new_tokens: int
    ends: frozenset[int]
    mixable: bool
    accepts: frozenset[str]

    def to_host(self) -> None:
        """Move the weights to host memory; nothing can be asked of it there.

        On a processor they are there already.
        """
        try:
            self.model.to("cpu")
        except Exception:
            self.to_device()
            raise

    def to_device(self) -> None:
        """Move the weights to where they are used."""
        self.model.to(self.device)

    def free(self) -> None:
        """Give the memory of the weights back; nothing can be asked of it then."""
        # Now, and not when the collector finds the model, whose references go in circles; to call
        # the collector would stop every thread for some tenths of a second.
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            tensor.data = tensor.new_empty(0)

    @property
    def size(self) -> int:
        """The bytes that its weights take, without those of adapters."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return sum(storage.nbytes() for storage in _storages(tensors).values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where an expert sits: a base, the slot of its adapter, and its own tokenizer.

    Attributes:
        context: tokens of prompt and answer together; None where nothing limits them.
        marks: what the fingerprint is made of.
    """

    base: Base
    slot: int
    tokenizer: Any
    context: int | None
    marks: str

    @property
    def fingerprint(self) -> str:
        """Names the weights, as OpenAI's `system_fingerprint`."""
        return f"fp_{hashlib.sha256(self.marks.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read of an expert.

    Attributes:
        base: the model that it is, or is an adapter of.
        own: a model of its own, for an adapter that can only be merged; None for the others.
        pairs: what the adapter adds; None where there is none, or where it is merged.
        marks: what the fingerprint is made of.
    """

    base: Base
    own: Base | None
    pairs: Pairs | None
    tokenizer: Any
    marks: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """What host memory has of an expert.

    Attributes:
        model: that it is; None for an adapter, which is put on its base again.
        pairs: what the adapter adds.
        tokenizer, marks: as of `Found`.
    """

    model: Base | None
    pairs: Pairs
    tokenizer: Any
    marks: str

    @property
    def size(self) -> int:
        """Its bytes."""
        adapter = sum(half.nbytes for pair in self.pairs.values() for half in pair)
        return adapter + (self.model.size if self.model else 0)


@dataclass(slots=True, kw_only=True)
class Weights:
    """What is in memory, by expert.

    Attributes:
        failures: experts that could not be loaded, and why; others may read it.
        tell: called with the bytes that each expert takes, and those of each that is parked,
            whenever that has changed.
    """

    places: Mapping[str, Place]
    options: Options
    failures: dict[str, CoEError]
    tell: Callable[[Mapping[str, int], Mapping[str, int]], None]
    _bases: dict[str, Base] = field(default_factory=dict)
    _seats: dict[str, Seat] = field(default_factory=dict)
    _parked: dict[str, Parked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep the libraries' progress bars out of the server's log."""
        transformers.utils.logging.disable_progress_bar()

    def seat(self, expert: str) -> Seat | None:
        """Return the expert's seat; None where it has to be read first.

        Raises:
            ExpertLoadFailed: it could not be loaded when that was last tried.
        """
        if expert in self.failures:
            raise ExpertLoadFailed(self.failures[expert].message)
        return self._seats.get(expert)

    def read(self, expert: str) -> Found:
        """Read what an expert needs and is not in memory, from host memory where it is there.

        Changes nothing here. Another thread may call it, while nothing is unloaded and one at a
        time.

        Raises:
            ExpertLoadFailed: the message names the place.
        """
        place, parked = self.places[expert], self._parked.get(expert)
        pairs, own = None, None
        with _told(place, "model", place.model):
            base = self._bases.get(place.model) or self._woken(expert)
            if base is None:
                base = self._open(_read_model(place.model, self.options), place.model)
            if parked is not None:
                return _found(place, parked, base)
            marks = [self.options.dtype, fingerprint(place.model)]
            tokenizer = base.tokenizer
        if place.adapter is not None:
            with _told(place, "adapter", place.adapter):
                pairs = _read_pairs(place, place.adapter)
                own = None if pairs is not None else self._merged(place, place.adapter)
                marks.append(fingerprint(place.adapter))
                tokenizer = _own_tokenizer(place.adapter) or base.tokenizer
        return Found(base=base, own=own, pairs=pairs, tokenizer=tokenizer, marks="/".join(marks))

    def settle(self, expert: str, found: Found) -> Seat:
        """Give an expert its seat; return it.

        Raises:
            ExpertLoadFailed: its adapter does not fit the base.
        """
        place = self.places[expert]
        base, slot = found.own or found.base, 0
        if found.pairs is not None:
            try:
                with _told(place, "adapter", place.adapter or ""):
                    slot = base.bank.add(found.pairs)
            except ExpertLoadFailed:
                if any(one.model is base for one in self._parked.values()):
                    base.to_host()
                raise
        self._parked = {
            name: one
            for name, one in self._parked.items()
            if name != expert and one.model is not base
        }
        if found.own is None:
            self._bases[place.model] = base
        limits = [limit for limit in (base.context, place.context) if limit is not None]
        self._seats[expert] = Seat(
            base=base,
            slot=slot,
            tokenizer=found.tokenizer,
            context=min(limits) if limits else None,
            marks=found.marks,
        )
        self._tell()
        return self._seats[expert]

    def leavers(self, expert: str) -> frozenset[str]:
        """Return who leaves when an expert is unloaded: with a base, the adapters on it."""
        seat = self._seats.get(expert)
        if seat is None:
            return frozenset()
        there = {name for name, other in self._seats.items() if other.base is seat.base}
        bare = {name for name in there if self.places[name].adapter is None}
        return frozenset(there) if bare == {expert} else frozenset({expert})

    def unload(self, expert: str) -> None:
        """Let go of an expert, of who leaves with it, and of a base that nobody is left on.

        One that is parked is let go of there.
        """
        parked = self._parked.pop(expert, None)
        if parked is not None and parked.model is not None:
            parked.model.free()
        self._leave(self.leavers(expert))

    def park(self, expert: str) -> None:
        """Unload an expert, and keep its own weights in host memory; not those of who leaves too.

        Raises:
            BackendRejected: its model is needed by others.
        """
        seat, leavers = self._seats.get(expert), self.leavers(expert)
        if seat is None:
            return
        model, pairs = None, seat.base.bank.copied(seat.slot)
        if not seat.slot:
            others = [name for name, one in self._seats.items() if one.base is seat.base]
            if staying := sorted(set(others) - leavers):
                raise BackendRejected(
                    f"expert {expert!r} is not parked: {', '.join(staying)} uses the same model",
                    backend_status=409,
                )
            model = seat.base
            model.to_host()
        self._parked[expert] = Parked(
            model=model, pairs=pairs, tokenizer=seat.tokenizer, marks=seat.marks
        )
        self._leave(leavers)

    def _leave(self, leavers: frozenset[str]) -> None:
        kept = [one.model for one in self._parked.values()]
        for name in leavers:
            seat = self._seats.pop(name)
            if seat.slot:
                seat.base.bank.remove(seat.slot)
            if all(other.base is not seat.base for other in self._seats.values()):
                self._bases = {k: base for k, base in self._bases.items() if base is not seat.base}
                if all(model is not seat.base for model in kept):
                    seat.base.free()
        if leavers and torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._tell()

    def _woken(self, expert: str) -> Base | None:
        """Return the model that an expert needs where host memory has it, moved to its device."""
        place, parked = self.places[expert], self._parked.get(expert)
        found = parked.model if parked else None
        for name, one in self._parked.items():
            other = self.places[name]
            if found is None and other.model == place.model and other.adapter is None:
                found = one.model
        if found is not None:
            found.to_device()
        return found

    def _tell(self) -> None:
        self.tell(self._sizes(), {name: one.size for name, one in self._parked.items()})

    def _sizes(self) -> dict[str, int]:
        """Return the bytes that each expert takes; together they are all that is taken.

        Those of a base are the first expert's that is nothing but the base, where one is loaded,
        and else those of the first adapter on it.
        """
        sizes = {name: seat.base.bank.size(seat.slot) for name, seat in self._seats.items()}
        counted = set()
        for name in sorted(self._seats, key=lambda name: self.places[name].adapter is not None):
            base = self._seats[name].base
            if id(base) not in counted:
                counted.add(id(base))
                sizes[name] += base.size
        return sizes

    def _merged(self, place: Place, source: str) -> Base:
        """Return a copy of the base with the adapter merged in, for this adapter alone."""
        from peft import PeftModel

        model = PeftModel.from_pretrained(_read_model(place.model, self.options), source)
        return self._open(model.merge_and_unload(), place.model)

    def _open(self, model: Any, source: str) -> Base:
        device = _device(self.options.device)
        model = model.to(device).eval().requires_grad_(requires_grad=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        config = model.config.get_text_config()
        context = getattr(config, "max_position_embeddings", None)
        kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
        accepts = frozenset(inspect.signature(model.forward).parameters)
        if "past_key_values" not in accepts:
            raise ValueError(f"its type {config.model_type} has no key-value cache")
        return Base(
            model=model,
            tokenizer=tokenizer,
            bank=AdapterBank(model),
            device=device,
            context=context if isinstance(context, int) and context > 0 else None,
            defaults=_defaults(model.generation_config),
            max_new_tokens=(
                self.options.max_new_tokens
                or getattr(model.generation_config, "max_new_tokens", None)
                or _MAX_NEW_TOKENS
            ),
            ends=_ends(model.generation_config, tokenizer),
            mixable=kinds <= _ATTENTION,
            accepts=accepts,
        )


def _found(place: Place, parked: Parked, base: Base) -> Found:
    """Return what host memory had of an expert, as if it had been read."""
    return Found(
        base=base,
        own=base if place.adapter is not None and parked.model is not None else None,
        pairs=parked.pairs if parked.model is None else None,
        tokenizer=parked.tokenizer,
        marks=parked.marks,
    )


def _read_model(source: str, options: Options) -> Any:
    model, report = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=getattr(torch, options.dtype),
        output_loading_info=True,
        trust_remote_code=False,
    )
    lacking = [*report["missing_keys"], *report["mismatched_keys"]]
    if lacking:
        raise ValueError(f"its files lack {len(lacking)} tensors, first {lacking[0]}")
    return model


def _storages(tensors: Sequence[torch.Tensor]) -> dict[int, torch.UntypedStorage]:
    """Return the memory behind tensors, each piece once: embeddings may be tied to the output."""
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}


def _read_pairs(place: Place, source: str) -> Pairs | None:
    """Return an adapter's low-rank pairs; None where it holds more than that."""
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    config = PeftConfig.from_pretrained(source)
    named = config.base_model_name_or_path
    if other_base(place, named):
        raise ValueError(
            f"it was made for the base {named}, not for {place.hub_name or place.model}; if "
            "they are the same, correct base_model_name_or_path in its adapter_config.json"
        )
    return plain_pairs(config, load_peft_weights(source, device="cpu"))


def _own_tokenizer(adapter: str) -> Any:
    """Return the tokenizer that an adapter brings (a chat template of its own), if it does."""
    if not (Path(adapter) / "tokenizer_config.json").is_file():
        return None
    return AutoTokenizer.from_pretrained(adapter, trust_remote_code=False)


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _defaults(config: Any) -> Sampling:
    """Read the model's own defaults; where they do not ask for sampling, the engine is greedy."""
    if config is None or not config.do_sample:
        return Sampling()
    return Sampling(
        temperature=_given(config.temperature, 1.0),
        top_p=_given(config.top_p, 1.0),
        top_k=int(_given(config.top_k, 0)),
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _ends(config: Any, tokenizer: Any) -> frozenset[int]:
    known = getattr(config, "eos_token_id", None)
    listed: Sequence[int | None] = known if isinstance(known, list) else [known]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


@contextmanager
def _told(place: Place, kind: str, source: str) -> Iterator[None]:
    """Translate whatever the libraries raise, from OSError to KeyError, and say where it was."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ExpertLoadFailed(
            f"expert {place.expert!r}: cannot load the {kind} {source}: {reason}"
        ) from error
