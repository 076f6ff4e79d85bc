# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops that a diagnosis spends its time in, compiled. What they answer is what the numpy code beside them answers,
bit by bit: the same operations in the same order, without arrays in between.

Built where there is a C compiler (`diagnose.compiled` tells); not needed otherwise.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    STEPS_OF_STRENGTH = 256
    NOBODY = -1
    LANES = 16
    TOGETHER = 8

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


def products(
    const double[:, ::1] weights, const int64_t[::1] rows, const double[::1] odds, const int64_t[::1] units,
    const int64_t[::1] sizes, const int64_t[::1] blocks, int64_t count,
):
    """As `diagnose.reached.Sets.products`, of these rows of weights; `odds` are in the order of `units`."""
    cdef int64_t number, row, group, block, size, place, top, most = 1, at, lane, out
    cdef double one, other
    cdef double *times
    found = np.empty((rows.shape[0], count))
    cdef double[:, ::1] to = found
    for group in range(sizes.shape[0]):
        most = max(most, sizes[group])
    times = <double *> malloc(most * LANES * sizeof(double))
    if times == NULL:
        raise MemoryError
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            at = out = 0
            for group in range(sizes.shape[0]):
                size = sizes[group]
                for block in range(blocks[group]):
                    for place in range(size * LANES):
                        times[place] = weights[row, units[at]] * odds[at] + 1
                        at += 1
                    for top in range(size - 1):
                        for place in range(size - 1, top, -1):
                            for lane in range(LANES):
                                one, other = times[(place - 1) * LANES + lane], times[place * LANES + lane]
                                times[(place - 1) * LANES + lane] = one if one > other else other
                                times[place * LANES + lane] = other if one > other else one
                    for place in range(size):
                        to[number, out] = _multiplied(&times[place * LANES])
                        out += 1
    free(times)
    return found


cdef inline double _multiplied(double *times) noexcept nogil:
    """The product of `LANES` numbers, one half times the other."""
    cdef int64_t half = LANES // 2, lane
    while half:
        for lane in range(half):
            times[lane] *= times[lane + half]
        half //= 2
    return times[0]


