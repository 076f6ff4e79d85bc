# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The searches of `diagnose.search`, one after the other."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    STEPS_OF_STRENGTH = 256
    NOBODY = -1

cdef struct Move:
    double share
    int32_t state
    int32_t step
    # Its place among the moves of its state as they are declared, and how many steps it is.
    int32_t rank
    int32_t steps

cdef struct Waiting:
    double strength
    int64_t offered
    int32_t state
    int32_t steps
    int32_t parent
    int32_t step

cdef struct State:
    # Twice the number of the search that offered it last, and one more when it was settled, too.
    int32_t met
    # Where its moves begin, 0 while nobody asked for them, and how many there are.
    int32_t begins
    int32_t count


cdef int _surest_first(const void *one, const void *other) noexcept nogil:
    cdef const Move *a = <const Move *> one
    cdef const Move *b = <const Move *> other
    if a.share != b.share:
        return -1 if a.share > b.share else 1
    return -1 if a.rank < b.rank else 1


cdef inline bint _before(const Waiting *a, const Waiting *b) noexcept nogil:
    """The declared order: strength, fewer steps, smaller state, then what was offered first."""
    if a.strength != b.strength:
        return a.strength > b.strength
    if a.steps != b.steps:
        return a.steps < b.steps
    if a.state != b.state:
        return a.state < b.state
    return a.offered < b.offered


cdef inline bint _taken(const int32_t *way, int64_t width, int64_t entity) noexcept nogil:
    """Whether a way passes this entity."""
    cdef int64_t at
    for at in range(width):
        if way[at] == entity:
            return True
        if way[at] == NOBODY:
            break
    return False


