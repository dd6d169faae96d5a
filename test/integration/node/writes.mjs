// Goal: the string examples of ioredis's documentation run unchanged against a writable store.
//
//     node writes.mjs MODULE PORT      MODULE: ioredis or ioredis6
//
// The store must be empty. Exits with 1 at the first difference. Run by test_node_clients.py.
import assert from "node:assert/strict";

const [moduleName, port] = process.argv.slice(2);
const { Redis } = await import(moduleName);
const redis = new Redis({ port: Number(port), host: "127.0.0.1", retryStrategy: null });

assert.equal(await redis.set("mykey", "value"), "OK");
assert.equal(await redis.get("mykey"), "value");
assert.equal(await redis.set("mykey", "hello", "EX", 10), "OK");
assert.ok((await redis.ttl("mykey")) > 0);
assert.equal(await redis.set("mykey", "other", "NX"), null);
assert.equal(await redis.set("mykey", "other", "XX", "GET"), "hello");
assert.equal(await redis.setex("short", 100, "lived"), "OK");
assert.equal(await redis.mset(new Map([["k1", "v1"], ["k2", "v2"]])), "OK");
assert.equal(await redis.mset({ k3: "v3", k4: "v4" }), "OK");
assert.deepEqual(await redis.mget("k1", "k2", "k3", "nosuch"), ["v1", "v2", "v3", null]);
assert.equal(await redis.incr("counter"), 1);
assert.equal(await redis.incrby("counter", 41), 42);
assert.equal(await redis.incrbyfloat("counter", 0.5), "42.5");
await assert.rejects(redis.incr("k1"), /value is not an integer or out of range/);
assert.equal(await redis.append("k1", "-more"), 7);
assert.equal(await redis.getrange("k1", 0, 1), "v1");
assert.equal(await redis.setbit("bits", 7, 1), 0);
assert.equal(await redis.bitcount("bits"), 1);
assert.equal(await redis.getdel("k4"), "v4");
assert.equal(await redis.del("k2", "k3", "nosuch"), 2);
const bytes = Buffer.from([0, 255, 13, 10, 128]);
await redis.set("binary", bytes);
assert.deepEqual(await redis.getBuffer("binary"), bytes);

const pipeline = redis.pipeline();
pipeline.set("foo", "bar").get("foo").incr("foo").del("foo");
const results = await pipeline.exec();
assert.deepEqual(results.filter((r) => r[0] === null).map((r) => r[1]), ["OK", "bar", 1]);
assert.match(results[2][0].message, /not an integer/);

assert.deepEqual(await redis.multi().set("foo", "1").incr("foo").get("foo").exec(),
                 [[null, "OK"], [null, 2], [null, "2"]]);
const other = redis.duplicate();
await redis.watch("foo");
await other.set("foo", "changed");
assert.equal(await redis.multi().set("foo", "lost").exec(), null);
assert.equal(await redis.get("foo"), "changed");

const found = [];
for await (const batch of redis.scanStream({ match: "k*", count: 100 }))
    found.push(...batch);
assert.deepEqual(found, ["k1"]);
assert.equal(await redis.rename("k1", "renamed"), "OK");
assert.equal(await redis.persist("mykey"), 0); // XX took the expiry away
assert.equal(await redis.flushall(), "OK");
assert.equal(await redis.dbsize(), 0);
redis.disconnect();
other.disconnect();
