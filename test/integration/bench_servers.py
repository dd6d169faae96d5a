"""Servers for the tests of tarn bench that misbehave on purpose, or write down what they are asked.

Each runs one thread that serves all connections in turn, so that a server that waits stalls all of
its clients, and what is written down is in the order of arrival. A request that breaks the
protocol, or an exception in a test's own answer, ends the server and fails the test (`failure`).

  RespServer        a dictionary over RESP: PING AUTH GET SET MGET MSET SCAN
  HttpServer        /kv/KEY
  MemcachedServer   memcached's text protocol: version, get, set
  RawServer         says what it was told to, whatever is asked

A test changes a server's behaviour by a subclass, or by answer=, a function that is asked first:
answer(server, connection, words) gives the bytes to send, None for the server's own answer, or
raises Close. Keys and values must not contain CR LF: requests are split there, many at once.
"""
import collections
import selectors
import socket
import threading
import traceback
from urllib.parse import unquote_to_bytes


class Close(Exception):
    """Close this connection when everything before this request is answered."""


class Violation(Exception):
    """The client sent what its protocol does not allow."""


class Connection:
    """number: in the order of connecting, from 0. pending: bytes of an unfinished request. state:
    the test's own."""

    def __init__(self, number, sock):
        self.number, self.socket, self.pending, self.state = number, sock, b"", None


class Fake:
    """One server. port: where it listens. count: requests answered or refused so far, the opening
    exchange left out; counts: the same by command. log: (connection number, words) of each, when
    recording."""

    def __init__(self, answer=None, record=False):
        self.own_answer = answer
        self.recording = record
        self.count = 0
        self.counts = collections.Counter()
        self.log = []
        self.failure = None
        self.connections = 0
        self.reached = threading.Condition()
        self.wanted = None
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.address = "127.0.0.1:%d" % self.port
        self.wake, self.waker = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def stop(self):
        self.waker.close()
        self.thread.join()

    def reset(self):
        """Forget what was counted and written down. Only while no client is connected."""
        self.count = 0
        self.counts.clear()
        self.log.clear()

    def wait_for_count(self, count, timeout):
        """Until so many requests came; False if the time is over before."""
        with self.reached:
            self.wanted = count
            return self.reached.wait_for(lambda: self.count >= count, timeout)

    # --- the thread ---

    def _run(self):
        try:
            while self._turn():
                pass
        except Exception:
            self.failure = traceback.format_exc()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()

    def _turn(self):
        for key, _ in self.selector.select():
            if key.fileobj is self.wake:
                return False
            if key.fileobj is self.listener:
                self._accept()
            else:
                self._serve(key.data)
        if self.wanted is not None and self.count >= self.wanted:
            with self.reached:
                self.reached.notify_all()
        return True

    def _accept(self):
        sock, _ = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.connections, sock)
        self.connections += 1
        self.selector.register(sock, selectors.EVENT_READ, connection)

    def _serve(self, connection):
        try:
            data = connection.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        out = []
        closing = not data
        if data:
            connection.pending += data
            try:
                self.take(connection, out)
            except Close:
                closing = True
        try:
            connection.socket.sendall(b"".join(out))
        except ConnectionError:
            closing = True
        if closing:
            self.selector.unregister(connection.socket)
            connection.socket.close()

    # --- what the protocols share ---

    def take(self, connection, out):
        """Take all whole requests out of connection.pending and append their answers to out."""
        raise NotImplementedError

    def note(self, connection, name, words):
        self.count += 1
        self.counts[name] += 1
        if self.recording:
            self.log.append((connection.number, words))

    def reply(self, connection, words):
        if self.own_answer is not None:
            answer = self.own_answer(self, connection, words)
            if answer is not None:
                return answer
        return self.answer(connection, words)

    def answer(self, connection, words):
        raise NotImplementedError


def bulk(value):
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


