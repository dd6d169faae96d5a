"""Goal: whatever clients of several workers do to the same keys at once, there is one order of it
all that explains every answer: registers, counters, compare-and-set, several keys at one moment.

Method: threads with a connection each send small pipelines against a few keys; when each was sent
and answered is noted, and the histories are checked (histories.py). The checkers are tried on
histories with known faults first. Growth, eviction of neighbours and expiry go on meanwhile.
"""
import random
import threading
import time

import pytest

import conftest
import histories
from histories import INCREMENT, READ, WRITE, Operation

pytestmark = pytest.mark.threads

CLIENTS, KEYS = 6, 3
ROUNDS = 400


# --- the checkers themselves ---

def history(*rows):
    return [Operation(*row) for row in rows]


GOOD_REGISTERS = [
    history((0, 1, WRITE, "a"), (2, 3, READ, "a")),
    history((0, 10, WRITE, "a"), (1, 2, READ, None), (3, 4, READ, "a")),
    history((0, 10, WRITE, "a"), (0, 10, WRITE, "b"), (11, 12, READ, "a")),
    history((0, 5, WRITE, "a"), (1, 9, WRITE, "b"), (6, 7, READ, "a"), (8, 10, READ, "b")),
]
BAD_REGISTERS = [
    history((0, 1, WRITE, "a"), (2, 3, READ, None)),                       # a stale read
    history((0, 1, WRITE, "a"), (2, 3, WRITE, "b"), (4, 5, READ, "a")),    # an older one
    history((0, 1, READ, "a"), (2, 3, WRITE, "a")),                        # from the future
    history((0, 1, READ, "a")),                                            # from nowhere
    history((0, 9, WRITE, "a"), (1, 2, READ, "a"), (3, 4, READ, None)),    # back and forth
    history((0, 9, WRITE, "a"), (0, 9, WRITE, "b"), (10, 11, READ, "a"), (12, 13, READ, "b"),
            (14, 15, READ, "a")),
    history((0, 1, WRITE, "a"), (2, 3, WRITE, "b"), (4, 5, READ, "b"), (6, 7, WRITE, "c"),
            (8, 9, READ, "b")),
]


@pytest.mark.parametrize("operations", GOOD_REGISTERS)
def test_register_checker_accepts(operations):
    assert histories.register(operations) is None


@pytest.mark.parametrize("operations", BAD_REGISTERS)
def test_register_checker_rejects(operations):
    assert histories.register(operations) is not None


def test_counter_checker():
    good = history((0, 1, INCREMENT, 1), (2, 5, INCREMENT, 3), (2, 5, INCREMENT, 2), (6, 7, READ, 3))
    assert histories.counter(good) is None
    lost = history((0, 1, INCREMENT, 1), (0, 1, INCREMENT, 1))
    late = history((0, 1, INCREMENT, 2), (2, 3, INCREMENT, 1))
    stale = history((0, 1, INCREMENT, 1), (2, 3, READ, 0))
    for bad in lost, late, stale:
        assert histories.counter(bad) is not None


def test_chain_checker():
    assert histories.chain([(1, 2), (0, 1)], 0, 2) is None
    assert histories.chain([(0, 1), (0, 2)], 0, 2) is not None  # both won
    assert histories.chain([(0, 1), (2, 3)], 0, 3) is not None  # one is lost
    assert histories.chain([(0, 1)], 0, 5) is not None


# --- clients ---

class Clients:
    """Threads that each run body(client number, connection, random); the first failure is raised."""

    def __init__(self, server, body, count=CLIENTS):
        self.failures = []
        barrier = threading.Barrier(count)

        def run(number):
            try:
                with server.connect() as connection:
                    barrier.wait(conftest.TIMEOUT)
                    body(number, connection, random.Random(number))
            except Exception as failure:  # shown by the test
                self.failures.append(failure)
                barrier.abort()
        self.threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]


def timed(connection, commands):
    """Answers of a pipeline, and when it was sent and all of it answered."""
    start = time.monotonic_ns()
    answers = connection.pipeline(commands)
    return start, time.monotonic_ns(), answers


def disturbance(connection):
    """What goes on beside: growth, expiry, everything in the same shards."""
    connection.pipeline([["SET", "beside:%d" % n, "x" * 50, "PX", str(1 + n % 50)]
                         for n in range(200)])


def rounds():
    return ROUNDS // (8 if conftest.sanitized() else 1)


