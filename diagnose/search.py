"""Dijkstra's algorithm from many places at once: by compiled loops one search after the other (`diagnose.compiled`), or
with numpy in rounds: in each one every search settles all that nothing can better.

What waits in a search with strength s can later be bettered only by what comes from something that waits there now,
and so by no more than the strength of that times the surest move from its mode. Everything above the largest of these
is settled in one go, in the order in which one search by itself would: by strength, fewer steps, smaller state, and
then by what was offered first. Answers are those of searches one after the other; the rounds are few, since a search
ends after some hundred states.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from diagnose.arrays import NOBODY, Floats, Ints, firsts, spread
from diagnose.compiled import BUILT
from diagnose.moves import MOST_BETWEEN, Direction

Ways = NDArray[np.int32]
"""A row for each way: the entities that it takes, the cause first, then `NOBODY`."""
MOST_FLAGS = 128_000_000
"""States of all searches that are done at once in rounds, a flag for each,"""
MOST_SETTLED = 4_000_000
"""and the states that are settled at once by one search after the other."""
MOST_SHORT = 65_536
"""So many numbers fit into two bytes."""


class Offers(msgspec.Struct, frozen=True):
    """States that were offered to searches, in the order in which they were."""

    search: Ints
    state: Ints
    strength: Floats
    steps: Ints
    parent: Ints
    """The row of the rest of the way,"""
    step: Ints
    """and the number of the step that leads there; `NOBODY` at a start."""

    def taken(self, which: Ints | NDArray[np.bool_]) -> Offers:
        return Offers(*[getattr(self, name)[which] for name in self.__struct_fields__])


def joined(parts: list[Offers]) -> Offers:
    """Several offers as one, in this order."""
    return Offers(*[np.concatenate([getattr(each, name) for each in parts]) for name in Offers.__struct_fields__])


class Settled(msgspec.Struct, frozen=True):
    """What searches settled, search by search, the strongest first."""

    search: Ints
    state: Ints
    strength: Floats
    ways: Ways
    once: Ints
    """The rows in which a search meets an (entity, mode) first, turned or not."""


class Search:
    """Searches along moves in one direction, with at most this many steps, that end after so many states."""

    def __init__(self, moves: Direction, span: int, hops: int, most: int, compiled: bool = BUILT) -> None:
        self._moves, self._span, self._hops, self._most = moves, span, hops, most
        self._states = span * len(moves.begins)
        self._width = hops + MOST_BETWEEN + 2
        self._loops = None
        if compiled:
            from diagnose.loops.search import Searches

            self._loops = Searches(moves, span, hops, most, self._width)

    @property
    def compiled(self) -> bool:
        return self._loops is not None

    @property
    def at_once(self) -> int:
        """How many searches fit into memory side by side."""
        return max(1, MOST_SETTLED // self._most if self.compiled else MOST_FLAGS // max(1, self._states))

    def run(self, starts: Offers, many: int, weakest: Floats, onward: Ints | None) -> Settled:
        """`many` searches, the numbers of which the starts have; each leaves out what is weaker than its `weakest`.

        The starts of each search lie side by side, in the order of the searches. `onward`: for each start what its way
        goes on to, or `NOBODY`: no way passes one entity twice then. None: ways are neither kept nor looked at.
        """
        if self._loops is not None:
            first = np.searchsorted(starts.search, np.arange(many + 1))
            return Settled(*self._loops.run(first, starts.state, starts.strength, starts.steps, weakest, onward))
        return self._in_rounds(starts, many, weakest, onward)

    def _in_rounds(self, starts: Offers, many: int, weakest: Floats, onward: Ints | None) -> Settled:
        # Side by side lie all searches' flags of one state: searches of one incident meet the same states, and what
        # none of them comes to is never touched, so never given by the system.
        done = np.zeros(self._states * many, bool)
        left = np.full(many, self._most)
        ways = np.full((0 if onward is None else len(onward) + many * self._most, self._width), NOBODY, np.int32)
        used = 0
        if onward is not None:
            used = len(onward)
            ways[:used, 0] = onward
        waiting, blocks, rows = starts, [], []
        while len(waiting.state):
            now = self._final(waiting, many)
            chosen = self._in_order(waiting.taken(now), done, left)
            waiting = waiting.taken(~now & (left > 0)[waiting.search])
            blocks.append(chosen)
            done[chosen.state * many + chosen.search] = True
            if onward is not None:
                ways[used : used + len(chosen.state)] = self._ways(chosen, ways)
                rows.append(np.arange(used, used + len(chosen.state)))
            offered = self._offered(chosen, used, left, weakest, done, ways if onward is not None else None)
            used += len(chosen.state)
            waiting = joined([waiting, offered])
        every = joined(blocks)
        order = np.argsort(every.search, kind="stable")
        found = ways[np.concatenate(rows)[order]] if onward is not None else ways
        number, state = every.search[order], every.state[order]
        return Settled(number, state, every.strength[order], found, firsts(number * self._states + (state >> 1)))

    def _final(self, waiting: Offers, many: int) -> NDArray[np.bool_]:
        """Which of them nothing can better that comes later."""
        bound, top = np.zeros(many), np.zeros(many)
        np.maximum.at(bound, waiting.search, waiting.strength * self._moves.most[waiting.state % self._span // 2])
        np.maximum.at(top, waiting.search, waiting.strength)
        strength, search = waiting.strength, waiting.search
        final: NDArray[np.bool_] = (strength > bound[search]) | (strength == top[search])
        return final

    def _in_order(self, taken: Offers, done: NDArray[np.bool_], left: Ints) -> Offers:
        """The best offer of each state, search by search, as many as are left to each; `left` is counted down."""
        many = len(left)
        new = np.flatnonzero(~done[taken.state * many + taken.search])
        strength, search, state = taken.strength[new], taken.search[new], taken.state[new]
        # Short numbers are sorted by their digits, which takes a fraction of the time.
        steps = taken.steps[new].astype(np.uint8)
        order = np.lexsort((state, steps, -strength, search.astype(np.uint16) if many <= MOST_SHORT else search))
        search = search[order]
        first = firsts(state[order] * many + search)
        search = search[first]
        count = np.bincount(search, minlength=many)
        few = np.arange(len(first)) - (np.cumsum(count) - count)[search] < left[search]
        left -= np.minimum(count, left)
        return taken.taken(new[order[first[few]]])

    def _ways(self, chosen: Offers, ways: Ways) -> Ways:
        """The ways of what was settled: itself, what lies between, and the way of what it came from."""
        found = np.full((len(chosen.state), self._width), NOBODY, np.int32)
        found[:, 0] = chosen.state // self._span
        lying = np.zeros(len(chosen.state), int)
        led = np.flatnonzero(chosen.step != NOBODY)
        lying[led] = self._moves.steps[chosen.step[led]] - 1
        for size in range(MOST_BETWEEN + 1):
            these = np.flatnonzero(lying == size)
            found[these, 1 + size :] = ways[chosen.parent[these], : self._width - 1 - size]
            if size and len(these):
                found[these, 1 : 1 + size] = self._moves.between[self._moves.lies[chosen.step[these]], :size]
        return found

    def _offered(
        self, chosen: Offers, first: int, left: Ints, weakest: Floats, done: NDArray[np.bool_], ways: Ways | None
    ) -> Offers:
        """What can be reached from what was settled; `first`: the row of the first way of these."""
        moves, table, span = self._moves, self._moves.table, self._span
        turn = chosen.state % span
        enough = chosen.strength * moves.most[turn // 2] >= weakest[chosen.search]
        rows = np.flatnonzero(enough & (chosen.steps < self._hops) & (left[chosen.search] > 0))
        entity = chosen.state[rows] // span
        which, step = spread(moves.begins[entity], moves.count[entity])
        which = rows[which]
        place = moves.rule[step] * span + turn[which]
        again, row = spread(table.begins[place], table.count[place])
        which, step = which[again], step[again]
        arrived = table.share[row]
        arrived *= moves.crowd[step]
        partly = np.flatnonzero(table.power[row])
        arrived[partly] *= moves.partly[table.power[row[partly]], step[partly]]
        arrived *= chosen.strength[which]
        search = chosen.search[which]
        kept = np.flatnonzero(arrived >= weakest[search])
        which, step, search = which[kept], step[kept], search[kept]
        other = moves.other[step]
        state = other * span + table.turn[row[kept]]
        new = ~done[state * len(left) + search]
        if ways is not None:
            new &= ~(ways[first + which] == other[:, None]).any(axis=1)
        new = np.flatnonzero(new)
        which, step = which[new], step[new]
        return Offers(
            search[new], state[new], arrived[kept[new]], chosen.steps[which] + moves.steps[step], first + which, step
        )