def carry(
    double[:, ::1] weights, const int64_t[::1] ends, const int64_t[::1] onward, const int64_t[::1] begins,
    const int64_t[::1] earlier, const double[::1] share, double explained, double least,
):
    """Raise each row of weights by what its units carry on, until nothing changes, level after level.

    `onward`: the units that are carried on to, level by level, which end at `ends`; the steps to the one at n, from
    `earlier`, are those from `begins[n]` to `begins[n + 1]`.
    """
    cdef int64_t size = weights.shape[1], block, first, lane, lanes, level, place, unit, step
    # Some rows go side by side, so that the steps are gone through once for all of them.
    cdef double[TOGETHER] best
    cdef double *here
    cdef double *come
    cdef double arrived, by
    cdef bint again, better
    cdef double[:, ::1] now = np.empty((size, TOGETHER)), known = np.empty((size, TOGETHER))
    cdef char[::1] waiting = np.empty(size, np.int8)
    with nogil:
        for block in range((weights.shape[0] + TOGETHER - 1) // TOGETHER):
            first = block * TOGETHER
            lanes = min(TOGETHER, weights.shape[0] - first)
            for unit in range(size):
                better = False
                for lane in range(TOGETHER):
                    now[unit, lane] = weights[first + lane, unit] if lane < lanes else 0
                    better |= now[unit, lane] > 0
                    by = now[unit, lane] / explained
                    known[unit, lane] = by if by < 1 else 1
                waiting[unit] = better
            again = True
            while again:
                again = False
                place = 0
                for level in range(ends.shape[0]):
                    better = False
                    for step in range(begins[place], begins[ends[level]]):
                        if waiting[earlier[step]]:
                            waiting[earlier[step]] = False
                            better = True
                    if not better:
                        place = ends[level]
                        continue
                    again = True
                    for place in range(place, ends[level]):
                        unit = onward[place]
                        for lane in range(TOGETHER):
                            best[lane] = 0
                        for step in range(begins[place], begins[place + 1]):
                            come, by = &known[earlier[step], 0], share[step]
                            for lane in range(TOGETHER):
                                arrived = by * come[lane]
                                best[lane] = arrived if arrived > best[lane] else best[lane]
                        here, come = &now[unit, 0], &known[unit, 0]
                        better = False
                        for lane in range(TOGETHER):
                            if best[lane] > here[lane] + least:
                                here[lane] = best[lane]
                                by = best[lane] / explained
                                come[lane] = by if by < 1 else 1
                                better = True
                        if better:
                            waiting[unit] = True
                    place = ends[level]
            for unit in range(size):
                for lane in range(lanes):
                    weights[first + lane, unit] = now[unit, lane]


def downstream(
    const int64_t[::1] onward, const int64_t[::1] begins, const int64_t[::1] earlier, uint64_t[:, ::1] flags
):
    """Add to the flags of each unit those of all units that it carries on to, until nothing changes."""
    cdef int64_t place, step, word
    cdef uint64_t more
    cdef uint64_t *mine
    cdef const uint64_t *other
    # 1: its flags changed in the last turn, or were not looked at yet; 2: they changed in this one.
    cdef char[::1] grown = np.ones(flags.shape[0], np.int8)
    cdef bint again = True
    with nogil:
        while again:
            again = False
            # The last level first: what it leads to is complete then, but for circles.
            for place in range(onward.shape[0] - 1, -1, -1):
                if not grown[onward[place]]:
                    continue
                other = &flags[onward[place], 0]
                for step in range(begins[place], begins[place + 1]):
                    mine = &flags[earlier[step], 0]
                    more = 0
                    for word in range(flags.shape[1]):
                        more |= other[word] & ~mine[word]
                        mine[word] |= other[word]
                    if more:
                        again = True
                        grown[earlier[step]] = 2
            for place in range(flags.shape[0]):
                grown[place] = grown[place] == 2


def united(const uint64_t[:, ::1] flags, const int64_t[::1] begins, const int64_t[::1] rows, uint64_t[:, ::1] to):
    """For each run of rows the flags of all of them together."""
    cdef int64_t run, place, word
    with nogil:
        for run in range(to.shape[0]):
            for place in range(begins[run], begins[run + 1]):
                for word in range(flags.shape[1]):
                    to[run, word] |= flags[rows[place], word]


def steps_taken(
    const double[:, ::1] weights, const int64_t[:, ::1] direct, const int64_t[::1] begins, const int64_t[::1] then,
    const double[::1] share, const int64_t[::1] asked_row, const int64_t[::1] asked, double explained,
    int64_t[:, ::1] to_step,
):
    """As `diagnose.carried.Carried._steps_taken`; what is asked is in order of the rows."""
    cdef int64_t size = weights.shape[1], row, unit, step, to, place, first = 0, end, count
    cdef double known, arrived
    cdef int64_t[::1] front = np.empty(size, np.int64)
    cdef double[::1] best = np.empty(size)
    # 0: not met; 1: met; 2: met by this round.
    cdef char[::1] met = np.empty(size, np.int8)
    cdef bint left
    with nogil:
        for row in range(weights.shape[0]):
            end = first
            while end < asked.shape[0] and asked_row[end] == row:
                end += 1
            count = 0
            for unit in range(size):
                met[unit] = not weights[row, unit] > 0
                if direct[row, unit] != NOBODY:
                    met[unit] = 1
                    front[count] = unit
                    count += 1
            while count:
                left = False
                while first < end:
                    if not met[asked[first]]:
                        left = True
                        break
                    first += 1
                if not left:
                    break
                for place in range(count):
                    unit = front[place]
                    known = weights[row, unit] / explained
                    if known > 1:
                        known = 1
                    for step in range(begins[unit], begins[unit + 1]):
                        to = then[step]
                        if met[to] == 1:
                            continue
                        arrived = share[step] * known
                        if met[to] == 0 or arrived > best[to]:
                            met[to] = 2
                            best[to] = arrived
                            to_step[row, to] = step
                count = 0
                for unit in range(size):
                    if met[unit] == 2:
                        met[unit] = 1
                        front[count] = unit
                        count += 1
            first = end
