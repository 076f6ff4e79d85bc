from diagnose.arrays import Floats, Ints, Words

def products(
    weights: Floats, rows: Ints, odds: Floats, units: Ints, sizes: Ints, blocks: Ints, count: int
) -> Floats: ...
def carry(
    weights: Floats, ends: Ints, onward: Ints, begins: Ints, earlier: Ints, share: Floats, explained: float,
    least: float,
) -> None: ...  # fmt: skip
def downstream(onward: Ints, begins: Ints, earlier: Ints, flags: Words) -> None: ...
def united(flags: Words, begins: Ints, rows: Ints, to: Words) -> None: ...
def steps_taken(
    weights: Floats, direct: Ints, begins: Ints, then: Ints, share: Floats, asked_row: Ints, asked: Ints,
    explained: float, to_step: Ints,
) -> None: ...  # fmt: skip
