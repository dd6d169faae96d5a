"""A store of strings as plainly as it can be written: what each command answers, in RESP2 bytes.

One dictionary from key to [value, expiry in ms or None]; time does not pass, so that expiries are
only written and read. Each method of Model is a command; its name in lower case is looked up.
"""
OK, NULL, NULL_ARRAY = b"+OK\r\n", b"$-1\r\n", b"*-1\r\n"
NOT_INTEGER = b"-ERR value is not an integer or out of range\r\n"
SYNTAX = b"-ERR syntax error\r\n"
OUT_OF_RANGE = b"-ERR offset is out of range\r\n"
INT_MAX, INT_MIN = 2 ** 63 - 1, -2 ** 63


def integer(n):
    return b":%d\r\n" % n


def bulk(value):
    return NULL if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def array(replies):
    return b"*%d\r\n%s" % (len(replies), b"".join(replies))


def parse_int(text):
    """The integer, or None: no spaces, no plus, no leading zeros, 64 bits."""
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or (len(digits) > 1 and digits[:1] == b"0") or text == b"-0":
        return None
    n = int(text)
    return n if INT_MIN <= n <= INT_MAX else None


class Model:
    def __init__(self):
        self.keys = {}
        self.changes = {}  # key -> how often it was changed, for WATCH

    def answer(self, args):
        return getattr(self, args[0].decode().lower())(*args[1:])

    # --- the dictionary ---

    def value(self, key):
        entry = self.keys.get(key)
        return entry[0] if entry else None

    def put(self, key, value, expiry=None):
        self.keys[key] = [value, expiry]
        self.touch_change(key)

    def drop(self, key):
        if self.keys.pop(key, None) is None:
            return False
        self.touch_change(key)
        return True

    def touch_change(self, key):
        self.changes[key] = self.changes.get(key, 0) + 1

    def alter(self, key, value):
        """Another value under the same expiry."""
        self.put(key, value, self.keys[key][1] if key in self.keys else None)

    # --- strings ---

    def get(self, key):
        return bulk(self.value(key))

    def set(self, key, value, *options):
        old, expiry, words = self.value(key), None, [o.upper() for o in options]
        if b"PXAT" in words:
            expiry = int(options[words.index(b"PXAT") + 1])
        if b"KEEPTTL" in words and key in self.keys:
            expiry = self.keys[key][1]
        allowed = not (b"NX" in words and old is not None or b"XX" in words and old is None)
        if allowed:
            self.put(key, value, expiry)
        if b"GET" in words:
            return bulk(old)
        return OK if allowed else NULL

    def setnx(self, key, value):
        if key in self.keys:
            return integer(0)
        self.put(key, value)
        return integer(1)

    def getset(self, key, value):
        old = self.value(key)
        self.put(key, value)
        return bulk(old)

    def getdel(self, key):
        old = self.value(key)
        self.drop(key)
        return bulk(old)

    def getex(self, key, option, expiry=None):
        if option.upper() == b"PERSIST":
            self.persist(key)
        else:
            self.pexpireat(key, expiry)
        return bulk(self.value(key))

    def mget(self, *keys):
        return array([bulk(self.value(k)) for k in keys])

    def mset(self, *pairs):
        for key, value in zip(pairs[::2], pairs[1::2]):
            self.put(key, value)
        return OK

    def msetnx(self, *pairs):
        if any(k in self.keys for k in pairs[::2]):
            return integer(0)
        self.mset(*pairs)
        return integer(1)

    def incrby(self, key, by):
        amount = parse_int(by)
        n = parse_int(self.keys[key][0]) if key in self.keys else 0
        if amount is None or n is None:
            return NOT_INTEGER
        if not INT_MIN <= n + amount <= INT_MAX:
            return b"-ERR increment or decrement would overflow\r\n"
        self.alter(key, b"%d" % (n + amount))
        return integer(n + amount)

    def incr(self, key):
        return self.incrby(key, b"1")

    def decr(self, key):
        return self.incrby(key, b"-1")

    def append(self, key, tail):
        value = (self.value(key) or b"") + tail
        self.alter(key, value)
        return integer(len(value))

    def strlen(self, key):
        return integer(len(self.value(key) or b""))

    def getrange(self, key, start, end):
        value, start, end = self.value(key) or b"", int(start), int(end)
        size = len(value)
        if start < 0 and end < 0 and start > end:
            return bulk(b"")
        start = max(start + size, 0) if start < 0 else start
        end = max(end + size, 0) if end < 0 else end
        return bulk(value[start:end + 1] if size and start <= end else b"")

    def setrange(self, key, offset, patch):
        offset, value = int(offset), self.value(key)
        if offset < 0:
            return OUT_OF_RANGE
        if not patch:
            return integer(len(value or b""))
        value = (value or b"").ljust(offset, b"\0")
        value = value[:offset] + patch + value[offset + len(patch):]
        self.alter(key, value)
        return integer(len(value))

    # --- bits ---

    def setbit(self, key, offset, bit):
        byte, shift = int(offset) // 8, 7 - int(offset) % 8
        value = bytearray((self.value(key) or b"").ljust(byte + 1, b"\0"))
        old = value[byte] >> shift & 1
        value[byte] = value[byte] & ~(1 << shift) | int(bit) << shift
        if value != self.value(key):  # else nothing has changed, as WATCH sees it
            self.alter(key, bytes(value))
        return integer(old)

    def getbit(self, key, offset):
        value, byte = self.value(key) or b"", int(offset) // 8
        return integer(value[byte] >> (7 - int(offset) % 8) & 1 if byte < len(value) else 0)

    def bitcount(self, key):
        return integer(bin(int.from_bytes(self.value(key) or b"", "big")).count("1"))

    # --- keys ---

    def delete(self, *keys):
        return integer(sum(self.drop(k) for k in keys))

    unlink = delete

    def exists(self, *keys):
        return integer(sum(k in self.keys for k in keys))

    def type(self, key):
        return b"+string\r\n" if key in self.keys else b"+none\r\n"

    def rename(self, source, target):
        if source not in self.keys:
            return b"-ERR no such key\r\n"
        entry = self.keys[source]
        if source != target:
            self.drop(source)
            self.put(target, *entry)
        return OK

    def renamenx(self, source, target):
        if source not in self.keys:
            return b"-ERR no such key\r\n"
        if target in self.keys:
            return integer(0)
        self.rename(source, target)
        return integer(1)

    def copy(self, source, target, *replace):
        if source == target:
            return b"-ERR source and destination objects are the same\r\n"
        if source not in self.keys or (target in self.keys and not replace):
            return integer(0)
        self.put(target, *self.keys[source])
        return integer(1)

    def pexpireat(self, key, when):
        if key not in self.keys:
            return integer(0)
        self.keys[key][1] = int(when)
        self.touch_change(key)
        return integer(1)

    def pexpiretime(self, key):
        if key not in self.keys:
            return integer(-2)
        return integer(-1 if self.keys[key][1] is None else self.keys[key][1])

    def persist(self, key):
        if self.value(key) is None or self.keys[key][1] is None:
            return integer(0)
        self.keys[key][1] = None
        self.touch_change(key)
        return integer(1)

    def dbsize(self):
        return integer(len(self.keys))

    def flushall(self):
        for key in list(self.keys):
            self.drop(key)
        return OK


# A command whose name Python has taken.
setattr(Model, "del", Model.delete)


class ModelClient:
    """One connection: MULTI, EXEC, DISCARD, WATCH and what goes on to the model."""

    def __init__(self, model):
        self.model, self.queue, self.watched = model, None, {}

    def answer(self, args):
        name = args[0].upper()
        if name == b"EXEC":
            return self.execute()
        if name == b"DISCARD":
            self.queue, self.watched = None, {}
            return OK
        if self.queue is not None:
            self.queue.append(args)
            return b"+QUEUED\r\n"
        if name == b"MULTI":
            self.queue = []
            return OK
        if name == b"WATCH":
            for key in args[1:]:
                self.watched.setdefault(key, self.model.changes.get(key, 0))
            return OK
        if name == b"UNWATCH":
            self.watched = {}
            return OK
        return self.model.answer(args)

    def execute(self):
        queue, watched = self.queue, self.watched
        self.queue, self.watched = None, {}
        if any(self.model.changes.get(k, 0) != n for k, n in watched.items()):
            return NULL_ARRAY
        return array([self.model.answer(args) for args in queue])
