"""The adapters: one LoRA for each skill, and one trained on all of them for comparison."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from experts.recipe.base import load_base
from experts.recipe.batches import batches
from experts.recipe.example import Example
from experts.recipe.plan import Plan
from experts.recipe.skills import SKILLS
from experts.recipe.training import Training, fit
from peft import LoraConfig, PeftModel, get_peft_model

MONOLITH = "monolith"
ATTENTION_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj")
INNER_LAYERS = ("gate_proj", "up_proj", "down_proj")
NAMES = (*(skill.name for skill in SKILLS), MONOLITH)


def examples_for(name: str) -> Callable[[Random], Example]:
    """Give the source of training examples for an adapter."""
    skills = [skill for skill in SKILLS if name in {skill.name, MONOLITH}]
    return lambda rng: rng.choice(skills).draw(rng, "train")


def train_adapter(plan: Plan, name: str, base: Path, folder: Path) -> Training:
    """Train one adapter on the frozen base model and save it, in half precision."""
    causal, tokenizer = load_base(base)
    torch.manual_seed(plan.seed)
    model = get_peft_model(
        causal,
        LoraConfig(
            r=plan.rank,
            lora_alpha=2 * plan.rank,
            target_modules=[*ATTENTION_LAYERS, *INNER_LAYERS],
            task_type="CAUSAL_LM",
        ),
    )
    course = plan.course(name)
    source = batches(
        examples_for(name),
        tokenizer,
        Random(f"{name} {plan.seed}"),
        tokens=course.tokens,
        context=plan.context,
        prompt_weight=0.0,
    )
    learnt = [p for p in model.parameters() if p.requires_grad]
    training = fit(name, causal, learnt, source, course)
    save_adapter(model, folder)
    return training


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Save an adapter in half precision, naming its base by a relative path."""
    model.peft_config["default"].base_model_name_or_path = "../../base"
    model.to("cpu", torch.float16)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])  # a set, saved in any order
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
