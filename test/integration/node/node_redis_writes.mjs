// Goal: what node-redis's users write to Redis they can write to tarn: strings, expiry,
// transactions, WATCH, a pool of connections.
//
//     node node_redis_writes.mjs PROTOCOL PORT
//
// The server must be an empty writable store. Exits with 1 at the first difference. Run by
// test_node_clients.py.
import assert from "node:assert/strict";
import { createClient, createClientPool, WatchError } from "redis";

const [protocol, port] = process.argv.slice(2);
const options = { RESP: Number(protocol),
                  socket: { port: Number(port), host: "127.0.0.1", reconnectStrategy: false } };
const client = createClient(options);
client.on("error", (error) => { throw error; });
await client.connect();

// strings
assert.equal(await client.set("bike:1", "Deimos"), "OK");
assert.equal(await client.get("bike:1"), "Deimos");
assert.equal(await client.set("bike:1", "bike", { condition: "NX" }), null);
assert.equal(await client.set("bike:1", "bike", { condition: "XX", GET: true }), "Deimos");
assert.equal(await client.mSet([["bike:1", "Deimos"], ["bike:2", "Ares"], ["bike:3", "Vanth"]]),
    "OK");
assert.deepEqual(await client.mGet(["bike:1", "bike:2", "nope"]), ["Deimos", "Ares", null]);
assert.equal(await client.set("mykey", "v", { expiration: { type: "EX", value: 60 } }), "OK");
const ttl = await client.ttl("mykey");
assert.ok(ttl > 50 && ttl <= 60, `ttl ${ttl}`);
assert.equal(await client.set("mykey", "w", { expiration: "KEEPTTL" }), "OK");
assert.ok(await client.pTTL("mykey") > 50000);
assert.equal(await client.getEx("mykey", { type: "PERSIST" }), "w");
assert.equal(await client.ttl("mykey"), -1);
assert.equal(await client.setEx("mykey", 10, "Hello"), "OK");
assert.equal(await client.expireAt("mykey", 2000000000), 1);
assert.equal(await client.expireTime("mykey"), 2000000000);
assert.equal(await client.incr("total_crashes"), 1);
assert.equal(await client.incrBy("total_crashes", 10), 11);
assert.equal(await client.incrByFloat("total_crashes", 0.5), "11.5");
assert.equal(await client.append("bike:1", "!"), 7);
assert.equal(await client.setRange("bike:1", 0, "d"), 7);
assert.equal(await client.getDel("bike:1"), "deimos!");
assert.equal(await client.mSetNX([["bike:1", "x"], ["bike:2", "y"]]), 0);
assert.equal(await client.copy("bike:2", "bike:4"), 1);
assert.equal(await client.renameNX("bike:4", "bike:3"), 0);
assert.equal(await client.setBit("bits", 7, 1), 0);
assert.equal(await client.bitCount("bits"), 1);
assert.equal(await client.del(["bike:2", "bike:4", "nope"]), 2);
const large = "x".repeat(300000);
assert.equal(await client.set("large", large), "OK");
assert.equal(await client.get("large"), large);
await assert.rejects(client.incr("large"), /value is not an integer/);
await assert.rejects(client.hSet("hash", "a", "b"), /tarn does not serve 'hset'/);

// requests of one turn go together
const numbers = Array.from({ length: 2000 }, (_, i) => `n${i}`);
assert.ok((await Promise.all(numbers.map((n) => client.set(n, n)))).every((r) => r === "OK"));
assert.deepEqual(await client.mGet(numbers), numbers);

// transactions
assert.deepEqual(await client.multi().set("key", "1").incr("key").get("key").exec(),
    ["OK", 2, "2"]);
const errors = await client.multi().set("key", "x").incr("key").get("key").exec()
    .catch((error) => error.replies);
assert.equal(errors[0], "OK");
assert.match(errors[1].message, /value is not an integer/);
assert.equal(errors[2], "x");
await client.watch("key");
await client.set("key", "changed by whoever");
await assert.rejects(client.multi().set("key", "y").exec(), WatchError);
assert.equal(await client.get("key"), "changed by whoever");

// optimistic locking by a pool of connections
const pool = createClientPool(options, { minimum: 3, maximum: 3 });
pool.on("error", (error) => { throw error; });
await pool.connect();
await client.set("sequence", 0);
const increment = () => pool.execute(async (own) => {
    for (let done = 0; done < 20;) {
        await own.watch("sequence");
        const next = Number(await own.get("sequence")) + 1;
        try {
            await own.multi().set("sequence", next).exec();
            done++;
        } catch (error) {
            if (!(error instanceof WatchError))
                throw error;
        }
    }
});
await Promise.all([increment(), increment(), increment()]);
assert.equal(await client.get("sequence"), "60");
await pool.close();

// expiry, scanning, all of it
await client.set("soon", "gone", { expiration: { type: "PX", value: 1 } });
while (await client.exists("soon"))
    ;
assert.equal(await client.get("soon"), null);
const found = new Set();
for await (const batch of client.scanIterator({ COUNT: 500, MATCH: "n*" }))
    for (const key of [batch].flat())
        found.add(key);
assert.deepEqual([...found].sort(), [...numbers].sort());
assert.equal(await client.flushAll(), "OK");
assert.equal(await client.dbSize(), 0);
await client.close();
