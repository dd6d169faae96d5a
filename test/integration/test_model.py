"""Goal: after any sequence of commands from several clients, tarn answers what the plainest model
answers, and what Redis answers, byte for byte.

Method: random pipelines from four connections (which different workers serve), one connection at a
time, over few keys, so that commands meet: every reply is compared with the model's and, where
redis-server is installed, with Redis's, which also checks the model. 10^6 commands; the seed is
printed, TARN_MODEL_SEED repeats a run, TARN_MODEL_COMMANDS makes it longer.
"""
import os
import random
import socket

import pytest

import conftest
from beside_redis import redis_server_command, running_redis
from command_model import Model, ModelClient

pytestmark = pytest.mark.threads

COMMANDS = int(os.environ.get("TARN_MODEL_COMMANDS", "1000000"))
CLIENTS, PIPELINE = 4, 200
END = b"end of batch"
FAR = 4102444800000  # an expiry that does not come


class Stream:
    """Commands at random. Values repeat, so that counters and bit strings meet commands for text."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.keys = [b"key:%d" % i for i in range(60)] + [b"", b"\0\r\n", b"k" * 300]
        self.values = [b"", b"0", b"10", b"-7", b"007", b"9223372036854775807", b"text", b"\r\n\0",
                       b"x" * 255, b"y" * 256, b"z" * 3000, b"w" * 9000, b"v" * 20000]
        self.kinds = [getattr(self, n) for n in dir(self) if n.startswith("make_")
                      for _ in range(self.weights.get(n[5:], 2))]
        self.in_multi = False

    weights = {"get": 8, "set": 6, "incrby": 6, "append": 4, "flushall": 0, "setrange": 3}

    def key(self):
        return self.random.choice(self.keys)

    def value(self):
        r = self.random.random()
        if r < 0.3:
            return b"%d" % self.random.randrange(-1000, 1000)
        return self.values[min(int(self.random.expovariate(0.25)), len(self.values) - 1)]

    def some(self, make, most=6):
        return [make() for _ in range(self.random.randint(1, most))]

    def when(self):
        return b"%d" % (FAR + self.random.randrange(10 ** 9))

    def next(self):
        if self.random.random() < 0.0002:
            return [b"FLUSHALL"]
        return self.random.choice(self.kinds)()

    def make_get(self):
        return [b"GET", self.key()]

    def make_set(self):
        options = []
        if self.random.random() < 0.5:
            options = self.random.choice([
                [b"NX"], [b"XX"], [b"GET"], [b"KEEPTTL"], [b"PXAT", self.when()],
                [b"xx", b"get"], [b"NX", b"GET"], [b"XX", b"KEEPTTL", b"GET"],
                [b"PXAT", self.when(), b"nx"]])
        return [b"SET", self.key(), self.value()] + options

    def make_setnx(self):
        return [b"SETNX", self.key(), self.value()]

    def make_getset(self):
        return [self.random.choice([b"GETSET", b"getset"]), self.key(), self.value()]

    def make_getdel(self):
        return [b"GETDEL", self.key()]

    def make_getex(self):
        option = self.random.choice([[b"PERSIST"], [b"PXAT", self.when()]])
        return [b"GETEX", self.key()] + option

    def make_mget(self):
        return [b"MGET"] + self.some(self.key, 100 if self.random.random() < 0.1 else 6)

    def make_mset(self):
        return [b"MSET"] + [x for _ in range(self.random.randint(1, 5))
                            for x in (self.key(), self.value())]

    def make_msetnx(self):
        return [b"MSETNX"] + self.make_mset()[1:]

    def make_incrby(self):
        kind = self.random.random()
        if kind < 0.3:
            return [b"INCR", self.key()]
        if kind < 0.5:
            return [b"DECR", self.key()]
        amount = self.random.choice([b"1", b"-5", b"100000", b"9223372036854775807", b"x", b" 1",
                                     b"-9223372036854775808", b"01", b"9223372036854775808"])
        return [b"INCRBY", self.key(), amount]

    def make_append(self):
        return [b"APPEND", self.key(), self.value()]

    def make_strlen(self):
        return [b"STRLEN", self.key()]

    def make_getrange(self):
        ends = [b"%d" % self.random.choice([0, 1, 5, 100, 254, -1, -2, -5, -300, 9000, 10 ** 12])
                for _ in range(2)]
        return [b"GETRANGE", self.key()] + ends

    def make_setrange(self):
        offset = self.random.choice([0, 1, 5, 250, 300, 8180, 20000, -1])
        return [b"SETRANGE", self.key(), b"%d" % offset, self.random.choice([b"", b"ab", b"q" * 40])]

    def make_setbit(self):
        offset = self.random.choice([0, 7, 8, 100, 2047, 65535 * 2])
        return [b"SETBIT", self.key(), b"%d" % offset, self.random.choice([b"0", b"1"])]

    def make_getbit(self):
        return [b"GETBIT", self.key(), b"%d" % self.random.choice([0, 7, 9, 100, 4095, 10 ** 6])]

    def make_bitcount(self):
        return [b"BITCOUNT", self.key()]

    def make_del(self):
        return [self.random.choice([b"DEL", b"UNLINK"])] + self.some(self.key, 3)

    def make_exists(self):
        return [b"EXISTS"] + self.some(self.key)

    def make_type(self):
        return [b"TYPE", self.key()]

    def make_rename(self):
        return [self.random.choice([b"RENAME", b"RENAMENX"]), self.key(), self.key()]

    def make_copy(self):
        return [b"COPY", self.key(), self.key()] + self.random.choice([[], [b"REPLACE"]])

    def make_pexpireat(self):
        return [b"PEXPIREAT", self.key(), self.when()]

    def make_pexpiretime(self):
        return [b"PEXPIRETIME", self.key()]

    def make_persist(self):
        return [b"PERSIST", self.key()]

    def make_dbsize(self):
        return [b"DBSIZE"]

    def pipeline(self, client):
        """Commands of one client, transactions included; some stay open over several pipelines."""
        commands = []
        for _ in range(self.random.randint(1, PIPELINE)):
            r = self.random.random()
            if client.queue is None and not commands and r < 0.2:
                commands.append([b"WATCH"] + self.some(self.key, 3))
            elif client.queue is None and r < 0.01:
                commands.append([b"MULTI"])
            elif client.queue is not None and r < 0.1:
                commands.append([b"EXEC"] if r < 0.08 else [b"DISCARD"])
            else:
                commands.append(self.next())
            yield commands[-1]


def encode(args):
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


class Wire:
    """A connection that sends a batch and returns the raw bytes of all its replies."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=conftest.TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, batch):
        self.socket.sendall(batch)

    def receive(self, size):
        """At least `size` bytes, and all that belong to the batch if it is as expected."""
        parts, have = [], 0
        while have < size:
            part = self.socket.recv(1 << 20)
            if not part:
                break
            parts.append(part)
            have += len(part)
        return b"".join(parts)


