"""The fixture `connect` for tests with redis-py: connect(server, **options) is a redis.Redis, once
with every parser that this redis-py has (its own, hiredis) and every protocol that it speaks (3
from version 5 on). Import it by name into the test module.
"""
import pytest
import redis
import redis.connection
import redis.utils

VERSION = tuple(int(part) for part in redis.__version__.split(".")[:2])


def parser_class(name, protocol):
    if VERSION < (5, 0):
        return {"python": redis.connection.PythonParser,
                "hiredis": redis.connection.HiredisParser}[name]
    import redis._parsers as parsers
    if name == "hiredis":
        return parsers._HiredisParser
    return parsers._RESP3Parser if protocol == 3 else parsers._RESP2Parser


def variants():
    for protocol in (2, 3) if VERSION >= (5, 0) else (2,):
        for parser in ("python", "hiredis"):
            missing = parser == "hiredis" and not redis.utils.HIREDIS_AVAILABLE
            yield pytest.param((parser, protocol), id="%s-resp%d" % (parser, protocol),
                               marks=pytest.mark.skipif(missing, reason="hiredis is not installed, "
                                                        "or too old for this redis-py"))


@pytest.fixture(params=variants())
def connect(request):
    parser, protocol = request.param
    pools = []

    def make(server, **options):
        if VERSION >= (5, 0):
            options["protocol"] = protocol
        pool = redis.ConnectionPool(host="127.0.0.1", port=server.port, socket_timeout=60,
                                    parser_class=parser_class(parser, protocol), **options)
        pools.append(pool)
        return redis.Redis(connection_pool=pool)
    yield make
    for pool in pools:
        pool.disconnect()
