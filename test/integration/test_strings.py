"""Goal: the commands on strings answer like Redis 7, byte for byte, and leave the same behind:
every option of SET and GETEX with every other, times and offsets and numbers at their limits, wrong
numbers of arguments, values of any bytes, empty ones and such of a mebibyte; alone and in EXEC; in
RESP2 and RESP3.

Method: cases are conversations, each beginning with an empty store. They are sent to a redis-server
and to tarn, followed by a look at the keys, and the raw replies are compared. Times from now are
compared only roughly. Random streams of requests come on top.
"""
import itertools
import random

import pytest

import beside_redis
import conftest
import resp

NOW_SECONDS = 4000000000  # later than now, by a lot
SEED = 20261121
MEBIBYTE = bytes(random.Random(SEED).randbytes(1 << 20))
ALL_BYTES = bytes(range(256))
INT_MAX = 2**63 - 1
PIPELINE_BYTES = 1 << 14


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with beside_redis.running_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def tarn_port():
    server = conftest.Server(None, ["--threads", "2"])
    assert server.ready, server.log.text()
    yield server.port
    server.stop()


def words(request):
    return request.split(" ") if isinstance(request, str) else list(request)


def look(keys):
    """What is left behind, and when it goes."""
    return [["GET", key] for key in keys] + [["PEXPIRETIME", key] for key in keys]


def batches(cases):
    """Lists of cases whose requests together are small enough to be sent before a reply is read.
    """
    batch, size = [], 0
    for case in cases:
        case_size = sum(len(resp.encode(*request)) for request in case)
        if batch and size + case_size > PIPELINE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(case)
        size += case_size
    if batch:
        yield batch


def counts_from_now(case):
    """Does one of its requests give a time from now?"""
    return any(str(word).upper() in ("EX", "PX", "SETEX", "PSETEX")
               for request in case for word in request)


def same(case, request, wanted, got):
    if wanted == got:
        return True
    if request[0] != "PEXPIRETIME" or not counts_from_now(case):
        return False
    return abs(int(wanted[1:]) - int(got[1:])) < conftest.TIMEOUT * 1000


def ask(connection, case):
    """Large requests one at a time."""
    if sum(len(resp.encode(*request)) for request in case) <= PIPELINE_BYTES:
        return connection.pipeline(case)
    return [connection.command(*request) for request in case]


def compare(redis, tarn_port, conversations, protocol, keys=("k", "l")):
    """Each conversation from an empty store; a request is a string, split at spaces, or a list."""
    cases = [[["FLUSHALL"]] + [words(r) for r in c] + look(keys) for c in conversations]
    with beside_redis.RawConnection(redis, protocol) as a, \
            beside_redis.RawConnection(tarn_port, protocol) as b:
        for batch in batches(cases):
            requests = [request for case in batch for request in case]
            origins = [case for case in batch for _ in case]
            for case, request, wanted, got in zip(origins, requests, ask(a, requests),
                                                  ask(b, requests)):
                if not same(case, request, wanted, got):
                    pytest.fail("%.200r in %.1000r\nredis %.500r\ntarn  %.500r"
                                % (request, case, wanted, got))


def in_exec(conversation):
    return ["MULTI"] + conversation + ["EXEC"]


protocols = pytest.mark.parametrize("protocol", [2, 3])

STATES = [[], ["SET k old"], [["SET", "k", ""]],
          ["SET k old PXAT %d" % (NOW_SECONDS * 1000)], ["SET k 12"]]

# --- SET and its options ---

OPTIONS = ["NX", "XX", "GET", "KEEPTTL", "PERSIST", "EX 100000", "PX 100000000",
           "EXAT %d" % NOW_SECONDS, "PXAT %d" % (NOW_SECONDS * 1000 + 7), "EXAT 1", "PXAT 1",
           "ex", "nonsense", "get"]


def all_options(prefix, count_max):
    return [" ".join([prefix] + list(chosen))
            for count in range(count_max + 1)
            for chosen in itertools.product(OPTIONS, repeat=count)]


@protocols
def test_set_with_all_options(protocol, redis, tarn_port):
    requests = all_options("SET k new", 3)
    compare(redis, tarn_port,
            [state + [request] for state in STATES[:2] + STATES[3:4] for request in requests],
            protocol)


@protocols
def test_getex_with_all_options(protocol, redis, tarn_port):
    requests = all_options("GETEX k", 2)
    compare(redis, tarn_port, [s + [r] for s in STATES for r in requests], protocol)