def first_difference(commands, expected, replies, got):
    """Where a batch went wrong, in words."""
    at = 0
    for i, (args, reply) in enumerate(zip(commands, replies)):
        if got[at:at + len(reply)] != reply:
            shown = b" ".join(a[:40] for a in args)
            return "command %d of the batch, %r: expected %r, got %r" % (
                i, shown, reply[:200], got[at:at + len(reply) + 100][:300])
        at += len(reply)
    return "more came than expected: %r" % got[len(expected):][:300]


def check(name, wire, commands, replies):
    expected = b"".join(replies)
    got = wire.receive(len(expected))
    assert got == expected, name + ": " + first_difference(commands, expected, replies, got)


def run(ports, seed, count):
    """One run against all servers; ports: {name: port}."""
    stream, model = Stream(seed), Model()
    clients = [ModelClient(model) for _ in range(CLIENTS)]
    wires = {name: [Wire(port) for _ in range(CLIENTS)] for name, port in ports.items()}
    done = 0
    while done < count:
        i = stream.random.randrange(CLIENTS)
        commands, replies = [], []
        for args in stream.pipeline(clients[i]):
            commands.append(args)
            replies.append(clients[i].answer(args))
        batch = b"".join(map(encode, commands))
        for name in ports:
            wires[name][i].send(batch)
        for name in ports:
            check("seed %d, after %d commands, %s" % (seed, done, name), wires[name][i], commands,
                  replies)
        done += len(commands)


def test_random_commands(server, tmp_path):
    """Trips on: any command, option or order of commands that tarn answers or applies otherwise."""
    seed = int(os.environ.get("TARN_MODEL_SEED", random.SystemRandom().randrange(2 ** 32)))
    print("TARN_MODEL_SEED=%d" % seed)
    count = COMMANDS // (20 if conftest.sanitized() else 1)
    tarn = server(None)
    if not redis_server_command()[1]:
        run({"tarn": tarn.port}, seed, count)
        return
    with running_redis(tmp_path) as redis:
        run({"redis": redis, "tarn": tarn.port}, seed, count)
