"""Checkers of concurrent histories: is there an order of the operations, agreeing with real time,
in which each answers what a single-threaded store would?

An operation is (start, end, kind, value): it was sent at `start` and answered at `end`. Checkers
return None, or what is wrong in words.

  register   writes of values that are all different, and reads. The zones of Gibbons and Korach,
             "Testing shared memories" (SIAM J. Comput. 26, 1997), section 4.
  counter    increments by one that answer the new value, and reads.
  chain      successful compare-and-sets (old, new).
"""
import collections

Operation = collections.namedtuple("Operation", "start end kind value")
READ, WRITE, INCREMENT = "read", "write", "increment"


def register(operations, initial=None):
    """Every value read must have been written, and the clusters of each value with its reads must
    be orderable one after the other."""
    writes, clusters = {}, collections.defaultdict(list)
    for op in operations:
        clusters[op.value].append(op)
        if op.kind == WRITE:
            if op.value in writes:
                return "%r was written twice: the checker needs different values" % (op.value,)
            writes[op.value] = op
    forward, backward = [], []
    for value, cluster in clusters.items():
        write = writes.get(value)
        if write is None and value != initial:
            return "%r was read and never written" % (value,)
        if write is not None and any(op.end < write.start for op in cluster):
            return "%r was read before it was written" % (value,)
        first_end = min(op.end for op in cluster) if write is not None else float("-inf")
        last_start = max(op.start for op in cluster)
        if first_end < last_start:
            forward.append((first_end, last_start, value))
        else:
            backward.append((last_start, first_end, value))
    return _zones(sorted(forward), backward)


def _zones(forward, backward):
    for (_, end, value), (start, _, other) in zip(forward, forward[1:]):
        if start < end:
            return "%r and %r each came before the other" % (value, other)
    for start, end, value in backward:
        for low, high, other in forward:
            if low < start and end < high:
                return "%r was there while %r was" % (value, other)
    return None


def counter(operations):
    """Increments answer 1..n, each once; later operations do not answer less than earlier ones."""
    counts = sorted(op.value for op in operations if op.kind == INCREMENT)
    if counts != list(range(1, len(counts) + 1)):
        return "the increments answered %r..., not 1 to %d" % (counts[:5], len(counts))
    newest, ended = 0, sorted(operations, key=lambda op: op.end)
    at = 0
    for op in sorted(operations, key=lambda op: op.start):
        while at < len(ended) and ended[at].end < op.start:
            newest = max(newest, ended[at].value)
            at += 1
        if op.value < newest + (op.kind == INCREMENT):
            return "%s answered %d after somebody had been answered %d" % (op.kind, op.value, newest)
    return None


def chain(steps, initial, last):
    """Successful compare-and-sets must lead from initial to last, each from the value before."""
    successors = {}
    for old, new in steps:
        if old in successors:
            return "two compare-and-sets found %r: %r and %r" % (old, successors[old], new)
        successors[old] = new
    value, length = initial, 0
    while value in successors:
        value = successors[value]
        length += 1
    if value != last or length != len(steps):
        return "%d of %d steps lead from %r to %r, not %r" % (length, len(steps), initial, value,
                                                              last)
    return None