def test_registers(server):
    """Trips on: a stale or half-written read, a write that is lost or comes back."""
    server = server(None, "--threads", "4")
    seen = [[[] for _ in range(KEYS)] for _ in range(CLIENTS)]

    def body(number, connection, rand):
        for n in range(rounds()):
            if number == 0 and n % 8 == 0:
                disturbance(connection)
            key = rand.randrange(KEYS)
            writes = [rand.random() < 0.5 for _ in range(rand.randint(1, 4))]
            values = [b"%d.%d.%d" % (number, n, i) for i in range(len(writes))]
            commands = [["SET", "r:%d" % key, v] if w else ["GET", "r:%d" % key]
                        for w, v in zip(writes, values)]
            start, end, answers = timed(connection, commands)
            for is_write, value, answer in zip(writes, values, answers):
                seen[number][key].append(Operation(start, end, WRITE if is_write else READ,
                                                   value if is_write else answer))
    Clients(server, body).join()
    for key in range(KEYS):
        wrong = histories.register([op for client in seen for op in client[key]])
        assert wrong is None, wrong


def test_counters(server):
    """Trips on: an increment that is lost, answered twice, or out of order."""
    server = server(None, "--threads", "4")
    seen = [[[] for _ in range(KEYS)] for _ in range(CLIENTS)]

    def body(number, connection, rand):
        for n in range(rounds()):
            if number == 0 and n % 8 == 0:
                disturbance(connection)
            key = rand.randrange(KEYS)
            increments = [rand.random() < 0.7 for _ in range(rand.randint(1, 4))]
            start, end, answers = timed(connection, [["INCR" if i else "GET", "c:%d" % key]
                                                     for i in increments])
            for is_increment, answer in zip(increments, answers):
                seen[number][key].append(Operation(start, end, INCREMENT if is_increment else READ,
                                                   int(answer or 0)))
    Clients(server, body).join()
    for key in range(KEYS):
        wrong = histories.counter([op for client in seen for op in client[key]])
        assert wrong is None, wrong


def test_compare_and_set(server):
    """Trips on: WATCH that misses a change, or two transactions that both saw the same value."""
    server = server(None, "--threads", "4")
    steps = [[] for _ in range(CLIENTS)]
    server.command("SET", "cas", "start")

    def body(number, connection, rand):
        for n in range(rounds()):
            value = b"%d.%d" % (number, n)
            old = connection.pipeline([["WATCH", "cas"], ["GET", "cas"]])[1]
            answer = connection.pipeline([["MULTI"], ["SET", "cas", value], ["EXEC"]])[2]
            if answer == [b"OK"]:
                steps[number].append((old, value))
    Clients(server, body).join()
    wrong = histories.chain([s for client in steps for s in client], b"start",
                            server.command("GET", "cas"))
    assert wrong is None, wrong
    assert all(len(s) > 0 for s in steps)


def test_several_keys(server):
    """Trips on: a part of an MSET or of an EXEC that is seen without the rest, by MGET, by EXEC or by
    single reads one after the other."""
    server = server(None, "--threads", "4")
    keys = ["m:%d" % n for n in range(8)]

    def body(number, connection, rand):
        for n in range(rounds()):
            value = b"%d" % (n * CLIENTS + number)
            if number % 2 == 0 and rand.random() < 0.5:
                connection.command("MSET", *[x for k in keys for x in (k, value)])
            elif number % 2 == 0:
                connection.pipeline([["MULTI"]] + [["SET", k, value] for k in keys] + [["EXEC"]])
            elif rand.random() < 0.5:
                answer = connection.command("MGET", *keys)
                assert len(set(answer)) == 1, answer
            else:
                answer = connection.pipeline([["MULTI"]] + [["GET", k] for k in keys] + [["EXEC"]])
                assert len(set(answer[-1])) == 1, answer[-1]
    Clients(server, body).join()


def test_sums(server):
    """Trips on: money made or lost by transfers, seen by anybody at any time."""
    server = server(None, "--threads", "4")
    accounts = ["a:%d" % n for n in range(5)]
    server.command("MSET", *[x for a in accounts for x in (a, "1000")])

    def body(number, connection, rand):
        for _ in range(rounds()):
            if number % 2 == 0:
                one, other = rand.sample(accounts, 2)
                amount = rand.randrange(100)
                connection.pipeline([["MULTI"], ["DECRBY", one, amount], ["INCRBY", other, amount],
                                     ["EXEC"]])
            else:
                assert sum(map(int, connection.command("MGET", *accounts))) == 5000
    Clients(server, body).join()
