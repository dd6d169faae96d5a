// Goal: node-redis works against tarn under RESP2 and RESP3.
//
//     node node_redis.mjs PROTOCOL PORT FILE
//
// FILE is a JSON object of keys and values that the server must have. Exits with 1 at the first
// difference. Run by test_node_clients.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createClient } from "redis";

const [protocol, port, file] = process.argv.slice(2);
const records = new Map(Object.entries(JSON.parse(readFileSync(file, "utf8"))));
const keys = [...records.keys()];

const client = createClient({
    RESP: Number(protocol),
    name: "node-redis-test",
    socket: { port: Number(port), host: "127.0.0.1", reconnectStrategy: false },
});
client.on("error", (error) => { throw error; });
await client.connect();

assert.equal(await client.ping(), "PONG");
assert.deepEqual(await Promise.all(keys.map((key) => client.get(key))), [...records.values()]);
assert.equal(await client.get("no such key"), null);
assert.deepEqual(await client.mGet([...keys, "no such key"]), [...records.values(), null]);
assert.equal(await client.exists([keys[0], "no such key"]), 1);
assert.equal(await client.strLen("number"), 10);
assert.equal(await client.getRange("number", 2, 4), "345");
assert.equal(await client.ttl(keys[0]), -1);
assert.equal(await client.type(keys[0]), "string");
assert.equal((await client.get("big:1m")).length, 1 << 20);
assert.equal(await client.clientGetName(), "node-redis-test");
assert.ok(records.size <= await client.dbSize());
assert.match(await client.info("server"), /redis_version:7\./);
assert.deepEqual({ ...await client.configGet("port") }, { port });
assert.equal((await client.commandInfo(["GET"]))[0].arity, 2);
assert.equal((await client.clientInfo()).name, "node-redis-test");

const found = new Set();
for await (const batch of client.scanIterator({ COUNT: 1000, MATCH: "big:*" }))
    for (const key of [batch].flat())
        found.add(key);
assert.deepEqual([...found].sort(), ["big:10m", "big:1m", "big:20k"]);

await assert.rejects(client.set("a", "b"), /READONLY/);
await assert.rejects(client.sendCommand(["NOSUCH"]), /ERR unknown command 'NOSUCH'/);
const hello = await client.sendCommand(["HELLO", protocol]);
assert.equal(protocol === "3" ? hello.proto : hello[hello.indexOf("proto") + 1], Number(protocol));
await client.close();
