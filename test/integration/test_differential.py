"""Goal: tarn answers like Redis 7, byte for byte: values, errors, shapes, in RESP2 and RESP3.

Method: the same records in a redis-server and in tarn; every conversation below is held with both
on connections of their own, and the raw replies are compared. Where tarn differs on purpose the
conversation stands in DIFFERENT with the reason and tarn's own reply. Redis's list of commands
tells which ones to try: each must be known, ask for the same number of arguments, and be refused
as a write if it is one.
"""
import pytest

import conftest
import datasets
import resp
from beside_redis import RawConnection, running_redis, split, talk

RECORDS = [
    (b"text", b"hello world"),
    (b"empty", b""),
    (b"", b"value of the empty key"),
    (b"number", b"12345"),
    (b"negative", b"-7"),
    (b"zero", b"0"),
    (b"padded", b"007"),
    (b"plus", b"+7"),
    (b"int64max", b"9223372036854775807"),
    (b"int64min", b"-9223372036854775808"),
    (b"int64over", b"9223372036854775808"),
    (b"bytes44", b"x" * 44),
    (b"bytes45", b"x" * 45),
    (b"binary", bytes(range(256))),
    (b"new\nline\r\n", b"a\r\nb"),
    (b"\x00nul", b"\x00"),
    (b"20k", datasets.printable("20k", 20 * 1024)),
    (b"user:1", b"a"),
    (b"user:2", b"b"),
    (b"user:10", b"c"),
    (b"k[1]", b"brackets"),
    (b"star*", b"star"),
]

LONG = b"x" * 300