@protocols
def test_options_in_exec(protocol, redis, tarn_port):
    requests = all_options("SET k new", 2) + all_options("GETEX k", 2)
    compare(redis, tarn_port, [s + in_exec([r]) for s in STATES for r in requests], protocol)


def test_option_words_in_any_case(redis, tarn_port):
    compare(redis, tarn_port,
            [["set k v nX"], ["Set k v xX"], ["sET k v Get"], ["SET k v eX 100000"],
             ["SET k v pXaT 4000000000000"], ["SET k v KeepTtl"], ["SET k v nxx"], ["SET k v n"],
             [["SET", "k", "v", ""]], ["GETEX k PersisT"], ["SET nx nx nx"], ["SET get get GET"]],
            2)


TIMES = ["0", "-1", "1x", "", " 1", "1 ", "01", "+1", "1.5", "x", "-0", "100000",
         str(INT_MAX), str(INT_MAX + 1), str(-2**63), str(-2**63 - 1), str(INT_MAX // 1000),
         str(INT_MAX // 1000 + 1), str(INT_MAX // 1000 - 10), str(INT_MAX - 10), "9" * 30]


@protocols
def test_times_at_their_limits(protocol, redis, tarn_port):
    requests = []
    for time in TIMES:
        requests += [["SETEX", "k", time, "v"], ["PSETEX", "k", time, "v"]]
        for option in ("EX", "PX", "EXAT", "PXAT"):
            requests += [["SET", "k", "v", option, time], ["GETEX", "k", option, time],
                         ["SET", "k", "v", "GET", option, time],
                         ["SET", "k", "v", "NX", option, time]]
    compare(redis, tarn_port, [s + [r] for s in STATES for r in requests], protocol)


# --- the rest of the family ---

PLAIN = ["SETNX k new", "GETSET k new", "GETDEL k", "SETEX k 100000 new", "PSETEX k 100000 new",
         "GETEX k", "GET k", "STRLEN k", "MSET k 1", "MSETNX k 1", "MSETNX l 1 k 2",
         "MSET k 1 l 2", "MSET k 1 k 2 l 3", "MSETNX k 1 k 2", "MGET k l k", "MSET k 1 l",
         "MSETNX k 1 l", "MSET", "MSETNX", "APPEND k xyz", "SETRANGE k 1 xyz", "SETRANGE k 10 xyz",
         "GETRANGE k 0 -1", "SUBSTR k 1 2", "INCR k", "DECR k", "INCRBY k 5", "DECRBY k 5",
         "INCRBYFLOAT k 1.5", "LCS k l", "LCS k k", "LCS k k LEN", "LCS k k IDX"]


@protocols
def test_plain_requests_in_every_state(protocol, redis, tarn_port):
    compare(redis, tarn_port,
            [s + [r] for s in STATES for r in PLAIN] +
            [s + in_exec([r]) for s in STATES for r in PLAIN], protocol)


def test_two_requests_in_exec(redis, tarn_port):
    compare(redis, tarn_port,
            [["SET k 7", "SET l eight"] + in_exec(list(pair))
             for pair in itertools.product(PLAIN, repeat=2)], 2)


@protocols
def test_wrong_numbers_of_arguments(protocol, redis, tarn_port):
    names = ["SET", "SETNX", "SETEX", "PSETEX", "GETSET", "GETDEL", "GETEX", "MSET", "MSETNX",
             "MGET", "INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "APPEND", "SETRANGE",
             "GETRANGE", "SUBSTR", "STRLEN", "LCS", "GET"]
    compare(redis, tarn_port,
            [[[name] + ["1"] * count] for name in names for count in range(7)], protocol)


VALUES = [b"", b"\x00", b"\r\n", ALL_BYTES, b"a" * 44, b"a" * 255, b"a" * 256, b"a" * 8191,
          b"a" * 8192, b"a" * 16383, b"a" * 16384, b"a" * 65535, b"a" * 65536, MEBIBYTE]


@protocols
def test_values_of_any_bytes_and_sizes(protocol, redis, tarn_port):
    cases = []
    for value in VALUES:
        stored = [["SET", "k", value]]
        cases += [stored + [request] for request in (
            ["GET", "k"], ["GETEX", "k"], ["GETEX", "k", "EX", "100000"], ["GETDEL", "k"],
            ["GETEX", "k", "PERSIST"], ["GETSET", "k", "new"], ["SET", "k", "new", "GET"],
            ["SET", "k", "new", "NX", "GET"], ["SET", "k", value, "XX", "GET"],
            ["STRLEN", "k"], ["MGET", "k", "l", "k"], ["GETRANGE", "k", "1", "-2"],
            ["APPEND", "k", "more"], ["APPEND", "k", value], ["SETRANGE", "k", "3", "abc"],
            ["SETRANGE", "k", "0", value], ["SETRANGE", "k", "100", value],
            ["INCR", "k"], ["INCRBYFLOAT", "k", "1"])]
        cases += [[["SETNX", "k", value]], [["SETEX", "k", "100000", value]],
                  [["PSETEX", "k", "100000000", value]], [["APPEND", "k", value]],
                  [["SETRANGE", "k", "5", value]], [["MSET", "k", value, "l", value]],
                  [["MSETNX", "k", value, "l", value]], [["GETSET", "k", value]],
                  stored + [["APPEND", "k", "1"], ["GET", "k"], ["APPEND", "k", "2"]],
                  stored + in_exec([["GETSET", "k", "x"], ["APPEND", "k", value],
                                    ["GETDEL", "k"], ["SETRANGE", "k", "2", value]])]
    compare(redis, tarn_port, cases, protocol)


def test_keys_of_any_bytes(redis, tarn_port):
    for key in (b"", b"\x00", b"\r\n$3\r\n", ALL_BYTES, b"k" * 255, b"k" * 256, b"k" * 65535):
        compare(redis, tarn_port,
                [[["SET", key, "v"]], [["APPEND", key, "v"], ["INCR", key]], [["INCR", key]],
                 [["MSET", key, "1", b"x" + key[1:], "2"], ["MGET", key, b"x" + key[1:]]],
                 [["SET", key, "v", "GET"], ["GETDEL", key]]], 2, keys=(key,))


def test_a_key_over_the_limit_is_refused(tarn_port):
    """Redis has no such limit; nothing may be stored under a part of the key."""
    key = b"k" * 65536
    with resp.Connection(tarn_port) as connection:
        connection.command("FLUSHALL")
        for request in (["SET", key, "1"], ["SET", key, "1", "NX"], ["INCR", key],
                        ["APPEND", key, "1"], ["SETRANGE", key, "1", "1"], ["GETSET", key, "1"],
                        ["MSET", "k", "1", key, "1"], ["MSETNX", "k", "1", key, "1"],
                        ["SETEX", key, "100", "1"], ["INCRBYFLOAT", key, "1"]):
            assert isinstance(connection.command(*request), resp.RespError), request[0]
        for request in (["GET", key], ["GETDEL", key], ["GETEX", key],
                        ["GETEX", key, "PERSIST"], ["GETEX", key, "EX", "x"]):
            assert connection.command(*request) is None
        assert connection.command("MGET", key, "k") == [None, None]
        assert connection.command("DBSIZE") == 0


@pytest.mark.parametrize("count", [1, 64, 65, 128, 129, 1000, 10000])
def test_many_keys_at_once(count, redis, tarn_port):
    pairs = [w for i in range(count) for w in ("key%d" % i, "value%d" % (i * 7))]
    names = pairs[::2]
    compare(redis, tarn_port,
            [[["MSET"] + pairs, ["MGET"] + names + ["nosuch"] + names],
             [["MSETNX"] + pairs, ["MGET"] + names, ["MSETNX"] + pairs[2:] + ["new", "1"],
              ["GET", "new"]],
             [["MSET"] + pairs + pairs[:2] + ["k", "v"], ["MGET"] + names],
             [["SET", names[-1], "there"], ["MSETNX"] + pairs, ["MGET"] + names],
             in_exec([["MSET"] + pairs, ["MSETNX"] + pairs, ["MGET"] + names])], 2)


# --- parts of values ---

OFFSETS = ["0", "1", "3", "10", "-1", "-0", "x", "", "1.0", "536870911", "536870912", "536870913",
           str(2**32), str(INT_MAX), str(INT_MAX + 1), str(-2**63), "4294967295"]


@protocols
def test_offsets_at_their_limits(protocol, redis, tarn_port):
    """(What would make a string of half a gibibyte is in a test of its own.)"""
    cases = []
    for state in STATES:
        for offset in OFFSETS:
            cases.append(state + [["SETRANGE", "k", offset, ""]])
            if offset != "536870911":
                cases.append(state + [["SETRANGE", "k", offset, "x"]])
            cases.append(state + [["SETRANGE", "k", offset, "xy"]])
    compare(redis, tarn_port, cases, protocol)


def test_a_string_of_the_largest_size(redis, tarn_port):
    """Half a gibibyte can be made, and not a byte more."""
    requests = [["SETRANGE", "k", "536870911", "x"], ["STRLEN", "k"], ["APPEND", "k", "y"],
                ["STRLEN", "k"], ["SETRANGE", "k", "536870911", "yz"], ["SETRANGE", "k", "5", "a"],
                ["GETRANGE", "k", "536870900", "-1"], ["GETRANGE", "k", "0", "9"],
                ["SETRANGE", "k", "536870912", ""], ["INCR", "k"], ["INCRBYFLOAT", "k", "1"],
                ["LCS", "k", "k", "LEN"], ["LCS", "k", "l", "LEN"], ["DEL", "k"]]
    with beside_redis.RawConnection(redis) as a, beside_redis.RawConnection(tarn_port) as b:
        for request in [["FLUSHALL"]] + requests:
            assert b.command(*request) == a.command(*request), request


# --- numbers ---

INTEGERS = ["0", "1", "-1", "10", "-10", str(INT_MAX), str(INT_MAX - 1), str(-2**63),
            str(-2**63 + 1), str(INT_MAX + 1), str(-2**63 - 1), "", " 1", "1 ", "01", "-01", "-0",
            "+1", "1.0", "1e3", "0x10", "x", "\x00", "1\x00", "-", "99999999999999999999",
            "9" * 300]


@protocols
def test_integers_at_their_limits(protocol, redis, tarn_port):
    cases = []
    for value in INTEGERS:
        for name in ("INCR", "DECR"):
            cases.append([["SET", "k", value], [name, "k"], [name, "k"]])
        for by in INTEGERS:
            for name in ("INCRBY", "DECRBY"):
                cases.append([["SET", "k", value], [name, "k", by], [name, "k", by]])
                cases.append([[name, "k", by]])
    compare(redis, tarn_port, cases, protocol)


FLOATS = INTEGERS + [
    "0.1", "0.2", "-0.1", "3.0e3", "200", "5.0e3", "2.0e2", "1e-17", "1e-18", "5e-18", "1e-20",
    "1e17", "1e18", "1e19", "1e20", "123456789012345678", "0.00000000000000001", "1.7e308",
    "1e308", "1e309", "1e4931", "-1e4931", "1.1e4932", "1e4932", "-1e4932", "1e4933", "1e-4931",
    "1e-4950", "1e-5000", "inf", "-inf", "+inf", "Infinity", "nan", "-nan", "NAN", "nan(1)",
    "0x1p3", "0x1.8p1", ".5", "5.", ".", "e5", "1e", "1e+", "1,5", "1.5x", "\t1", "1\n", "1_0",
    "17976931348623157.5", "0.3333333333333333333", "2.5", "-2.5", "1" * 4000, "1" * 5118 + ".",
    "0" * 5118 + "1", "0" * 5119 + "1", "0." + "1" * 5000]


@protocols
def test_floats_at_their_limits(protocol, redis, tarn_port):
    cases = []
    for value in FLOATS:
        cases.append([["INCRBYFLOAT", "k", value], ["INCRBYFLOAT", "k", value]])
        for by in FLOATS:
            if len(value) + len(by) < 1000:
                cases.append([["SET", "k", value], ["INCRBYFLOAT", "k", by],
                              ["INCRBYFLOAT", "k", by]])
        cases.append([["SET", "k", value], ["INCRBYFLOAT", "k", "1"], ["INCRBYFLOAT", "k", "-1"]])
    compare(redis, tarn_port, cases, protocol)


def test_random_floats(redis, tarn_port):
    dice = random.Random(SEED)

    def number():
        digits = "%d" % dice.getrandbits(dice.choice([4, 20, 53, 64, 90]))
        point = dice.randrange(len(digits) + 1)
        text = digits[:point] + "." + digits[point:] if dice.random() < 0.7 else digits
        if dice.random() < 0.3:
            text += "e%d" % dice.randint(-30, 30)
        return ("-" if dice.random() < 0.5 else "") + text
    requests = []
    for _ in range(5000):
        if dice.random() < 0.2:
            requests.append(["SET", "k", number()])
        requests.append(["INCRBYFLOAT", "k", number()])
    beside_redis.run_stream(redis, tarn_port, requests, ["k"])


# --- LCS ---

def lcs_requests():
    options = ["", "LEN", "IDX", "WITHMATCHLEN", "MINMATCHLEN 0", "MINMATCHLEN 2",
               "MINMATCHLEN 4", "MINMATCHLEN -1"]
    requests = {" ".join(["LCS k l"] + [o for o in chosen if o])
                for chosen in itertools.product(options, repeat=3)}
    bad = ["MINMATCHLEN", "MINMATCHLEN x", "nonsense", "LEN IDX", "IDX LEN", "len idx nonsense",
           "MINMATCHLEN 9223372036854775808", "MINMATCHLEN 9223372036854775807 IDX", "idx idx"]
    return sorted(requests) + ["LCS k l " + b for b in bad]


@protocols
def test_lcs_options(protocol, redis, tarn_port):
    pairs = [("ohmytext", "mynewtext"), ("", "abc"), ("abc", ""), ("abc", "abc"), ("abc", "xyz")]
    cases = [[["SET", "k", a], ["SET", "l", b], r] for a, b in pairs for r in lcs_requests()]
    cases += [[r] for r in lcs_requests()]
    compare(redis, tarn_port, cases, protocol)


def test_lcs_of_random_strings(redis, tarn_port):
    dice = random.Random(SEED)
    cases = []
    for _ in range(300):
        alphabet = dice.choice([b"a", b"ab", b"abc", b"acgt", ALL_BYTES])
        a, b = (bytes(dice.choices(alphabet, k=dice.choice([1, 5, 63, 64, 65, 130, 300])))
                for _ in range(2))
        cases.append([["SET", "k", a], ["SET", "l", b], "LCS k l", "LCS k l LEN", "LCS k l IDX",
                      "LCS l k", "LCS l k IDX WITHMATCHLEN", "LCS k l IDX MINMATCHLEN 3",
                      "LCS k k IDX"])
    compare(redis, tarn_port, cases, 2)


def test_lcs_at_the_limit(redis, tarn_port):
    """11585 x 11585 places of 4 bytes are just within 512 MiB."""
    dice = random.Random(SEED)
    cases = []
    for size_a, size_b in [(11584, 11584), (11585, 11585), (11584, 11586), (1, 67108862),
                           (1, 67108863), (67108863, 1), (67108862, 1)]:
        a, b = (bytes(dice.choices(b"abcdefgh", k=1 + s % 20000)) * (s // (1 + s % 20000) + 1)
                for s in (size_a, size_b))
        cases.append([["SET", "k", a[:size_a]], ["SET", "l", b[:size_b]], "LCS k l LEN",
                      "LCS k l IDX", "LCS k l", "DEL k l"])
    compare(redis, tarn_port, cases, 2)


# --- streams ---

def random_request(dice):
    key = dice.choice(["k", "l", "m", "n"])
    value = dice.choice(["", "1", "-5", "12.5", "abc", str(INT_MAX), "x" * 300, "y" * 9000])
    number = dice.choice(["0", "1", "-3", "2.5", str(INT_MAX), "x", "1e3"])
    offset = str(dice.choice([0, 1, 5, 300, 9000, -1]))
    time = str(NOW_SECONDS + dice.randrange(1000))
    expiry = dice.choice([[], [], ["EXAT", time], ["KEEPTTL"], ["PXAT", "1"]])
    conditions = dice.choice([[], [], ["NX"], ["XX"], ["GET"], ["GET", "NX"], ["XX", "GET"]])
    return dice.choice([
        lambda: ["SET", key, value] + conditions + expiry,
        lambda: ["SETNX", key, value],
        lambda: ["GETSET", key, value],
        lambda: ["GETDEL", key],
        lambda: ["GETEX", key] + dice.choice([[], ["PERSIST"], ["EXAT", time], ["EXAT", "1"]]),
        lambda: ["MSET", key, value, "l", number],
        lambda: ["MSETNX", key, value, "l", number],
        lambda: ["MGET", "k", "l", "m", "n", "nosuch"],
        lambda: [dice.choice(["INCR", "DECR"]), key],
        lambda: [dice.choice(["INCRBY", "DECRBY", "INCRBYFLOAT"]), key, number],
        lambda: ["APPEND", key, value],
        lambda: ["SETRANGE", key, offset, value],
        lambda: ["GETRANGE", key, offset, "-2"],
        lambda: ["STRLEN", key],
        lambda: ["LCS", key, "l"] + dice.choice([[], ["LEN"], ["IDX"]]),
        lambda: ["PEXPIRETIME", key],
        lambda: ["DEL", key],
    ])()


@protocols
def test_streams_of_requests(protocol, redis, tarn_port):
    dice = random.Random(SEED + protocol)
    requests = [["FLUSHALL"]] + [random_request(dice) for _ in range(10000)]
    beside_redis.run_stream(redis, tarn_port, requests, ["k", "l", "m", "n"], protocol)
