/* Goal: a C program with hiredis writes to tarn: formatted and binary values, a pipeline of 10,000,
 * a transaction, a value large enough to be received in pieces; in RESP2, and in RESP3 if this
 * hiredis knows it.
 *
 *     hiredis_writer PORT
 *
 * The server must be an empty writable store. Prints the first difference and exits with 1. Run by
 * test_hiredis.py. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE    10000
#define LARGE_BYTES (5u << 20)

static void fail(const char *what, const redisReply *reply)
{
    fprintf(stderr, "%s: reply type %d, integer %lld: %.200s\n", what, reply ? reply->type : -1,
            reply ? reply->integer : 0, reply && reply->str ? reply->str : "");
    exit(1);
}

/* Check a reply and free it: its type and text, or with text NULL its integer. */
static void expect(const char *what, redisReply *reply, int type, const char *text,
                   long long integer)
{
    if (!reply || reply->type != type)
        fail(what, reply);
    if (text ? strcmp(reply->str, text) != 0 : reply->integer != integer)
        fail(what, reply);
    freeReplyObject(reply);
}

static void check_commands(redisContext *c)
{
    expect("SET", redisCommand(c, "SET %s %s EX %d", "key", "a value", 1000), REDIS_REPLY_STATUS,
           "OK", 0);
    expect("GET", redisCommand(c, "GET key"), REDIS_REPLY_STRING, "a value", 0);
    expect("SET NX", redisCommand(c, "SET key other NX"), REDIS_REPLY_NIL, NULL, 0);
    expect("PERSIST", redisCommand(c, "PERSIST key"), REDIS_REPLY_INTEGER, NULL, 1);
    expect("TTL", redisCommand(c, "TTL key"), REDIS_REPLY_INTEGER, NULL, -1);
    expect("INCR", redisCommand(c, "INCR counter"), REDIS_REPLY_INTEGER, NULL, 1);
    expect("INCR of text", redisCommand(c, "INCR key"), REDIS_REPLY_ERROR,
           "ERR value is not an integer or out of range", 0);
    expect("SET of bytes", redisCommand(c, "SET %b %b", "k\0\r\n", (size_t)4, "v\0\r\n", (size_t)4),
           REDIS_REPLY_STATUS, "OK", 0);
    expect("STRLEN", redisCommand(c, "STRLEN %b", "k\0\r\n", (size_t)4), REDIS_REPLY_INTEGER, NULL,
           4);
    expect("DEL", redisCommand(c, "DEL key nope"), REDIS_REPLY_INTEGER, NULL, 1);
}

static void check_pipeline(redisContext *c)
{
    for (int i = 0; i < PIPELINE; i++)
        redisAppendCommand(c, "INCRBY sum %d", i);
    long long sum = 0;
    for (int i = 0; i < PIPELINE; i++) {
        void *reply = NULL;
        if (redisGetReply(c, &reply) != REDIS_OK) {
            fprintf(stderr, "pipeline, reply %d: %s\n", i, c->errstr);
            exit(1);
        }
        sum += i;
        expect("pipelined INCRBY", reply, REDIS_REPLY_INTEGER, NULL, sum);
    }
}

static void check_transaction(redisContext *c)
{
    expect("MULTI", redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", 0);
    expect("queued", redisCommand(c, "SET t 1"), REDIS_REPLY_STATUS, "QUEUED", 0);
    expect("queued", redisCommand(c, "INCR t"), REDIS_REPLY_STATUS, "QUEUED", 0);
    redisReply *reply = redisCommand(c, "EXEC");
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STATUS ||
        reply->element[1]->type != REDIS_REPLY_INTEGER || reply->element[1]->integer != 2)
        fail("EXEC", reply);
    freeReplyObject(reply);
}

static void check_large(redisContext *c)
{
    char *value = malloc(LARGE_BYTES);
    if (!value)
        exit(2);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        value[i] = (char)(i * 31 >> 3);
    expect("SET of much", redisCommand(c, "SET large %b", value, (size_t)LARGE_BYTES),
           REDIS_REPLY_STATUS, "OK", 0);
    redisReply *reply = redisCommand(c, "GET large");
    if (!reply || reply->type != REDIS_REPLY_STRING || reply->len != LARGE_BYTES ||
        memcmp(reply->str, value, LARGE_BYTES) != 0)
        fail("GET of much", NULL);
    freeReplyObject(reply);
    free(value);
}

static void check_all(redisContext *c)
{
    check_commands(c);
    check_pipeline(c);
    check_transaction(c);
    check_large(c);
    expect("FLUSHALL", redisCommand(c, "FLUSHALL"), REDIS_REPLY_STATUS, "OK", 0);
    expect("DBSIZE", redisCommand(c, "DBSIZE"), REDIS_REPLY_INTEGER, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
    if (!c || c->err) {
        fprintf(stderr, "connect: %s\n", c ? c->errstr : "out of memory");
        return 1;
    }
    check_all(c);
#ifdef REDIS_REPLY_MAP
    redisReply *hello = redisCommand(c, "HELLO 3");
    if (!hello || hello->type != REDIS_REPLY_MAP)
        fail("HELLO", hello);
    freeReplyObject(hello);
    check_all(c);
#endif
    redisFree(c);
    return 0;
}