# Conversations: requests in order on one connection. A string is split at spaces.
SAME = [
    # values
    ["GET text"], ["GET nosuch"], ["GET empty"], [[b"GET", b""]], [[b"GET", b"binary"]],
    [[b"GET", b"new\nline\r\n"]], [[b"GET", b"\x00nul"]], ["get text"], ["GET 20k"],
    ["GET"], ["GET a b"],
    [["GET", LONG * 10]],
    ["MGET text nosuch empty number"], ["MGET nosuch"], ["MGET"],
    [["MGET"] + ["text", "nosuch", "zero"] * 100],
    ["EXISTS text"], ["EXISTS nosuch"], ["EXISTS text text nosuch"], ["EXISTS"],
    [["EXISTS"] + ["text", "nosuch"] * 100],
    ["TOUCH text text nosuch"], ["TOUCH"],
    ["STRLEN text"], ["STRLEN nosuch"], ["STRLEN empty"], ["STRLEN binary"], ["STRLEN"],
    ["STRLEN a b"],
    ["TYPE text"], ["TYPE nosuch"], ["TYPE"],
    ["TTL text"], ["TTL nosuch"], ["PTTL text"], ["PTTL nosuch"], ["TTL"], ["PTTL a b"],
    ["EXPIRETIME text"], ["EXPIRETIME nosuch"], ["PEXPIRETIME text"], ["PEXPIRETIME nosuch"],
    # ranges
    *[["%s text %s %s" % (name, start, end)] for name in ("GETRANGE", "SUBSTR")
      for start in (-100, -11, -5, -1, 0, 3, 10, 11, 100)
      for end in (-100, -12, -3, -1, 0, 4, 10, 11, 9223372036854775807)],
    ["GETRANGE nosuch 0 -1"], ["GETRANGE empty 0 -1"], ["GETRANGE empty 0 0"],
    ["GETRANGE 20k 100 19000"],
    ["GETRANGE text -9223372036854775808 9223372036854775807"],
    ["GETRANGE text a 1"], ["GETRANGE text 0 b"], ["GETRANGE nosuch a b"], ["GETRANGE text 0"],
    ["GETRANGE text 01 2"], ["GETRANGE text +1 2"], [["GETRANGE", "text", " 1", "2"]],
    ["GETRANGE text 9223372036854775808 1"], [["GETRANGE", "text", "", "2"]],
    ["SUBSTR text 0"],
    # bits
    ["GETBIT text 1"], ["GETBIT text 87"], ["GETBIT text 88"], ["GETBIT nosuch 0"],
    ["GETBIT text -1"], ["GETBIT text 4294967296"], ["GETBIT 20k 100000"],
    ["BITCOUNT text"], ["BITCOUNT 20k 100 -100"], ["BITCOUNT 20k 1001 -1001 BIT"],
    ["BITPOS text 1"], ["BITPOS binary 0 8 -1"], ["BITPOS 20k 1 77777 -1 BIT"],
    ["BITFIELD_RO text GET u8 0 GET i16 #2 GET u63 80", "BITFIELD_RO nosuch GET u8 0"],
    ["BITFIELD_RO text SET u8 0 1"],
    # keyspace
    ["DBSIZE"], ["DBSIZE x"], ["RANDOMKEY x"],
    ["KEYS user:1"], ["KEYS nosuch*"], ["KEYS user:[2-9]"], ["KEYS"], ["KEYS a b"],
    ["KEYS k\\[1\\]"], ["KEYS star\\*"], ["KEYS ??xt"], ["KEYS [^u]ser:1"], ["KEYS te[x"],
    ["KEYS use[a-r]:2"], [["KEYS", ""]],
    ["SCAN 0 COUNT 1000 MATCH user:1"], ["SCAN 0 COUNT 1000 MATCH nosuch"],
    ["SCAN 0 COUNT 1000 TYPE hash"], ["SCAN 0 COUNT 1000 MATCH user:2 TYPE string"],
    ["SCAN 0 COUNT 1000 MATCH user:2 TYPE STRING"], ["SCAN 0 COUNT 1000 MATCH zero MATCH text"],
    ["SCAN"], ["SCAN x"], ["SCAN 1x"], ["SCAN 99999999999999999999999"], ["SCAN 0 COUNT"],
    ["SCAN 0 COUNT x"], ["SCAN 0 COUNT 0"], ["SCAN 0 COUNT -5"], ["SCAN 0 FOO"],
    ["SCAN 0 FOO bar"], ["SCAN 0 MATCH"], ["SCAN 0 TYPE"], [["SCAN", " 0"]], ["SCAN x FOO"],
    ["SCAN 0 COUNT 99999999999999999999"],
    ["scan +0 count 1000 match text"], ["scan 000 count 1000 match text"],
    [["scan", "", "count", "1000", "match", "text"]],
    *[["OBJECT ENCODING " + key.decode()] for key, _ in RECORDS
      if key.isalnum()],
    ["OBJECT ENCODING nosuch"], ["OBJECT ENCODING"], ["OBJECT"], ["OBJECT nosuch x"],
    ["OBJECT FREQ text"], ["OBJECT FREQ nosuch"], ["OBJECT IDLETIME nosuch"],
    ["OBJECT REFCOUNT text"], ["OBJECT REFCOUNT nosuch"], ["OBJECT HELP x"],
    ["MEMORY USAGE nosuch"], ["MEMORY USAGE"], ["MEMORY USAGE text SAMPLES"],
    ["MEMORY USAGE text FOO 1"], ["MEMORY USAGE text SAMPLES x"],
    ["MEMORY USAGE text SAMPLES -1"], ["MEMORY USAGE nosuch SAMPLES 5"], ["MEMORY"],
    ["MEMORY nosuch"], ["MEMORY PURGE"],
    # connection
    ["PING"], ["ping"], ["PING hello"], ["PING a b"], [["PING", ""]],
    ["ECHO hello"], ["ECHO"], ["ECHO a b"], [["ECHO", b"\r\n\x00"]],
    ["SELECT 0"], ["SELECT 1"], ["SELECT -1"], ["SELECT x"], ["SELECT 99999999999"], ["SELECT"],
    ["SELECT 2147483648"], ["SELECT -2147483649"],
    ["QUIT"], ["QUIT a b c"], ["RESET"], ["RESET x"],
    ["CLIENT SETNAME me", "RESET", "CLIENT GETNAME"],
    ["AUTH x"], ["AUTH default x"], ["AUTH nobody x"], ["AUTH"], ["AUTH a b c"],
    ["HELLO 1"], ["HELLO 4"], ["HELLO x"], ["HELLO 2 FOO"], ["HELLO 2 AUTH"],
    ["HELLO 2 AUTH a"], ["HELLO 2 AUTH nobody x"], ["HELLO 2 SETNAME"],
    [["HELLO", "2", "SETNAME", "a b"]], ["HELLO 99999999999999999999"],
    ["TIME x"], ["WAIT 0 0"], ["WAIT 1 1"], ["WAIT a 0"], ["WAIT 0 b"], ["WAIT 0 -1"], ["WAIT a b"], ["WAIT"],
    ["WAIT 0 99999999999999999999"],
    ["WAIT -1 0"], ["MULTI", "WAIT 1 0", "MONITOR", "CLIENT PAUSE 0", "EXEC"], ["MONITOR x"],
    ["CLIENT PAUSE"], ["CLIENT PAUSE x"], ["CLIENT PAUSE -1"], ["CLIENT PAUSE 0 x"],
    ["CLIENT PAUSE 0 ALL x"], ["CLIENT PAUSE 0 WRITE"], ["CLIENT PAUSE 0 all"],
    ["CLIENT UNPAUSE"], ["CLIENT UNPAUSE x"],
    ["CLIENT UNBLOCK"], ["CLIENT UNBLOCK x"], ["CLIENT UNBLOCK 1 x"], ["CLIENT UNBLOCK 0"],
    ["CLIENT UNBLOCK 999999999"], ["CLIENT UNBLOCK -1 ERROR"], ["CLIENT UNBLOCK 1 TIMEOUT x"],
    # one user, no scripts, no modules
    ["ACL WHOAMI"], ["ACL WHOAMI x"], ["ACL LIST"], ["ACL USERS"], ["ACL CAT"],
    ["ACL CAT nosuch"], ["ACL CAT a b"], ["ACL GETUSER default"], ["ACL GETUSER nosuch"],
    ["ACL GETUSER"], ["ACL GENPASS 0"], ["ACL GENPASS 4097"],
    ["ACL GENPASS x"], ["ACL GENPASS 1 2"], ["ACL nosuch"], ["ACL"],
    ["FUNCTION LIST"], ["FUNCTION LIST WITHCODE"], ["FUNCTION LIST LIBRARYNAME a WITHCODE"],
    ["FUNCTION LIST LIBRARYNAME"], ["FUNCTION LIST WITHCODE WITHCODE"], ["FUNCTION LIST x"],
    ["FUNCTION nosuch"], ["SCRIPT FLUSH"], ["SCRIPT FLUSH sync"], ["SCRIPT FLUSH ASYNC"],
    ["SCRIPT FLUSH x"], ["SCRIPT FLUSH SYNC x"], ["MODULE LIST"], ["MODULE LIST x"],
    ["DEBUG SLEEP 0"], ["DEBUG"], ["MULTI", "DEBUG SLEEP 0", "EXEC"],
    # CLIENT
    ["CLIENT"], ["CLIENT nosuch"], [["CLIENT", LONG]], ["CLIENT GETNAME"],
    ["CLIENT SETNAME me", "CLIENT GETNAME", [b"CLIENT", b"SETNAME", b""], "CLIENT GETNAME"],
    [["CLIENT", "SETNAME", "a b"]], [["CLIENT", "SETNAME", b"a\n"]], ["CLIENT SETNAME"],
    ["CLIENT SETNAME a b"], ["CLIENT ID x"], ["CLIENT INFO x"],
    ["CLIENT NO-EVICT on"], ["CLIENT NO-EVICT off"], ["CLIENT NO-EVICT x"], ["CLIENT NO-EVICT"],
    ["CLIENT REPLY x"], ["CLIENT REPLY"], ["CLIENT REPLY ON"],
    ["CLIENT LIST ID x"], ["CLIENT LIST ID 999999999"], ["CLIENT LIST ID 0"],
    ["CLIENT LIST ID -1"], ["CLIENT LIST TYPE pubsub"], ["CLIENT LIST TYPE x"],
    ["CLIENT LIST x"], ["CLIENT LIST TYPE"], ["CLIENT LIST ID"], ["CLIENT LIST TYPE replica"],
    ["CLIENT LIST TYPE normal x"],
    ["CLIENT KILL 1.2.3.4:5"], ["CLIENT KILL"], ["CLIENT KILL ID x"], ["CLIENT KILL ID 0"],
    ["CLIENT KILL ID -1"], ["CLIENT KILL ID 999999999"], ["CLIENT KILL TYPE x"],
    ["CLIENT KILL TYPE pubsub"], ["CLIENT KILL USER nobody"], ["CLIENT KILL ADDR 1.2.3.4:5"],
    ["CLIENT KILL LADDR 1.2.3.4:5"], ["CLIENT KILL SKIPME x"], ["CLIENT KILL FOO x"],
    ["CLIENT KILL ID 999999999 SKIPME"], ["CLIENT KILL ID 999999999 SKIPME no"],
    ["CLIENT KILL ID 999999999 TYPE normal USER default"],
    ["CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip"],
    # COMMAND
    ["COMMAND nosuch"], ["COMMAND COUNT x"], ["COMMAND INFO nosuch"],
    ["COMMAND INFO get"], ["COMMAND INFO GET"], ["COMMAND INFO mget nosuch exists"],
    ["COMMAND INFO client|setname"], ["COMMAND INFO get|x"], ["COMMAND INFO hello auth quit"],
    ["COMMAND INFO shutdown"], ["COMMAND INFO object|encoding"],
    ["COMMAND DOCS nosuch"], ["COMMAND LIST x"], ["COMMAND LIST FILTERBY"],
    ["COMMAND LIST FILTERBY PATTERN"], ["COMMAND LIST FILTERBY FOO x"],
    ["COMMAND LIST FILTERBY PATTERN nosuch*"], ["COMMAND LIST FILTERBY PATTERN getran*"],
    ["COMMAND LIST FILTERBY PATTERN GETRAN*"], ["COMMAND LIST FILTERBY MODULE x"],
    ["COMMAND LIST FILTERBY ACLCAT nosuch"],
    ["COMMAND INFO set"], ["COMMAND GETKEYS SET a b"], ["COMMAND GETKEYS MSET a b c d"],
    ["COMMAND GETKEYSANDFLAGS SET a b"], ["COMMAND GETKEYSANDFLAGS SET a b EX 1 get"],
    ["COMMAND GETKEYSANDFLAGS SET get get"], ["COMMAND GETKEYSANDFLAGS MSETNX a b c d"],
    ["COMMAND GETKEYSANDFLAGS LCS a b"], ["COMMAND GETKEYS LCS a b LEN"],
    ["COMMAND GETKEYS GET a"], ["COMMAND GETKEYS MGET a b c"], ["COMMAND GETKEYS nosuch a"],
    ["COMMAND GETKEYS PING a"], ["COMMAND GETKEYS GET a b"], ["COMMAND GETKEYS"],
    ["COMMAND GETKEYS GET"], ["COMMAND GETKEYS GETRANGE a"],
    ["COMMAND GETKEYS OBJECT ENCODING k"], ["COMMAND GETKEYS MEMORY USAGE k SAMPLES 3"],
    ["COMMAND GETKEYSANDFLAGS GET a"], ["COMMAND GETKEYSANDFLAGS EXISTS a b"],
    # CONFIG
    ["CONFIG"], ["CONFIG GET"], ["CONFIG GET nosuch"], ["CONFIG GET save"],
    ["CONFIG GET SAVE"], ["CONFIG GET appendonly"], ["CONFIG GET databases"],
    ["CONFIG GET maxmemory"], ["CONFIG GET maxmemory-policy"], ["CONFIG GET requirepass"],
    ["CONFIG GET timeout"], ["CONFIG GET slowlog-max-len slowlog-max-len"],
    ["CONFIG GET slowlog-log-slower-than"], ["CONFIG GET clus*-enabled"],
    ["CONFIG SET"], ["CONFIG SET timeout"], ["CONFIG SET timeout 1 x"], ["CONFIG SET foo bar"],
    ["CONFIG SET timeout 5 databases 3"], ["CONFIG SET timeout 5 timeout 6"],
    ["CONFIG SET timeout 5 nosuch 6"], ["CONFIG GET timeout"],
    ["CONFIG SET timeout 100 slowlog-max-len 64", "CONFIG GET timeout",
     "CONFIG GET slowlog-max-len", "config set TIMEOUT 0 slowlog-max-len 128",
     "CONFIG GET timeout"],
    ["CONFIG RESETSTAT"], ["CONFIG RESETSTAT x"],
    [["CONFIG", "SET", LONG, "x"]], [["LATENCY", "GRAPH", LONG]], [["CLIENT", "KILL", "USER", LONG]],
    # a password while it is set
    ["CONFIG SET requirepass foo", "CONFIG GET requirepass", "GET text", "AUTH", "AUTH bar",
     "AUTH default bar", "AUTH nobody foo", ["AUTH", ""], "AUTH fo", "AUTH fooo", "GET text",
     "RESET", "GET text", "PING", "nosuch", "GET", "SET a b c d e f g h", "CLIENT ID", "HELLO",
     "HELLO 2 AUTH default bar", "HELLO 3 AUTH nobody foo", "HELLO 4", "AUTH default foo",
     "GET text", "RESET", "AUTH foo", "AUTH bar", "GET text",
     ["CONFIG", "SET", "requirepass", ""], "AUTH foo", "AUTH default any", "RESET", "GET text"],
    # server
    ["INFO nosuch"], ["SLOWLOG"], ["SLOWLOG nosuch"], ["SLOWLOG GET x"], ["SLOWLOG GET -2"],
    ["SLOWLOG GET 1 2"], ["SLOWLOG LEN x"], ["SLOWLOG RESET", "SLOWLOG LEN"],
    ["SLOWLOG RESET", "SLOWLOG GET"], ["SLOWLOG GET 0"],
    ["LATENCY"], ["LATENCY nosuch"], ["LATENCY LATEST"], ["LATENCY HISTORY x"],
    ["LATENCY HISTORY"], ["LATENCY RESET"], ["LATENCY RESET x y"], ["LATENCY GRAPH x"],
    ["LATENCY HISTOGRAM nosuch"], ["LATENCY LATEST x"],
    ["CONFIG RESETSTAT", "LATENCY HISTOGRAM mget"],
    ["SHUTDOWN FOO"], ["SHUTDOWN ABORT"], ["SHUTDOWN SAVE NOSAVE"], ["SHUTDOWN ABORT NOW"],
    # transactions
    ["MULTI", "GET text", "MGET text nosuch", "EXEC", "GET text"], ["MULTI", "EXEC", "EXEC"],
    ["EXEC"], ["DISCARD"], ["MULTI", "MULTI", "PING", "EXEC"], ["MULTI x"],
    ["MULTI", "PING", "DISCARD", "PING", "EXEC"], ["MULTI", "nosuch", "PING", "EXEC", "PING"],
    ["MULTI", "GET", "PING", "EXEC"], ["MULTI", "WATCH a", "EXEC"],
    ["MULTI", "SHUTDOWN", "EXEC"], ["MULTI", "PING", "RESET", "EXEC"], ["MULTI", "PING", "QUIT"],
    ["MULTI", "GETRANGE text a b", "GET text", "SELECT 1", "EXEC"],
    ["MULTI", "KEYS user:1", "GET 20k", "SCAN 0 COUNT 1000 MATCH text", "GET 20k", "KEYS zero",
     "COMMAND LIST FILTERBY PATTERN getran*", "EXEC", "GET 20k"],
    ["MULTI", "CLIENT SETNAME me", "CLIENT GETNAME", "CLIENT nosuch", "EXEC", "CLIENT GETNAME"],
    ["WATCH text", "MULTI", "GET text", "EXEC"], ["WATCH"], ["UNWATCH"],
    ["WATCH a b c", "UNWATCH", "MULTI", "UNWATCH", "EXEC"], ["WATCH text", "DISCARD", "EXEC"],
    ["MULTI", ["GET", ""], ["ECHO", LONG * 100], "EXEC"],
    ["MULTI"] + ["GET text", "GET nosuch"] * 100 + ["EXEC"],
    # what there is not
    ["foo"], ["FOO a b"], [["foo", LONG, LONG]], [[LONG]], [["foo"] + ["x" * 10] * 30],
    [[b"a\r\nb", b"c\r\nd"]], [[b"a\x00b", b"c\x00d", b"e"]], [[b""]], [["", ""]],
    [["foo", "x" * 127, "y"]], [["foo", "x" * 124, "y" * 50]], [["foo", "x" * 126, "yz"]],
    [["GET\x00", "a"]], ["CLUSTER INFO"], ["READONLY"], ["READWRITE"], ["ASKING"],
]

