"""Goal: tarn bench asks what its workloads and data sets say, of the right server, and notices
values that are wrong.

Method: servers that write down every request (bench_servers); shares of 50,000 and more are
compared with the definitions, with 1 % to spare (over 4 standard deviations; the seed is fixed).
Values are compared here, or by the program against servers that change one on purpose.
"""
import collections

import pytest

import datasets
from bench_program import keys_of
from bench_servers import RespServer, bulk, slot_of, slot_ranges

OPERATIONS = 50000
RECORDS = 2000
FAST = ("--connections", 4, "--pipeline", 32)
LOADED = ("--records", RECORDS, "--value-size", 20, "--load")


def measured(server):
    """The log behind the load: (connection, words)."""
    assert all(words[0] == b"SET" for _, words in server.log[:RECORDS])
    return server.log[RECORDS:]


def share(count, total):
    return count / total


# --- mixes ---

@pytest.mark.parametrize("flags, reads", [
    (("--workload", "a"), 0.5), (("--workload", "b"), 0.95), (("--workload", "c"), 1),
    (("--workload", "get"), 1), (("--workload", "set"), 0), (("--workload", "mixed"), 0.95),
    (("--workload", "mixed", "--read-ratio", "0.3"), 0.3),
], ids=lambda f: "-".join(f).strip("-") if isinstance(f, tuple) else "")
def test_mix_of_reads_and_updates(bench, fake, flags, reads):
    """Catches: shares that are swapped or off; updates of records that do not exist; an update
    that writes another value."""
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, *FAST, *LOADED, *flags, "--verify", "--requests",
                   OPERATIONS)
    counts = collections.Counter(words[0] for _, words in measured(server))
    assert sum(counts.values()) == OPERATIONS == result.total_ops
    assert abs(share(counts[b"GET"], OPERATIONS) - reads) < (0.01 if 0 < reads < 1 else 1e-9)
    assert counts[b"GET"] + counts[b"SET"] == OPERATIONS
    assert result.hits == counts[b"GET"] and result.misses == result.wrong == 0
    assert len(server.store) == RECORDS


def test_ycsb_d_inserts_and_reads_the_latest(bench, fake):
    """New keys were never loaded, each comes once, and none is read before its insert was answered
    (a miss). Catches: inserts that overwrite; a key space that ends where it began; reads of what
    is under way."""
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, *FAST, *LOADED, "--workload", "d", "--verify",
                   "--requests", OPERATIONS)
    loaded = {words[1] for _, words in server.log[:RECORDS]}
    inserted, read_new, read_last = [], 0, collections.Counter()
    for _, words in measured(server):
        if words[0] == b"SET":
            inserted.append(words[1])
        else:
            read_new += words[1] not in loaded
            read_last[words[1]] += 1
    assert abs(share(len(inserted), OPERATIONS) - 0.05) < 0.01
    assert len(set(inserted)) == len(inserted) and not loaded & set(inserted)
    assert result.misses == 0 and result.wrong == 0
    # zipfian by age: by the end there are more new records than old ones, and the newest are the
    # most popular, so that nearly all reads are of new ones
    assert share(read_new, OPERATIONS) > 0.6


def test_ycsb_e_scans(bench, fake):
    """A SCAN and then the values of the keys it named: 1 to 100 of them, uniformly. Catches: scans
    of a constant length, values that are not read, the two steps counted as two operations."""
    operations = 10000
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, *FAST, *LOADED, "--workload", "e", "--requests",
                   operations)
    counts = collections.Counter(words[0] for _, words in measured(server))
    assert counts[b"SCAN"] + counts[b"SET"] == operations == result.total_ops
    assert abs(share(counts[b"SET"], operations) - 0.05) < 0.01
    assert counts[b"GET"] + counts[b"MGET"] == counts[b"SCAN"]
    lengths = collections.Counter(int(words[3]) for _, words in measured(server)
                                  if words[0] == b"SCAN")
    assert set(lengths) <= set(range(1, 101)) and len(lengths) > 95
    mean = sum(n * count for n, count in lengths.items()) / counts[b"SCAN"]
    assert abs(mean - 50.5) < 2
    assert result.misses == 0 and result.hits > 30 * counts[b"SCAN"]