class RespServer(Fake):
    """store: what was written, and what can be read. password: needed before anything else."""

    def __init__(self, store=None, password=None, **options):
        self.store = {} if store is None else store
        self.password = password
        super().__init__(**options)

    def take(self, connection, out):
        parts = connection.pending.split(b"\r\n")
        end = len(parts) - 1  # the last part is not ended yet
        at = 0
        while at < end:
            head = parts[at]
            if head[:1] != b"*":
                raise Violation("a request begins with %r" % head[:100])
            words_count = int(head[1:])
            after = at + 1 + 2 * words_count
            if after > end:
                break
            words = parts[at + 2:after:2]
            for size, word in zip(parts[at + 1:after:2], words):
                if size != b"$%d" % len(word):
                    raise Violation("%r before a word of %d bytes" % (size, len(word)))
            at = after
            if words[0] not in (b"PING", b"AUTH"):
                self.note(connection, words[0].decode(), words)
            out.append(self.reply(connection, words))
        connection.pending = b"\r\n".join(parts[at:])

    def answer(self, connection, words):
        name = words[0]
        if self.password is not None and name != b"AUTH" and connection.state != "in":
            return b"-NOAUTH Authentication required.\r\n"
        if name == b"GET":
            return bulk(self.store.get(words[1]))
        if name == b"SET":
            self.store[words[1]] = words[2]
            return b"+OK\r\n"
        if name == b"MGET":
            return b"*%d\r\n" % (len(words) - 1) + b"".join(
                bulk(self.store.get(key)) for key in words[1:])
        if name == b"MSET":
            self.store.update(zip(words[1::2], words[2::2]))
            return b"+OK\r\n"
        return self.rare_answer(connection, words)

    def rare_answer(self, connection, words):
        if words == [b"PING"]:
            return b"+PONG\r\n"
        if words[0] == b"AUTH":
            return self.authenticate(connection, words)
        if words[0] == b"SCAN" and words[2].upper() == b"COUNT":
            return self.scan(int(words[1]), int(words[3]))
        raise Violation("an unknown request: %r" % words[:5])

    def authenticate(self, connection, words):
        if self.password is None:
            return b"-ERR AUTH called without any password configured\r\n"
        if words[1].decode() != self.password:
            return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        connection.state = "in"
        return b"+OK\r\n"

    def scan(self, cursor, count):
        """A cursor is a place in the order of writing, modulo the number of keys."""
        keys = list(self.store)
        start = cursor % len(keys)
        some = keys[start:start + count]
        following = 0 if start + count >= len(keys) else start + count
        return b"*2\r\n" + bulk(b"%d" % following) + b"*%d\r\n" % len(some) + b"".join(
            map(bulk, some))


def http_response(status, body=b"", headers=(), reason=b"Whatever"):
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n%s" % (
        status, reason, len(body), b"".join(line + b"\r\n" for line in headers), body)


class HttpServer(Fake):
    """words: [method, key, body]; the key percent-decoded. host: the Host field last seen."""

    def __init__(self, store=None, prefix=b"/kv/", **options):
        self.store = {} if store is None else store
        self.prefix = prefix
        self.host = None
        super().__init__(**options)

    def take(self, connection, out):
        while True:
            head, found, rest = connection.pending.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.split(b"\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
            size = int(fields.get(b"content-length", b"0"))
            if len(rest) < size:
                return
            connection.pending = rest[size:]
            method, target, version = lines[0].split(b" ")
            if version != b"HTTP/1.1" or not target.startswith(self.prefix):
                raise Violation("a request line: %r" % lines[0][:200])
            self.host = fields[b"host"]
            words = [method, unquote_to_bytes(target[len(self.prefix):]), rest[:size]]
            self.note(connection, method.decode(), words)
            out.append(self.reply(connection, words))

    def answer(self, connection, words):
        if words[0] == b"PUT":
            self.store[words[1]] = words[2]
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        value = self.store.get(words[1])
        if value is None:
            return http_response(404, b"no such key\n", reason=b"Not Found")
        return http_response(200, value, reason=b"OK")


class MemcachedServer(Fake):
    """words: [b"get", KEY...] or [b"set", KEY, VALUE]."""

    def __init__(self, store=None, **options):
        self.store = {} if store is None else store
        super().__init__(**options)

    def take(self, connection, out):
        while True:
            line, found, rest = connection.pending.partition(b"\r\n")
            if not found:
                return
            words = line.split(b" ")
            if words[0] == b"set":
                size = int(words[4])
                if len(rest) < size + 2:
                    return
                if rest[size:size + 2] != b"\r\n":
                    raise Violation("a value of %d bytes has another size" % size)
                words, rest = [b"set", words[1], rest[:size]], rest[size + 2:]
            connection.pending = rest
            if words != [b"version"]:
                self.note(connection, words[0].decode(), words)
            out.append(self.reply(connection, words))

    def answer(self, connection, words):
        if words == [b"version"]:
            return b"VERSION 1.6.18\r\n"
        if words[0] == b"set":
            self.store[words[1]] = words[2]
            return b"STORED\r\n"
        if words[0] != b"get" or not all(words[1:]):
            raise Violation("an unknown request: %r" % words[:5])
        found = ((key, self.store.get(key)) for key in words[1:])
        return b"".join(b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value)
                        for key, value in found if value is not None) + b"END\r\n"


class RawServer(Fake):
    """says: what is sent once for everything that arrives; None: the connection is closed at once;
    b"": silence."""

    def __init__(self, says, **options):
        self.says = says
        super().__init__(**options)

    def take(self, connection, out):
        self.count += 1
        connection.pending = b""
        if self.says is None:
            raise Close()
        out.append(self.says)


# --- Redis Cluster's hash slots, from the specification: CRC16-XMODEM bit by bit ---

def slot_of(key):
    crc = 0
    for byte in key:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xffff
    return crc % 16384


def slot_ranges(servers):
    """What `redis-cli --cluster create` deals out: range(first, behind the last) of each."""
    firsts = [int(i * 16384 / servers + 0.5) for i in range(servers)] + [16384]
    return [range(firsts[i], firsts[i + 1]) for i in range(servers)]
