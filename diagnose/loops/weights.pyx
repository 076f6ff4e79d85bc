# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What is carried on, where it may lead and by which way (`diagnose.carried`), and sums over all alerts
(`diagnose.reached`)."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc

import numpy as np

cdef enum:
    NOBODY = -1
    LANES = 16
    TOGETHER = 8


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