def test_ycsb_f_writes_what_it_read(bench, fake):
    """One connection, one request at a time: a SET follows the GET of the same key at once.
    Catches: a write that does not wait for the read, or of another key."""
    operations = 5000
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, "--connections", 1, *LOADED, "--workload", "f",
                   "--requests", operations)
    asked = [words for _, words in measured(server)]
    writes = [i for i, words in enumerate(asked) if words[0] == b"SET"]
    assert all(asked[i - 1] == [b"GET", asked[i][1]] for i in writes)
    assert len(asked) - len(writes) == operations == result.total_ops
    assert abs(share(len(writes), operations) - 0.5) < 0.03


def test_ycsb_f_with_a_pipeline(bench, fake):
    """Every SET has its GET before it on the same connection. Catches: follow-ups that are mixed up
    between the requests of a pipeline, or sent by another connection."""
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, *FAST, *LOADED, "--workload", "f", "--requests",
                   OPERATIONS, "--threads", 2)
    read = collections.Counter()
    writes = 0
    for connection, words in measured(server):
        if words[0] == b"GET":
            read[connection, words[1]] += 1
        else:
            writes += 1
            read[connection, words[1]] -= 1
            assert read[connection, words[1]] >= 0
    assert abs(share(writes, OPERATIONS) - 0.5) < 0.01
    assert result.total_ops == OPERATIONS


@pytest.mark.parametrize("name, most_popular", [("uniform", (0, 0.002)), ("zipfian", (0.05, 0.2)),
                                                ("sequential", (0, 0.001))])
def test_distributions_differ(bench, fake, name, most_popular):
    """The share of the most popular of 2,000 records: 1 / 2000 and a little, 1 / H(2000, 0.99) =
    0.12, 1 / 2000. Catches an option without effect; unit tests know better."""
    server = fake(RespServer, record=True)
    bench("--connect", server.address, *FAST, *LOADED, "--distribution", name, "--requests",
          20000)
    counts = collections.Counter(words[1] for _, words in measured(server))
    low, high = most_popular
    assert low <= share(counts.most_common(1)[0][1], 20000) <= high
    if name == "sequential":
        assert set(counts.values()) == {10}


