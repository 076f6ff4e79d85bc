from diagnose.arrays import Floats, Ints
from diagnose.moves import Direction
from diagnose.search import Ways

class Searches:
    def __init__(self, direction: Direction, span: int, hops: int, most: int, width: int) -> None: ...
    def run(
        self, first: Ints, state: Ints, strength: Floats, steps: Ints, weakest: Floats, onward: Ints | None
    ) -> tuple[Ints, Ints, Floats, Ways, Ints]: ...
