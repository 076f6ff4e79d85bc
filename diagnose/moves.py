"""The wiring as moves between numbered states, for searches that take millions of steps.

A state is (entity, mode, turned) as one integer, in the order of the entities' identifiers and the modes' names.
`turned` says that the way has just gone over from a part to its whole, or the reverse, and may not turn back there.
Moves that pass the same share are kept together: a search that one of them is too weak for leaves all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from diagnose.rules import BESIDE, SELF, Rule, most_passed
from diagnose.wiring import Steps, Wiring
from graph_schema.model import Subgraph
from graph_schema.ontology import Ontology

Move = tuple[float, int, int, int]
"""(share that passes, which of the targets, mode and turn to add to the base of each, number of steps)."""
Pattern = list[Move]
"""The moves from a state, the surest first. Things that are wired alike have the same ones."""
NOTHING: Pattern = [(0.0, 0, 0, 1)]
"""The pattern where nothing passes: a move that is too weak for every search."""
Targets = tuple[list[Sequence[int]], list[tuple[int, ...]], list[Pattern | None]]
"""(bases of others that are reached alike, what lies before each of these, mode and turn → pattern)."""
Shape = tuple[int, int, tuple[tuple[float, int], ...]]
"""(the rule's identity, how many others there are, (share of what is behind the effect, number of steps) of each)."""


class Moves:
    """States of one piece of the graph, and the moves from each of them, the surest first."""

    def __init__(self, piece: Subgraph, ontology: Ontology, wiring: Wiring) -> None:
        self._wiring = wiring
        self.modes = sorted({*ontology.modes, SELF, BESIDE})
        self.mode = {name: number for number, name in enumerate(self.modes)}
        self.span = 2 * len(self.modes)
        """States of one entity; those of the entity of number n have n * span as their base."""
        self.entities = sorted(wiring.joined.union(piece.entities))
        self.base = {name: number * self.span for number, name in enumerate(self.entities)}
        self.most_back, self.most_forth = most_passed(ontology, self.modes)
        """Mode → no less than the share of the surest move that may have brought it about, or that it may make."""
        self._rules: dict[int, Rule] = {}
        self._patterns: dict[tuple[bool, tuple[Shape, ...]], list[Pattern | None]] = {}
        self._shapes: dict[int, tuple[bool, tuple[Shape, ...]]] = {}
        self.causes: dict[int, Targets] = {}
        self.effects: dict[int, Targets] = {}
        """What `back` and `forth` have found already."""

    def name(self, base: int) -> str:
        """The entity of this base."""
        return self.entities[base // self.span]

    def names(self, bases: Iterable[int]) -> tuple[str, ...]:
        """The entities of these bases."""
        entities, span = self.entities, self.span
        return tuple([entities[base // span] for base in bases])

    def mode_at(self, place: int) -> int:
        """The mode of a place, which is half of a state."""
        return place % len(self.modes)

    def back(self, number: int) -> Targets:
        """Everything that may have brought an entity into its states; turned: a part's whole is left out."""
        found = self.causes.get(number)
        if found is None:
            found = self.causes[number] = self._targets(self._wiring.causes(self.entities[number]), back=True)
        return found

    def forth(self, number: int) -> Targets:
        """Everything that an entity may bring about; turned: a whole's parts are left out."""
        found = self.effects.get(number)
        if found is None:
            found = self.effects[number] = self._targets(self._wiring.effects(self.entities[number]), back=False)
        return found

    def _targets(self, steps: Iterable[Steps], *, back: bool) -> Targets:
        targets: list[Sequence[int]] = []
        between: list[tuple[int, ...]] = []
        shapes: list[Shape] = []
        for each in steps:
            self._rules[id(each.rule)] = each.rule
            bases = [self.base[other] for other in each.others]
            if not each.shares:
                targets.append(bases)
                between.append(())
                shapes.append((id(each.rule), each.count, ()))
                continue
            vias = [tuple([self.base[name] for name in each.via.get(other, ())]) for other in each.others]
            targets += [(base,) for base in bases]
            between += vias
            parts = tuple([(each.shares[other], 1 + len(via)) for other, via in zip(each.others, vias, strict=True)])
            shapes.append((id(each.rule), each.count, parts))
        key = back, tuple(shapes)
        patterns = self._patterns.get(key)
        if patterns is None:
            patterns = self._patterns[key] = [None] * self.span
            self._shapes[id(patterns)] = key
        return targets, between, patterns

    def pattern(self, patterns: list[Pattern | None], turn: int) -> Pattern:
        """The moves for a mode and turn, which are kept."""
        back, shapes = self._shapes[id(patterns)]
        mode, turned = self.modes[turn // 2], turn % 2 == 1
        found: Pattern = []
        first = 0
        for name, count, parts in shapes:
            rule = self._rules[name]
            rows = rule.backward.get(mode, ()) if back else rule.forward.get(mode, ())
            for other, share in () if turned and (rule.up if back else rule.down) else rows:
                offset = 2 * self.mode[other] + (rule.down if back else rule.up)
                power = rule.share.get(mode if back else other, 0.0)
                passing = share * count**-rule.crowd if back else share
                if not parts:
                    found.append((passing * (1 / count) ** power if back else passing, first, offset, 1))
                for place, (part, steps) in enumerate(parts):
                    found.append((passing * part**power, first + place, offset, steps))
            first += len(parts) or 1
        found.sort(key=itemgetter(0), reverse=True)
        found = found or NOTHING
        patterns[turn] = found
        return found
