import numpy as np
from numpy.typing import NDArray

from diagnose.arrays import Floats, Ints
from diagnose.moves import Direction
from diagnose.search import Ways

class Searches:
    def __init__(self, direction: Direction, span: int, hops: int, most: int, width: int) -> None: ...
    def run(
        self, first: Ints, state: Ints, strength: Floats, steps: Ints, weakest: Floats, onward: Ints | None
    ) -> tuple[Ints, Ints, Floats, Ways, Ints]: ...

def products(
    weights: Floats, rows: Ints, odds: Floats, units: Ints, sizes: Ints, blocks: Ints, count: int
) -> Floats: ...
def carry(
    weights: Floats, ends: Ints, onward: Ints, begins: Ints, earlier: Ints, share: Floats, explained: float,
    least: float,
) -> None: ...  # fmt: skip
def downstream(onward: Ints, begins: Ints, earlier: Ints, flags: NDArray[np.uint64]) -> None: ...
def united(flags: NDArray[np.uint64], begins: Ints, rows: Ints, to: NDArray[np.uint64]) -> None: ...
def steps_taken(
    weights: Floats, direct: Ints, begins: Ints, then: Ints, share: Floats, asked_row: Ints, asked: Ints,
    explained: float, to_step: Ints,
) -> None: ...  # fmt: skip