def test_hotspot(bench, fake):
    """9 of 10 requests go to a tenth of the records."""
    server = fake(RespServer, record=True)
    bench("--connect", server.address, *FAST, *LOADED, "--distribution", "hotspot",
          "--hot-records", 0.1, "--hot-requests", 0.9, "--requests", OPERATIONS)
    counts = collections.Counter(words[1] for _, words in measured(server))
    hot = sum(count for _, count in counts.most_common(RECORDS // 10))
    assert abs(share(hot, OPERATIONS) - 0.9) < 0.01


def test_missing_keys(bench, fake):
    """Catches: missing keys that exist, a share that is off, misses counted as errors."""
    server = fake(RespServer, record=True)
    result = bench("--connect", server.address, *FAST, *LOADED, "--missing-ratio", 0.25,
                   "--requests", OPERATIONS, "--verify")
    missing = [words[1] for _, words in measured(server) if words[1] not in server.store]
    assert abs(share(len(missing), OPERATIONS) - 0.25) < 0.01
    assert result.misses == result.misses_expected == len(missing)
    assert result.hits + result.misses == result.total_ops == OPERATIONS
    assert result.wrong == 0


# --- --verify ---

def wrong_for_one_key(change):
    """An answer() that gives change(store, key) for one of the keys, chosen at the first GET."""
    def answer(server, connection, words):
        if words[0] != b"GET":
            return None
        if not hasattr(server, "chosen"):
            server.chosen = sorted(server.store)[len(server.store) // 2]
        if words[1] != server.chosen:
            return None
        return bulk(change(server.store, words[1]))
    return answer


def flipped_last_bit(store, key):
    return store[key][:-1] + bytes([store[key][-1] ^ 1])


WRONG = {
    "first byte": lambda store, key: bytes([store[key][0] ^ 1]) + store[key][1:],
    "last byte": flipped_last_bit,
    "cut short": lambda store, key: store[key][:-1],
    "empty": lambda store, key: b"",
    "too long": lambda store, key: store[key] + b"x",
    "of another key": lambda store, key: store[min(other for other in store if other != key)],
}


@pytest.mark.parametrize("name", list(WRONG))
def test_verify_catches_a_wrong_value(bench, fake, name):
    """Catches: a comparison of sizes only, of a prefix only, of presence only."""
    server = fake(RespServer, answer=wrong_for_one_key(WRONG[name]))
    asked = ("--connect", server.address, *FAST, *LOADED, "--distribution", "sequential",
             "--requests", RECORDS)
    result = bench(*asked, "--verify", status=1)
    assert result.wrong == 1 and result.hits == RECORDS
    assert server.chosen.decode() in result.finished.out + result.finished.err
    assert result.finished.err.startswith("tarn bench: ") and result.finished.err.count("\n") == 1
    # without --verify only presence is looked at
    assert bench(*asked).wrong == 0


def test_verify_catches_one_key_in_ten_thousand(bench, fake):
    """Uniform choices, as a user would have them, over 10,000 records of the default size: the one
    wrong record is asked for about 6 times in 60,000, and not at all in 0.2 % of all seeds."""
    server = fake(RespServer, answer=wrong_for_one_key(flipped_last_bit))
    result = bench("--connect", server.address, *FAST, "--records", 10000, "--load", "--verify",
                   "--requests", 60000, status=1)
    assert 1 <= result.wrong <= 30
    assert result.hits == 60000 and result.total_ops == 60000


def test_verify_looks_at_every_value_of_a_batch(bench, fake):
    """Catches: only the first value of an MGET compared; values compared with their neighbours'."""
    def answer(server, connection, words):
        if words[0] != b"MGET":
            return None
        values = [server.store[key] for key in words[1:]]
        if server.counts["MGET"] == 7:
            values[-1] = flipped_last_bit(server.store, words[-1])
        return b"*%d\r\n" % len(values) + b"".join(map(bulk, values))
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, *LOADED, "--batch", 25, "--verify", "--requests",
                   100, status=1)
    assert result.wrong == 1


def test_verify_catches_answers_that_are_swapped(bench, fake):
    """The right values in the wrong order, once. Catches: answers matched by anything but order."""
    held = []

    def answer(server, connection, words):
        if words[0] != b"GET" or server.counts["GET"] not in (520, 521):
            return None
        held.append(bulk(server.store[words[1]]))
        return b"" if len(held) == 1 else held[1] + held[0]
    server = fake(RespServer, answer=answer)
    result = bench("--connect", server.address, "--connections", 1, "--pipeline", 50, *LOADED,
                   "--distribution", "sequential", "--verify", "--requests", RECORDS, status=1)
    assert len(held) == 2 and result.wrong == 2


def test_verify_catches_a_missing_key_that_is_there(bench, fake):
    """A key that nobody wrote has a value. Wrong even without --verify."""
    server = fake(RespServer, answer=lambda server, connection, words:
                  bulk(server.store.get(words[1], b"made up")) if words[0] == b"GET" else None)
    result = bench("--connect", server.address, *LOADED, "--missing-ratio", 0.1, "--requests", 1000,
                   status=1)
    assert result.wrong > 50 and result.misses == 0


# --- several servers ---

@pytest.mark.parametrize("batch", [1, 20])
def test_three_servers_share_the_keys(bench, fake, batch):
    """Catches: a key asked of another server than it was written to; ranges that are not those of
    Redis Cluster; a batch that is sent whole to one server."""
    assert slot_of(b"123456789") == 0x31c3  # the specification's own example
    assert slot_ranges(3) == [range(0, 5461), range(5461, 10923), range(10923, 16384)]
    servers = [fake(RespServer) for _ in range(3)]
    records = 20000
    addresses = ",".join(server.address for server in servers)
    result = bench("--connect", addresses, "--records", records, "--load", "--distribution",
                   "sequential", "--batch", batch, "--requests", records // batch, "--connections",
                   3, "--pipeline", 8, "--verify")
    assert result.hits == result.total_ops == records
    assert result.misses == result.wrong == result.errors == 0
    assert sum(len(server.store) for server in servers) == records
    for server, slots in zip(servers, slot_ranges(3)):
        assert all(slot_of(key) in slots for key in server.store)
        assert abs(len(server.store) / records - 1 / 3) < 0.02


def test_read_modify_write_stays_with_its_server(bench, fake):
    """Catches: the second step sent to the first server of the list."""
    servers = [fake(RespServer, record=True) for _ in range(3)]
    bench("--connect", ",".join(server.address for server in servers), *LOADED, "--workload", "f",
          "--requests", 5000, "--connections", 3)
    for server, slots in zip(servers, slot_ranges(3)):
        assert {slot_of(words[1]) in slots for _, words in server.log} == {True}
        assert server.counts["GET"] > 1000 and server.counts["SET"] > 1000


# --- keys of a data file ---

def plain_file(data_file, count=3000):
    """Records without a duplicate; values of all sizes, some empty."""
    records = [(datasets.uuid_key(i), datasets.printable(str(i), 300)[:i % 300])
               for i in range(count)]
    return data_file("text", records)


def test_keys_of_a_file(bench, fake, data_file):
    """Every key asked for is the file's. Catches: keys made up, cut, or with their separator."""
    data = plain_file(data_file)
    server = fake(RespServer, store=dict(data.records), record=True)
    result = bench("--connect", server.address, *keys_of(data), *FAST, "--requests",
                   20000, "--verify")
    asked = {words[1] for _, words in server.log}
    assert asked <= set(data.keys()) and len(asked) > 2900
    assert result.hits == 20000 and result.misses == result.wrong == 0


def test_keys_of_a_file_in_order(bench, fake, data_file):
    """Each exactly once, also with several threads. Catches: a last or first record left out."""
    data = plain_file(data_file)
    server = fake(RespServer, store=dict(data.records), record=True)
    for threads in (1, 3):
        server.reset()
        bench("--connect", server.address, *keys_of(data), "--requests", 3000,
              "--distribution", "sequential", "--threads", threads, "--connections", 5,
              "--pipeline", 3)
        asked = collections.Counter(words[1] for _, words in server.log)
        if threads == 1:
            assert set(asked) == set(data.keys()) and set(asked.values()) == {1}
        else:  # threads share the requests as they come, and each goes its own way round
            assert set(asked) <= set(data.keys())


def test_loading_a_file_into_a_server(bench, fake, data_file):
    data = plain_file(data_file)
    server = fake(RespServer)
    bench("--connect", server.address, *keys_of(data), "--load-only")
    assert server.store == dict(data.records)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_tarn_serves_the_file(bench, kind, text_data, binary_data, text_server, binary_server):
    """Every record of the standard files, the nasty ones and 10 MB values included. Catches: views
    of the file that are off, a format that is not handed on."""
    data, started = {"text": (text_data, text_server), "binary": (binary_data, binary_server)}[kind]
    result = bench("--connect", "127.0.0.1:%d" % started.port, *keys_of(data), "--verify",
                   "--distribution", "sequential", "--requests", len(data), "--connections", 3,
                   "--pipeline", 4)
    assert result.hits == result.total_ops == len(data)
    assert result.misses == result.wrong == result.errors == 0
    assert result.value_bytes == sum(map(len, data.answers.values()))


def test_missing_keys_of_a_file(bench, data_file, server):
    data = plain_file(data_file)
    started = server(data)
    result = bench("--connect", "127.0.0.1:%d" % started.port, *keys_of(data), *FAST,
                   "--missing-ratio", 0.25, "--requests", 40000, "--verify")
    assert abs(result.misses_expected / 40000 - 0.25) < 0.01
    assert result.misses == result.misses_expected and result.wrong == 0


def test_verify_catches_another_file(bench, server, data_file):
    """The server has a file in which one value of 3,000 differs."""
    data = plain_file(data_file)
    changed = list(data.records)
    key, value = changed[1234]
    changed[1234] = (key, flipped_last_bit(dict(changed), key))
    started = server(data_file("text", changed, name="changed.text"))
    result = bench("--connect", "127.0.0.1:%d" % started.port, *keys_of(data),
                   "--distribution", "sequential", "--requests", 3000, "--verify", status=1)
    assert result.wrong == 1
