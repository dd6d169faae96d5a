"""RESP2 and RESP3 for the tests: a strict parser and a raw connection.

Strict, because the clients in use forgive much: every line must end in CR LF, integers must be in
canonical form, a type of RESP3 in a RESP2 conversation is an error, and so is a map with a
repeated key. A violation raises ProtocolViolation.

How types arrive in Python:
  +text            Simple (a bytes subclass)
  -ERR text        RespError (returned, not raised; compares equal to its bytes)
  :1               int
  $3 abc           bytes             $-1  None
  *2               list              *-1  NULL_ARRAY
  _                None              ,1.5 float        #t  bool       (123  BigNumber (int)
  =7 txt:abc       Verbatim (bytes, with .kind)        !3 abc  RespError
  %                dict (in order)   ~    RespSet (list)   >    Push (list)
Attributes (|) are read and dropped into Connection.attributes.
"""
import re
import socket


class ProtocolViolation(Exception):
    """The server sent bytes that are not RESP of the protocol in force."""


class Closed(Exception):
    """The server closed the connection; .rest is what had arrived of an unfinished reply."""

    def __init__(self, rest=b""):
        super().__init__("connection closed by the server, unfinished bytes: %r" % rest[:200])
        self.rest = rest


class Simple(bytes):
    pass


class RespError(bytes):
    @property
    def word(self):
        return bytes(self).split(b" ", 1)[0]


class Verbatim(bytes):
    kind = b""


class BigNumber(int):
    pass


class RespSet(list):
    pass


class Push(list):
    pass


class _NullArray:
    def __repr__(self):
        return "NULL_ARRAY"

    def __bool__(self):
        return False


NULL_ARRAY = _NullArray()


def encode(*args):
    """One request: a RESP array of bulk strings. Arguments: bytes, str or int."""
    out = [b"*%d\r\n" % len(args)]
    for arg in args:
        if isinstance(arg, str):
            arg = arg.encode()
        elif isinstance(arg, int):
            arg = b"%d" % arg
        out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
    return b"".join(out)


_INTEGER = re.compile(rb"(0|-?[1-9][0-9]*)\Z")
_LENGTH = re.compile(rb"(0|[1-9][0-9]*)\Z")
_DOUBLE = re.compile(rb"(-?(inf|[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?)|nan)\Z")


class Connection:
    """A raw connection. protocol: 2 or 3, what the parser admits; hello(3) changes it."""

    def __init__(self, port, host="127.0.0.1", timeout=60, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.protocol = 2
        self.attributes = {}
        self.pending = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # --- sending ---

    def send(self, data):
        self.socket.sendall(data)

    def command(self, *args):
        """Send one request, return its reply."""
        self.send(encode(*args))
        return self.read_reply()

    def pipeline(self, requests):
        """Send all requests in one write, return the list of replies. Replies must fit the
        socket buffers while the requests are being written: keep it modest."""
        self.send(b"".join(encode(*r) for r in requests))
        return [self.read_reply() for _ in requests]

    def inline(self, line):
        self.send(line + b"\r\n")
        return self.read_reply()

    def hello(self, protocol, *args):
        self.send(encode("HELLO", protocol, *args))
        previous, self.protocol = self.protocol, protocol
        reply = self.read_reply()
        if isinstance(reply, RespError):
            self.protocol = previous
        return reply

    # --- receiving ---

    def _fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise Closed(bytes(self.pending))
        self.pending += data

    def read_bytes(self, size):
        while len(self.pending) < size:
            self._fill()
        data = bytes(self.pending[:size])
        del self.pending[:size]
        return data

    def read_line(self):
        start = 0
        while True:
            end = self.pending.find(b"\n", start)
            if end >= 0:
                break
            start = len(self.pending)
            self._fill()
        line = bytes(self.pending[:end + 1])
        del self.pending[:end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise ProtocolViolation("line does not end in CR LF: %r" % line[:200])
        return line[:-2]

    def read_to_end(self):
        """Everything until the server closes (an orderly close or a reset)."""
        try:
            while True:
                self._fill()
        except (Closed, ConnectionResetError):
            pass
        data = bytes(self.pending)
        self.pending.clear()
        return data

    def read_reply(self):
        line = self.read_line()
        if not line:
            raise ProtocolViolation("empty line where a reply should start")
        kind, rest = line[:1], line[1:]
        if kind in b"_,#(!=%~>|" and self.protocol != 3:
            raise ProtocolViolation("RESP3 type in a RESP2 conversation: %r" % line[:200])
        reader = self._readers.get(kind)
        if reader is None:
            raise ProtocolViolation("unknown type: %r" % line[:200])
        return reader(self, rest)

    def _length(self, text, null_allowed):
        if text == b"-1" and null_allowed and self.protocol == 2:
            return -1
        if not _LENGTH.match(text):
            raise ProtocolViolation("bad length %r (protocol %d)" % (text[:50], self.protocol))
        return int(text)

    def _integer(self, text):
        if not _INTEGER.match(text) or not -2**63 <= int(text) < 2**63:
            raise ProtocolViolation("bad integer %r" % text[:50])
        return int(text)

    def _blob(self, size):
        data = self.read_bytes(size + 2)
        if data[-2:] != b"\r\n":
            raise ProtocolViolation("bulk of %d bytes does not end in CR LF" % size)
        return data[:-2]

    def _read_bulk(self, text):
        size = self._length(text, True)
        return None if size < 0 else self._blob(size)

    def _read_array(self, text):
        count = self._length(text, True)
        return NULL_ARRAY if count < 0 else [self.read_reply() for _ in range(count)]

    def _read_null(self, text):
        if text:
            raise ProtocolViolation("null with content %r" % text[:50])

    def _read_double(self, text):
        if not _DOUBLE.match(text):
            raise ProtocolViolation("bad double %r" % text[:50])
        return float(text)

    def _read_bool(self, text):
        if text not in (b"t", b"f"):
            raise ProtocolViolation("bad boolean %r" % text[:50])
        return text == b"t"

    def _read_big(self, text):
        if not _INTEGER.match(text):
            raise ProtocolViolation("bad big number %r" % text[:50])
        return BigNumber(text)

    def _read_verbatim(self, text):
        data = self._blob(self._length(text, False))
        if len(data) < 4 or data[3:4] != b":":
            raise ProtocolViolation("bad verbatim string %r" % data[:50])
        result = Verbatim(data[4:])
        result.kind = data[:3]
        return result

    def _read_map(self, text):
        result = {}
        for _ in range(self._length(text, False)):
            key, value = self.read_reply(), self.read_reply()
            if isinstance(key, list):
                key = tuple(key)
            if key in result:
                raise ProtocolViolation("key %r twice in a map" % (key,))
            result[key] = value
        return result

    def _read_attribute(self, text):
        self.attributes = self._read_map(text)
        return self.read_reply()

    _readers = {
        b"+": lambda self, text: Simple(text),
        b"-": lambda self, text: RespError(text),
        b":": _integer,
        b"$": _read_bulk,
        b"*": _read_array,
        b"_": _read_null,
        b",": _read_double,
        b"#": _read_bool,
        b"(": _read_big,
        b"!": lambda self, text: RespError(self._blob(self._length(text, False))),
        b"=": _read_verbatim,
        b"%": _read_map,
        b"~": lambda self, text: RespSet(
            self.read_reply() for _ in range(self._length(text, False))),
        b">": lambda self, text: Push(
            self.read_reply() for _ in range(self._length(text, False))),
        b"|": _read_attribute,
    }