# Differences on purpose: conversation, what tarn answers to its last request, and why.
DIFFERENT = [
    (["OBJECT REFCOUNT zero"], b":1\r\n", "Redis shares small integers; tarn shares nothing"),
    (["CONFIG REWRITE"],
     b"-ERR CONFIG REWRITE is not supported: tarn does not write its configuration file\r\n",
     "tarn's configuration file belongs to its user"),
    (["CONFIG SET timeout -1"],
     b"-ERR CONFIG SET failed (possibly related to argument 'timeout') - "
     b"-1 is not a whole number\r\n", "the reason after the dash is the option parser's"),
    (["HGET a b"], b"-ERR tarn does not serve 'hget': it holds strings only\r\n",
     "Redis has hashes"),
    (["SUBSCRIBE a"], b"-ERR tarn does not serve 'subscribe': it has no channels\r\n",
     "Redis has channels"),
    (["ACL SETUSER x"], b"-ERR tarn does not serve 'acl|setuser': it has one user, default\r\n",
     "there is one user"),
    (["CLIENT TRACKING ON"], b"-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.\r\n",
     "not in an immutable data set"),
    (["MULTI", "SET a b", "EXEC"],
     b"-EXECABORT Transaction discarded because of previous errors.\r\n", "SET is refused"),
    (["MULTI", "EXEC x", "EXEC"],
     b"-EXECABORT Transaction discarded because of previous errors.\r\n",
     "Redis discards at once, with the reason in another form"),
    (["COMMAND INFO hset"], None, "COMMAND describes what is served"),
    (["COMMAND GETKEYS HGET a b"], b"-ERR Invalid command specified\r\n",
     "COMMAND describes what is served"),
]


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """Port of a redis-server that holds RECORDS."""
    with running_redis(tmp_path_factory.mktemp("redis")) as port:
        with RawConnection(port) as connection:
            for key, value in RECORDS:
                assert connection.command("SET", key, value) == b"+OK\r\n"
        yield port


