# ruff: noqa: INP001, S311, T201 - a script that stands beside its page, and draws users
"""Simulated users of the embedded experts: they ask, read the answer, and say if it is right.

Each user asks a few of the held-out prompts of `experts/heldout`, whose right answers are known. So
their feedback is what a careful person's would be. `--lose EXPERIMENT:ARM:SHARE` plays a defect: so
many of an arm's users never get through, as behind a proxy that fails on what one arm sends.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from openai import AsyncOpenAI

from coe.composition import load
from coe.experiments.assign import arm_of, split
from coe.scoring.rows import Row, read_rows

AT_ONCE = 8


def prompts(folder: Path) -> list[Row]:
    """Return all held-out prompts, each with the check of its answer."""
    files = sorted(folder.glob("*.jsonl"))
    return [row for file in files for row in read_rows(file, categories=[file.stem], experts=[])]


def dealt(config: Path, experiment: str) -> Callable[[str], str | None]:
    """Return which arm of an experiment a user is in: the gateway computes the same."""
    one = load(config).experiments[experiment]
    shares = split(one.salt, {arm.name: arm.share for arm in one.arms})
    return lambda user: arm_of(shares, user)


async def ask(client: AsyncOpenAI, user: str, row: Row) -> tuple[str, float]:
    """Ask one prompt and say how good the answer was; return the arm, and that."""
    raw = await client.chat.completions.with_raw_response.create(
        model="coe/auto", messages=list(row.messages), user=user
    )
    answer = raw.parse()
    score = row.check.grade(answer.choices[0].message.content or "")
    said = {"response_id": answer.id, "value": score == 1.0}
    await client.post("/feedback", body=said, cast_to=object)
    return raw.headers.get("x-coe-experiment", "no experiment"), score


async def main(args: argparse.Namespace) -> None:
    """Let all users ask."""
    draw = random.Random(args.first)
    rows = prompts(Path("experts/heldout"))
    users = [f"user-{number}" for number in range(args.first, args.first + args.users)]
    if args.lose:
        name, arm, share = args.lose.split(":")
        arm_by = dealt(args.config, name)
        users = [user for user in users if arm_by(user) != arm or draw.random() >= float(share)]
    work = [(user, row) for user in users for row in draw.sample(rows, args.prompts)]
    free = asyncio.Semaphore(AT_ONCE)
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()

    async with AsyncOpenAI(base_url=f"{args.url}/v1", api_key="unused") as client:

        async def one(user: str, row: Row) -> None:
            async with free:
                arm, score = await ask(client, user, row)
            asked[arm] += 1
            right[arm] += score == 1.0

        began = time.perf_counter()
        await asyncio.gather(*(one(*each) for each in work))
    print(f"{len(users)} users, {len(work)} prompts, {time.perf_counter() - began:.0f} s")
    for arm in sorted(asked):
        print(f"  {arm}: {right[arm]} of {asked[arm]} answers right")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", default="http://127.0.0.1:8088")
    options.add_argument("--config", type=Path, default=Path("trial.yaml"))
    options.add_argument("--users", type=int, default=100, help="how many")
    options.add_argument("--first", type=int, default=0, help="number of the first one")
    options.add_argument("--prompts", type=int, default=2, help="of each user")
    options.add_argument("--lose", default="", help="EXPERIMENT:ARM:SHARE of users that are lost")
    asyncio.run(main(options.parse_args()))
