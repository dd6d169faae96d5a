// Goal: what ioredis's users write to Redis they can write to tarn: strings, expiry, pipelines,
// transactions, WATCH.
//
//     node ioredis_writes.mjs MODULE PORT      MODULE: ioredis or ioredis6
//
// The server must be an empty writable store. Exits with 1 at the first difference. Run by
// test_node_clients.py.
import assert from "node:assert/strict";

const [moduleName, port] = process.argv.slice(2);
const { Redis } = await import(moduleName);
const options = { port: Number(port), host: "127.0.0.1", retryStrategy: null, lazyConnect: true };
const client = new Redis(options);
await client.connect();

// strings, as in the library's examples
assert.equal(await client.mset({ name: "Bob", age: 20, description: "I am a programmer" }), "OK");
assert.equal(await client.mset(new Map([["k1", "v1"], ["k2", "v2"]])), "OK");
assert.equal(await client.get("name"), "Bob");
assert.deepEqual(await client.mget("name", "age", "nope"), ["Bob", "20", null]);
assert.equal(await client.del(["name", "description"]), 2);
assert.equal(await client.exists("name"), 0);
assert.equal(await client.incrby("age", 1), 21);
assert.equal(await client.incrbyfloat("age", 0.5), "21.5");
assert.equal(await client.set("key_with_ttl", "hey", "EX", 1000), "OK");
const ttl = await client.ttl("key_with_ttl");
assert.ok(ttl > 900 && ttl <= 1000, `ttl ${ttl}`);
assert.equal(await client.set("key_with_ttl", "x", "PX", 100000, "NX"), null);
assert.equal(await client.set("key_with_ttl", "x", "KEEPTTL", "XX", "GET"), "hey");
assert.ok(await client.ttl("key_with_ttl") > 900);
assert.equal(await client.persist("key_with_ttl"), 1);
assert.equal(await client.ttl("key_with_ttl"), -1);
assert.equal(await client.setnx("fresh", "1"), 1);
assert.equal(await client.getset("fresh", "2"), "1");
assert.equal(await client.append("fresh", "34"), 3);
assert.equal(await client.setrange("fresh", 1, "xx"), 3);
assert.equal(await client.getrange("fresh", 1, -1), "xx");
assert.equal(await client.getdel("fresh"), "2xx");
assert.equal(await client.msetnx("m1", 1, "m2", 2), 1);
assert.equal(await client.rename("m1", "m3"), "OK");
assert.equal(await client.setbit("bits", 7, 1), 0);
assert.equal(await client.bitcount("bits"), 1);
const binary = Buffer.alloc(300000, "\x00\xff\r\n");
assert.equal(await client.set(Buffer.from([0, 255]), binary), "OK");
assert.deepEqual(await client.getBuffer(Buffer.from([0, 255])), binary);
await assert.rejects(client.incr("m3", 1, 2), /wrong number of arguments/);
await assert.rejects(client.set("a", "b", "EX", 0), /invalid expire time in 'set' command/);
await assert.rejects(client.hset("hash", "a", "b"), /tarn does not serve 'hset'/);

// pipelines and transactions
const replies = await client.pipeline().set("foo", "bar").incr("foo").get("foo").del("foo").exec();
assert.deepEqual([replies[0], replies[2], replies[3]], [[null, "OK"], [null, "bar"], [null, 1]]);
assert.match(replies[1][0].message, /value is not an integer/);
assert.deepEqual(await client.multi().set("foo", "1").incr("foo").get("foo").exec(),
    [[null, "OK"], [null, 2], [null, "2"]]);
assert.equal(await client.multi({ pipeline: false }), "OK");
assert.equal(await client.set("foo", "bar"), "QUEUED");
assert.deepEqual(await client.exec(), [[null, "OK"]]);
const many = client.pipeline();
for (let i = 0; i < 5000; i++)
    many.incr("many");
assert.deepEqual((await many.exec()).at(-1), [null, 5000]);

// optimistic locking: an increment of our own by several clients
await client.set("sequence", 0);
const increment = async () => {
    const own = client.duplicate();
    await own.connect();
    for (let done = 0; done < 20;) {
        await own.watch("sequence");
        const next = Number(await own.get("sequence")) + 1;
        if (await own.multi().set("sequence", next).exec() !== null)
            done++;
    }
    await own.quit();
};
await Promise.all([increment(), increment(), increment()]);
assert.equal(await client.get("sequence"), "60");

// scanning
const found = [];
for await (const batch of client.scanStream({ match: "k?", count: 100 }))
    found.push(...batch);
assert.deepEqual(found.sort(), ["k1", "k2"]);

// expiry
await client.set("soon", "gone", "PX", 1);
while (await client.exists("soon"))
    ;
assert.equal(await client.get("soon"), null);
assert.equal(await client.expire("many", -1), 1);
assert.equal(await client.exists("many"), 0);

// what a library does by itself: requests collected in a turn, keys prefixed
const automatic = new Redis({ ...options, enableAutoPipelining: true, keyPrefix: "p:" });
await automatic.connect();
await Promise.all(Array.from({ length: 1000 }, (_, i) => automatic.set(`k${i}`, `v${i}`)));
assert.equal(await automatic.get("k999"), "v999");
assert.equal(await client.get("p:k999"), "v999");
automatic.disconnect();
assert.equal(await client.flushall(), "OK");
assert.equal(await client.dbsize(), 0);
await client.quit();