@pytest.fixture(scope="module")
def tarn_port(tmp_path_factory):
    """Port of a tarn that serves RECORDS."""
    path = tmp_path_factory.mktemp("tarn") / "data"
    dataset = datasets.Dataset(path, "binary", RECORDS).write()
    server = conftest.Server(dataset.path, ["--threads", "2"] + dataset.flags)
    assert server.ready, server.log.text()
    yield server.port
    server.stop()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("conversation", SAME, ids=lambda c: repr(c)[:60])
def test_same_reply(conversation, protocol, redis, tarn_port):
    assert talk(tarn_port, conversation, protocol) == talk(redis, conversation, protocol)


@pytest.mark.parametrize("conversation,wanted,reason", DIFFERENT, ids=lambda x: repr(x)[:60])
def test_difference_on_purpose(conversation, wanted, reason, redis, tarn_port):
    replies = talk(tarn_port, conversation)
    if wanted is not None:
        assert replies[-1] == wanted
    assert replies != talk(redis, conversation), "no difference any more: move it to SAME"


def info_of_all(port):
    """{full name: COMMAND INFO's reply} of all commands and subcommands."""
    with resp.Connection(port) as connection:
        rows = {}
        for row in connection.command("COMMAND"):
            rows[bytes(row[0])] = row
            for sub in row[9]:
                rows[bytes(sub[0])] = sub
        return rows