cdef class Searches:
    """Dijkstra's algorithm along the moves of one direction, with what was looked up of them kept between searches."""

    cdef const int64_t[::1] begins, count, other, rule, lies, steps, row_begins, row_count, turn, power
    cdef const double[::1] crowd, share, most_passed
    cdef const double[:, ::1] partly
    cdef const int64_t[:, ::1] between
    cdef int64_t span, hops, most, width, states
    cdef int32_t searched
    cdef State *known
    cdef Move *moves
    cdef int64_t used, room
    cdef Waiting *heap
    cdef int64_t waiting, heap_room
    cdef int32_t *places

    def __cinit__(self, direction, int64_t span, int64_t hops, int64_t most, int64_t width):
        table = direction.table
        self.begins, self.count, self.other = direction.begins, direction.count, direction.other
        self.rule, self.lies, self.steps = direction.rule, direction.lies, direction.steps
        self.crowd, self.partly = direction.crowd, direction.partly
        self.between, self.most_passed = direction.between, direction.most
        self.row_begins, self.row_count = table.begins, table.count
        self.turn, self.share, self.power = table.turn, table.share, table.power
        self.span, self.hops, self.most, self.width = span, hops, most, width
        self.states = span * self.begins.shape[0]
        self.used, self.room, self.heap_room = 1, 4096, 1024
        self.known = <State *> calloc(self.states + 1, sizeof(State))
        # By entity and mode the number of the search that settled one of its two states last.
        self.places = <int32_t *> calloc(self.states // 2 + 1, sizeof(int32_t))
        self.moves = <Move *> malloc(self.room * sizeof(Move))
        self.heap = <Waiting *> malloc(self.heap_room * sizeof(Waiting))
        if self.known == NULL or self.places == NULL or self.moves == NULL or self.heap == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.known)
        free(self.places)
        free(self.moves)
        free(self.heap)

    def run(
        self, const int64_t[::1] first, const int64_t[::1] state, const double[::1] strength,
        const int64_t[::1] steps, const double[::1] weakest, onward,
    ):
        """(search, state, strength, ways, rows in which an entity and mode is met first), search by search.

        The starts of search n are those from `first[n]` to `first[n + 1]`; `onward` as in `Search.run`.
        """
        cdef int64_t many = weakest.shape[0], size = many * self.most, found = 0, fresh = 0, number, place, error = 0
        cdef bint keep = onward is not None
        numbers, states, strengths, once = (np.empty(size, kind) for kind in (np.int64, np.int64, float, np.int64))
        ways = np.empty((size if keep else 1, self.width), np.int32)
        cdef int64_t[::1] to_number = numbers, to_state = states, to_once = once
        cdef double[::1] to_strength = strengths
        cdef int32_t[:, ::1] to_ways = ways
        cdef const int64_t[::1] goes_on = onward if keep else state
        with nogil:
            for number in range(many):
                place = self._search(
                    first[number], first[number + 1], state, strength, steps, weakest[number], keep, goes_on, found,
                    to_state, to_strength, to_ways,
                )
                if place < 0:
                    error = 1
                    break
                for found in range(found, place):
                    to_number[found] = number
                    if self.places[to_state[found] // 2] != self.searched:
                        self.places[to_state[found] // 2] = self.searched
                        to_once[fresh] = found
                        fresh += 1
                found = place
        if error:
            raise MemoryError
        return numbers[:found], states[:found], strengths[:found], ways[: found if keep else 0], once[:fresh]

    cdef int64_t _search(
        self, int64_t begin, int64_t end, const int64_t[::1] starts, const double[::1] strengths,
        const int64_t[::1] steps, double weakest, bint keep, const int64_t[::1] onward, int64_t found,
        int64_t[::1] to_state, double[::1] to_strength, int32_t[:, ::1] to_ways,
    ) noexcept nogil:
        """One search; gives the row after its last one, or -1 without memory."""
        cdef Waiting now, new
        cdef Move *move
        cdef State *here
        cdef int64_t last = found + self.most, offered = 0, place, entity, between, at
        # How many states were offered first with about this strength. Once as many as the search may settle were
        # offered with no less than that, what is weaker is not waited for: those come before it.
        cdef int64_t[STEPS_OF_STRENGTH] count
        cdef int64_t floor = 0, above = 0
        cdef double least = weakest
        cdef int32_t stamp
        memset(count, 0, sizeof(count))
        self.searched += 1
        stamp = 2 * self.searched
        self.waiting = 0
        for place in range(begin, end):
            new.strength, new.offered, new.state = strengths[place], offered, <int32_t> starts[place]
            new.steps, new.parent, new.step = <int32_t> steps[place], <int32_t> place, NOBODY
            offered += 1
            if not self._push(&new):
                return -1
        while self.waiting and found < last:
            self._pop(&now)
            here = &self.known[now.state]
            if here.met == stamp + 1:
                continue
            here.met = stamp + 1
            entity = now.state // self.span
            to_state[found], to_strength[found] = now.state, now.strength
            if keep:
                to_ways[found, 0] = <int32_t> entity
                at = 1
                if now.step == NOBODY:
                    to_ways[found, at] = <int32_t> onward[now.parent]
                    for at in range(2, self.width):
                        to_ways[found, at] = NOBODY
                else:
                    for between in range(self.steps[now.step] - 1):
                        to_ways[found, at] = <int32_t> self.between[self.lies[now.step], between]
                        at += 1
                    memcpy(&to_ways[found, at], &to_ways[now.parent, 0], (self.width - at) * sizeof(int32_t))
            found += 1
            if now.steps >= self.hops or found == last:
                continue
            if not now.strength * self.most_passed[now.state % self.span // 2] >= weakest:
                continue
            if here.begins == 0 and not self._look_up(now.state):
                return -1
            for place in range(here.begins, here.begins + here.count):
                move = &self.moves[place]
                new.strength = move.share * now.strength
                if not new.strength >= least:
                    break
                if self.known[move.state].met == stamp + 1:
                    continue
                if keep and _taken(&to_ways[found - 1, 0], self.width, move.state // self.span):
                    continue
                if self.known[move.state].met != stamp:
                    self.known[move.state].met = stamp
                    at = <int64_t> (new.strength * STEPS_OF_STRENGTH)
                    count[at if at < STEPS_OF_STRENGTH else STEPS_OF_STRENGTH - 1] += 1
                    above += 1
                    while above - count[floor] >= self.most:
                        above -= count[floor]
                        floor += 1
                        if floor > least * STEPS_OF_STRENGTH:
                            least = (<double> floor) / STEPS_OF_STRENGTH
                new.offered, new.state, new.step = offered + move.rank, move.state, move.step
                new.steps, new.parent = now.steps + move.steps, <int32_t> (found - 1)
                if not self._push(&new):
                    return -1
            offered += here.count
        return found

    cdef bint _look_up(self, int64_t state) noexcept nogil:
        """Note the moves from a state, the surest first; False without memory."""
        cdef int64_t entity = state // self.span, turn = state % self.span, step, place, row, size, begun = self.used
        cdef Move *move
        cdef Move *more
        for step in range(self.begins[entity], self.begins[entity] + self.count[entity]):
            place = self.rule[step] * self.span + turn
            for row in range(self.row_begins[place], self.row_begins[place] + self.row_count[place]):
                if self.used == self.room:
                    size = 2 * self.room
                    more = <Move *> realloc(self.moves, size * sizeof(Move))
                    if more == NULL:
                        return False
                    self.moves, self.room = more, size
                move = &self.moves[self.used]
                move.share = self.share[row] * self.crowd[step]
                if self.power[row]:
                    move.share *= self.partly[self.power[row], step]
                move.state = <int32_t> (self.other[step] * self.span + self.turn[row])
                move.step, move.steps = <int32_t> step, <int32_t> self.steps[step]
                move.rank = <int32_t> (self.used - begun)
                self.used += 1
        self.known[state].begins, self.known[state].count = <int32_t> begun, <int32_t> (self.used - begun)
        qsort(&self.moves[begun], self.used - begun, sizeof(Move), _surest_first)
        return True

    cdef bint _push(self, const Waiting *new) noexcept nogil:
        cdef int64_t place = self.waiting, above, size
        cdef Waiting *more
        if self.waiting == self.heap_room:
            size = 2 * self.heap_room
            more = <Waiting *> realloc(self.heap, size * sizeof(Waiting))
            if more == NULL:
                return False
            self.heap, self.heap_room = more, size
        self.waiting += 1
        while place:
            above = (place - 1) // 2
            if not _before(new, &self.heap[above]):
                break
            self.heap[place] = self.heap[above]
            place = above
        self.heap[place] = new[0]
        return True

    cdef void _pop(self, Waiting *best) noexcept nogil:
        cdef int64_t place = 0, below
        cdef Waiting *last
        best[0] = self.heap[0]
        self.waiting -= 1
        last = &self.heap[self.waiting]
        while True:
            below = 2 * place + 1
            if below >= self.waiting:
                break
            if below + 1 < self.waiting and _before(&self.heap[below + 1], &self.heap[below]):
                below += 1
            if not _before(&self.heap[below], last):
                break
            self.heap[place] = self.heap[below]
            place = below
        self.heap[place] = last[0]
