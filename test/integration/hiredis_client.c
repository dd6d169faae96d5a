/* Goal: hiredis works against tarn: blocking calls, a pipeline of 10,000, values with any bytes.
 *
 *     hiredis_client PORT KEY VALUE-FILE
 *
 * KEY must have the contents of VALUE-FILE as its value; "missing" must not exist. Prints the
 * first difference and exits with 1. Run by test_hiredis.py. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIPELINE 10000

static void fail(const char *what, const redisReply *reply)
{
    fprintf(stderr, "%s: reply type %d: %.200s\n", what, reply ? reply->type : -1,
            reply && reply->str ? reply->str : "");
    exit(1);
}

/* Check the reply against what is expected of a bulk string (value NULL: nil), and free it. */
static void expect_bulk(const char *what, redisReply *reply, const char *value, size_t size)
{
    if (!reply)
        fail(what, NULL);
    if (!value) {
        if (reply->type != REDIS_REPLY_NIL)
            fail(what, reply);
    } else if (reply->type != REDIS_REPLY_STRING || reply->len != size ||
               memcmp(reply->str, value, size) != 0) {
        fail(what, reply);
    }
    freeReplyObject(reply);
}

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        exit(2);
    long size = ftell(file);
    char *data = malloc((size_t)size + 1);
    rewind(file);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
        exit(2);
    fclose(file);
    *ret_size = (size_t)size;
    return data;
}

static void check_blocking(redisContext *c, const char *key, const char *value, size_t size)
{
    expect_bulk("GET", redisCommand(c, "GET %s", key), value, size);
    expect_bulk("GET missing", redisCommand(c, "GET missing"), NULL, 0);

    redisReply *reply = redisCommand(c, "MGET %s missing %s", key, key);
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[0]->len != size || memcmp(reply->element[0]->str, value, size) != 0 ||
        reply->element[1]->type != REDIS_REPLY_NIL || reply->element[2]->len != size)
        fail("MGET", reply);
    freeReplyObject(reply);

    reply = redisCommand(c, "STRLEN %s", key);
    if (!reply || reply->type != REDIS_REPLY_INTEGER || reply->integer != (long long)size)
        fail("STRLEN", reply);
    freeReplyObject(reply);

    reply = redisCommand(c, "SET a b");
    if (!reply || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "READONLY ", 9) != 0)
        fail("SET", reply);
    freeReplyObject(reply);

    expect_bulk("ECHO", redisCommand(c, "ECHO %b", "a\0\r\n", (size_t)4), "a\0\r\n", 4);
}

static void check_pipeline(redisContext *c, const char *key, const char *value, size_t size)
{
    for (int i = 0; i < PIPELINE; i++) {
        if (i % 3 == 0)
            redisAppendCommand(c, "GET %s", key);
        else if (i % 3 == 1)
            redisAppendCommand(c, "ECHO %d", i);
        else
            redisAppendCommand(c, "GET missing");
    }
    for (int i = 0; i < PIPELINE; i++) {
        void *reply = NULL;
        if (redisGetReply(c, &reply) != REDIS_OK) {
            fprintf(stderr, "pipeline, reply %d: %s\n", i, c->errstr);
            exit(1);
        }
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        if (i % 3 == 0)
            expect_bulk("pipelined GET", reply, value, size);
        else if (i % 3 == 1)
            expect_bulk("pipelined ECHO", reply, number, strlen(number));
        else
            expect_bulk("pipelined GET missing", reply, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t size;
    char *value = read_file(argv[3], &size);
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
    if (!c || c->err) {
        fprintf(stderr, "connect: %s\n", c ? c->errstr : "out of memory");
        return 1;
    }
    check_blocking(c, argv[2], value, size);
    check_pipeline(c, argv[2], value, size);
    redisFree(c);
    free(value);
    return 0;
}