def test_command_info_agrees(redis, tarn_port):
    """Arity, flags, keys, categories, tips and key specs of every command both have. (A
    container's own list of subcommands differs: tarn has fewer.)"""
    ours, theirs = info_of_all(tarn_port), info_of_all(redis)
    shared = set(ours) & set(theirs)
    assert len(shared) > 60
    different = {}
    for name in sorted(shared):
        for index in range(1, 9):
            a, b = ours[name][index], theirs[name][index]
            if index in (2, 6, 7):
                a, b = sorted(a), sorted(b)
            if a != b:
                different[name, index] = (a, b)
    # Redis logs what EXEC executes, tarn EXEC itself.
    assert list(different) == [(b"exec", 2)]
    new = {b"reload", b"tarn.backup",  # ours, and Redis 7.2's:
           b"client|setinfo", b"client|no-touch", b"waitaof"}
    assert set(ours) - set(theirs) == new


def test_every_command_of_redis_is_known(redis, tarn_port):
    """Too few arguments are told alike; with enough, a write is refused as one, and whatever else
    is not served gets an error of class ERR."""
    served = info_of_all(tarn_port)
    skipped = {b"quit", b"shutdown", b"monitor", b"sync", b"psync"}  # they end the conversation
    writes = 0
    for name, row in info_of_all(redis).items():
        words = name.split(b"|")
        arity, flags = row[1], row[2]
        if words[0] in skipped or (len(words) > 1 and words[0] not in served):
            continue
        if len(words) > 1 and name not in served:
            continue
        if abs(arity) > len(words):
            assert talk(tarn_port, [words]) == talk(redis, [words]), name
        if name in served and b"write" not in served[name][2]:
            continue
        enough = words + [b"1"] * (abs(arity) - len(words))
        reply = talk(tarn_port, [enough])[0]
        if b"write" in flags:
            assert reply == b"-READONLY You can't write against an immutable data set.\r\n", name
            writes += 1
        elif words[0] not in (b"xgroup", b"function"):  # writes only in their subcommands
            assert reply.startswith(b"-ERR "), name
            assert b"unknown command" not in reply, name
    assert writes > 90


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_scan_walks_all_keys(count, tarn_port):
    for pattern in (None, "user:*"):
        with resp.Connection(tarn_port) as connection:
            cursor, keys = b"0", []
            while True:
                args = ["SCAN", cursor, "COUNT", count]
                if pattern:
                    args += ["MATCH", pattern]
                cursor, some = connection.command(*args)
                keys += some
                if cursor == b"0":
                    break
            wanted = [k for k, _ in RECORDS if not pattern or k.startswith(b"user:")]
            assert sorted(keys) == sorted(wanted)


