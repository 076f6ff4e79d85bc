"""How often a verdict is wrong, and how soon it comes: series of a mechanism whose truth is known.

Three services answer the same customers. Requests arrive by a Poisson process whose rate swings with the hour and with
slow random waves; waiting grows with load as in a queue (rho / (1 - rho)), failures are binomial. One of them was
broken and repaired; truth is whether the fault comes back, at once or later. In the harder half load rises by up to a
half while the verdict is sought, single samples are spoiled, and a replica is slow to come back. `--twin N` takes N
more series from the simulated cluster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.sequential import Kind, Sequential, against_peers, baseline, smallest_relapse

Series = NDArray[np.float64]
BEFORE, LEAST, MOST = 120, 10, 300
WORSE_BY: dict[Kind, float] = {"ratio": 0.05, "seconds": 0.5, "plain": 1.0}


class World:
    """One afternoon: `value` and `peers` before and after the repair, one sample a second."""

    def __init__(self, rng: np.random.Generator, kind: Kind, *, relapse: bool) -> None:
        self.kind, self.relapse = kind, relapse
        hard = rng.random() < 0.5
        length = BEFORE + MOST
        load = self._load(rng, length, hard)
        ours, theirs = rng.uniform(0.25, 0.55), [rng.uniform(0.2, 0.6) for _ in range(2)]
        worse = np.zeros(length)
        if relapse:
            begins = BEFORE + (0 if rng.random() < 0.7 else int(rng.integers(1, LEAST - 4)))
            worse[begins:] = rng.uniform(1.0, 4.0)
        self.value = self._measured(rng, kind, load, ours, worse, hard)
        self.peers = [self._measured(rng, kind, load, each, np.zeros(length), hard) for each in theirs]

    @staticmethod
    def _load(rng: np.random.Generator, length: int, hard: bool) -> Series:
        wave = np.zeros(length)
        for at in range(1, length):
            wave[at] = 0.95 * wave[at - 1] + rng.normal(0, 0.02)
        rise = np.concatenate([np.zeros(BEFORE), np.linspace(0, rng.uniform(0, 0.5) if hard else 0, length - BEFORE)])
        day = 0.1 * np.sin(np.linspace(0, rng.uniform(0.2, 2), length) + rng.uniform(0, 6))
        found: Series = np.clip(1 + wave + rise + day, 0.3, 2.2)
        return found

    @staticmethod
    def _measured(
        rng: np.random.Generator, kind: Kind, load: Series, share: float, worse: Series, hard: bool
    ) -> Series:
        requests = np.maximum(1, rng.poisson(rng.uniform(10, 60) * load))
        if kind == "ratio":
            usual = rng.uniform(0.001, 0.01)
            failing = np.clip(usual * load + worse * WORSE_BY[kind], 0, 1)
            found: Series = rng.binomial(requests, failing) / requests
        else:
            rho = np.clip(share * load, 0.05, 0.93)
            seconds = 0.05 * (1 + rho / (1 - rho)) * (1 + worse * WORSE_BY[kind])
            found = seconds * np.exp(rng.normal(0, rng.uniform(0.05, 0.3), len(load)))
        if hard:
            # Scrapes that were late or lost, and a replica that was slow to come back right after the attack.
            spoiled = [*rng.integers(0, len(load), size=4), *range(BEFORE, BEFORE + int(rng.integers(0, 4)))]
            for at in spoiled:
                found[at] = min(1.0, found[at] + 0.3) if kind == "ratio" else found[at] * rng.uniform(2, 5)
        return found


def decided(world: World) -> tuple[str, int]:
    """The answer of the test on one world, and after how many samples."""
    kind = world.kind
    both = [
        against_peers(kind, float(value), [float(peer[at]) for peer in world.peers])
        for at, value in enumerate(world.value)
    ]
    level = float(np.mean(world.value[:BEFORE]))
    test = Sequential(
        baseline(kind, both[:BEFORE]), smallest_relapse(kind, level, WORSE_BY[kind]), least=LEAST, most=MOST
    )
    for value in both[BEFORE:]:
        answer = test.take(value)
        if answer:
            return answer, test.samples
    return "undecided", test.samples


def by_threshold(world: World) -> tuple[str, int]:
    """What an alert rule would say: worse as soon as three samples in a row are beyond the limit, without peers."""
    level = float(np.mean(world.value[:BEFORE]))
    limit = level + WORSE_BY["ratio"] if world.kind == "ratio" else level * (1 + WORSE_BY["seconds"])
    row = 0
    for taken, value in enumerate(world.value[BEFORE : BEFORE + LEAST], 1):
        row = row + 1 if value > limit else 0
        if row == 3:
            return "worse", taken
    return "as before", LEAST


def of_the_twin(seed: int, *, relapse: bool) -> tuple[str, int]:
    """The same on the simulated cluster's cart: a bad image is repaired, and in a relapse rolled out again."""
    from datetime import UTC, datetime

    from twin import shop
    from twin.cluster import Cluster

    cluster = Cluster(seed=seed, start=datetime(2026, 3, 1, 12, tzinfo=UTC), token="", speed=1.0)
    rng = np.random.default_rng(seed)
    cluster.settle(60)

    def second() -> float:
        cluster.traffic.per_second = max(5.0, shop.RATE * (1 + 0.2 * rng.normal()))
        cluster.step()
        cluster.step()
        (row,) = [each for each in cluster.metrics.series["kt:error_ratio"] if each[0]["service"] == "cart"]
        failed = rng.binomial(30, min(1.0, row[1] + 0.003))
        return float(failed) / 30

    before = [against_peers("ratio", second(), []) for _ in range(BEFORE)]
    if relapse:
        cluster.inject("bad-rollout")
        for _ in range(int(rng.integers(15, 40))):
            second()
    test = Sequential(baseline("ratio", before), smallest_relapse("ratio", 0.003, 0.05), least=LEAST, most=MOST)
    while True:
        answer = test.take(against_peers("ratio", second(), []))
        if answer:
            return answer, test.samples


