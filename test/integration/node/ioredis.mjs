// Goal: ioredis works against tarn, its ready check (INFO) and automatic pipelining included.
//
//     node ioredis.mjs MODULE PORT FILE      MODULE: ioredis or ioredis6
//
// FILE is a JSON object of keys and values that the server must have. Exits with 1 at the first
// difference. Run by test_node_clients.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const [moduleName, port, file] = process.argv.slice(2);
const { Redis } = await import(moduleName);
const records = new Map(Object.entries(JSON.parse(readFileSync(file, "utf8"))));
const keys = [...records.keys()];
const options = { port: Number(port), host: "127.0.0.1", retryStrategy: null, lazyConnect: true,
                  connectionName: "ioredis-test" };

const client = new Redis(options);
let ready = false;
client.on("ready", () => { ready = true; });
await client.connect();
await client.ping();
assert.ok(ready, "the ready check did not pass");

for (const key of keys.slice(0, 50))
    assert.equal(await client.get(key), records.get(key));
assert.equal(await client.get("no such key"), null);
assert.deepEqual(await client.mget(...keys, "no such key"), [...records.values(), null]);
assert.equal(await client.exists(keys[0], "no such key"), 1);
assert.equal(await client.strlen("number"), 10);
assert.equal(await client.ttl(keys[0]), -1);
assert.equal(await client.type(keys[0]), "string");
assert.equal((await client.getBuffer("big:1m")).length, 1 << 20);
assert.equal(await client.client("GETNAME"), "ioredis-test");
assert.match(await client.info("server"), /redis_version:7\./);

const found = new Set();
for await (const batch of client.scanStream({ count: 1000, match: "big:*" }))
    for (const key of batch)
        found.add(key);
assert.deepEqual([...found].sort(), ["big:10m", "big:1m", "big:20k"]);

const pipeline = client.pipeline();
for (const key of keys)
    pipeline.get(key);
pipeline.set("a", "b");
const results = await pipeline.exec();
keys.forEach((key, i) => assert.deepEqual(results[i], [null, records.get(key)]));
assert.match(results[keys.length][0].message, /^READONLY /);

await assert.rejects(client.call("NOSUCH"), /ERR unknown command 'NOSUCH'/);
await assert.rejects(client.set("a", "b"), /READONLY/);
await client.quit();

const automatic = new Redis({ ...options, enableAutoPipelining: true });
await automatic.connect();
assert.deepEqual(await Promise.all(keys.map((key) => automatic.get(key))), [...records.values()]);
automatic.disconnect();