def test_keys_and_random_keys(tarn_port):
    wanted = sorted(key for key, _ in RECORDS)
    with resp.Connection(tarn_port) as connection:
        assert sorted(connection.command("KEYS", "*")) == wanted
        for _ in range(50):
            assert connection.command("RANDOMKEY") in wanted


def test_hello_has_redis_fields(redis, tarn_port):
    """The version and the client's id differ; all else is the same."""
    def fields(port, request):
        with RawConnection(port) as connection:
            lines = connection.command(*request.split()).split(b"\r\n")
        version, number = lines.index(b"version"), lines.index(b"id")
        del lines[number + 1], lines[version + 1:version + 3]
        return lines
    for request in ("HELLO", "HELLO 2", "HELLO 3", "HELLO 3 SETNAME me", "HELLO 3 AUTH default x"):
        assert fields(tarn_port, request) == fields(redis, request)


def test_client_reply_modes(redis, tarn_port):
    """OFF, SKIP and ON: which replies come at all. The requests go at once; the replies that come
    before the last one's are compared."""
    conversations = [
        ["CLIENT REPLY SKIP", "GET text", "PING end"],
        ["CLIENT REPLY SKIP", "nosuch", "GET number", "PING end"],
        ["CLIENT REPLY OFF", "GET text", "PING", "CLIENT REPLY ON", "PING end"],
        ["CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING end"],
        ["CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "PING", "PING end"],
        ["CLIENT REPLY SKIP", "CLIENT REPLY ON", "GET text", "PING end"],
        ["CLIENT REPLY OFF", "RESET", "GET text", "PING end"],
        ["CLIENT REPLY SKIP", "MGET text 20k", "GET 20k", "PING end"],
    ]

    def replies(port, conversation):
        with RawConnection(port) as connection:
            connection.connection.sendall(b"".join(resp.encode(*split(r)) for r in conversation))
            seen = []
            while True:
                seen.append(connection.read())
                if seen[-1] in (b"$3\r\nend\r\n", b""):
                    return seen

    for conversation in conversations:
        assert replies(tarn_port, conversation) == replies(redis, conversation), conversation


def test_help_has_redis_layout(redis, tarn_port):
    """The texts are tarn's own; first line and last two, and the indentation, are Redis's."""
    for container in ("CLIENT", "COMMAND", "CONFIG", "LATENCY", "MEMORY", "OBJECT", "SLOWLOG"):
        ours = resp_lines(talk(tarn_port, [container + " HELP"])[0])
        theirs = resp_lines(talk(redis, [container + " HELP"])[0])
        assert ours[0] == theirs[0]
        assert ours[-2] == theirs[-2] == b"HELP"
        assert all(line.startswith(b"    ") for line in ours[2::2])


def resp_lines(reply):
    return [line[1:] for line in reply.split(b"\r\n")[1:-1]]


def test_slowlog_keeps_no_password(tarn_port):
    with resp.Connection(tarn_port) as connection:
        connection.command("CONFIG", "SET", "slowlog-log-slower-than", "0")
        connection.command("AUTH", "default", "pa55word")
        connection.command("AUTH", "pa55word")
        connection.command("HELLO", "2", "AUTH", "default", "pa55word", "SETNAME", "me")
        connection.command("CONFIG", "SET", "slowlog-log-slower-than", "10000", "requirepass", "")
        entries = connection.command("SLOWLOG", "GET", "-1")
        connection.command("SLOWLOG", "RESET")
    commands = [entry[3] for entry in entries]
    assert [b"AUTH", b"(redacted)", b"(redacted)"] in commands
    assert [b"AUTH", b"(redacted)"] in commands
    assert [b"HELLO", b"2", b"AUTH", b"(redacted)", b"(redacted)", b"SETNAME", b"me"] in commands
    assert b"pa55word" not in repr(entries).encode()


def test_keys_over_the_output_limit_is_an_error(server, tmp_path):
    """Not a cut connection, and not the memory of all keys; SCAN still gets them."""
    records = datasets.plain_records(5000)
    served = server(datasets.Dataset(tmp_path / "data", "text", records).write(),
                    "--output-limit", "100K")
    with served.connect() as connection:
        reply = connection.command("KEYS", "*")
        assert reply == b"ERR the reply to KEYS would exceed output-limit; use SCAN"
        assert connection.command("PING") == b"PONG"
        assert len(connection.command("KEYS", "0*")) == sum(k[:1] == b"0" for k, _ in records)
        cursor, keys = connection.command("SCAN", "0", "COUNT", "1000")
        while cursor != b"0":
            cursor, some = connection.command("SCAN", cursor, "COUNT", "1000")
            keys += some
        assert sorted(keys) == sorted(k for k, _ in records)


def test_a_reload_makes_a_watched_transaction_fail(server, tmp_path):
    dataset = datasets.Dataset(tmp_path / "data", "text", [(b"a", b"1")]).write()
    served = server(dataset)
    with served.connect() as connection, served.connect() as other:
        assert connection.command("WATCH", "a") == b"OK"
        dataset.records = [(b"a", b"2")]
        dataset.write()
        assert other.command("RELOAD") == b"OK"
        connection.command("MULTI")
        assert connection.command("GET", "a") == b"QUEUED"
        assert connection.command("EXEC") is resp.NULL_ARRAY
        connection.command("MULTI")
        connection.command("GET", "a")
        assert connection.command("EXEC") == [b"2"]
        connection.command("MULTI")
        assert connection.command("RELOAD") == b"ERR Command not allowed inside a transaction"
        assert connection.command("EXEC").word == b"EXECABORT"


def test_a_transaction_is_bounded(server, tmp_path):
    dataset = datasets.Dataset(tmp_path / "data", "text", [(b"a", b"1")]).write()
    served = server(dataset, "--request-limit", "128K")
    with served.connect() as connection:
        connection.command("MULTI")
        replies = [connection.command("ECHO", b"x" * 10000) for _ in range(20)]
        assert replies[0] == b"QUEUED"
        assert replies[-1] == b"ERR the transaction exceeds request-limit"
        assert connection.command("EXEC").word == b"EXECABORT"
        assert connection.command("GET", "a") == b"1"