def summary(answers: list[tuple[bool, str, int]]) -> dict[str, Any]:
    """Rates over the truth: a pass of what came back, a fail of what did not; the rest is undecided, never held."""
    back = [answer for relapse, answer, _ in answers if relapse]
    fine = [answer for relapse, answer, _ in answers if not relapse]
    took = sorted(samples for _, answer, samples in answers if answer != "undecided")
    return {
        "false_pass": back.count("as before") / len(back),
        "false_fail": fine.count("worse") / len(fine),
        "undecided": sum(answer == "undecided" for _, answer, _ in answers) / len(answers),
        "median_s": statistics.median(took) if took else None,
        "p95_s": took[int(0.95 * len(took))] if took else None,
        "worlds": len(answers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--worlds", type=int, default=4000, help="series of the mechanism, half of them a relapse")
    parser.add_argument("--twin", type=int, default=20, help="series of the simulated cluster")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    begun = time.monotonic()
    rng = np.random.default_rng(options.seed)
    kinds: tuple[Kind, Kind] = ("ratio", "seconds")
    answers: dict[str, list[tuple[bool, str, int]]] = {}
    others: list[tuple[bool, str, int]] = []
    for number in range(options.worlds):
        kind, relapse = kinds[number % 2], number % 4 < 2
        world = World(rng, kind, relapse=relapse)
        answers.setdefault(kind, []).append((relapse, *decided(world)))
        others.append((relapse, *by_threshold(world)))
    if options.twin:
        answers["twin"] = [(bool(seed % 2), *of_the_twin(seed, relapse=bool(seed % 2))) for seed in range(options.twin)]
    every = [each for part in answers.values() for each in part]
    parts = {name: summary(part) for name, part in answers.items()}
    whole = {**summary(every), "goal": 0.01, "took_s": round(time.monotonic() - begun, 1)}
    print(json.dumps({**whole, "by": parts, "three_in_a_row": summary(others)}))


if __name__ == "__main__":
    main()
