/* The live records of a data file, by number.
 *
 * How: the file is opened as a store; its live records are listed once into an array of 24 bytes
 * each that point into the store's memory, which a pin keeps. Missing keys are made from records
 * spread over the file: letters and digits put in place of some bytes, until the store does not
 * know the result; a key whose neighbours are all taken gets longer.
 *
 * Invariants
 * 1. Nothing is written to the disk.
 * 2. The store is never reloaded, so what a pin keeps is what every later lookup would find.
 * 3. missing_count >= 1, and no missing key is in the file.
 * Failure modes: a file without records is refused; all else is the store's or the memory's. */
#include "bench/records_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/assert.h"
#include "core/prefetch.h"
#include "core/random.h"
#include "store/store.h"

#define MISSING_MAX        65536
#define MISSING_BYTES_MAX  (64u << 20) /* of all missing keys: fewer if they are long */
#define ATTEMPTS_MAX       1000        /* to make one key; it is 60 bytes longer by then */
#define VALUE_PREFETCH_MAX 256         /* bytes of a value that will be compared soon */
#define SCAN_RECORDS       65536       /* between two calls of progress */

struct record {
    const unsigned char *key, *value;
    uint32_t value_bytes;
    uint16_t key_bytes;
};
static_assert(sizeof(struct record) <= 24, "a file of many records needs this often");
static_assert(TARN_KEY_BYTES_MAX <= UINT16_MAX && TARN_VALUE_BYTES_MAX <= UINT32_MAX, "sizes fit");

struct missing {
    uint32_t at; /* in missing_bytes */
    uint16_t size;
};

struct records_file {
    const struct os *os;
    struct tarn *store;
    struct tarn_pin *pin;
    struct record *records; /* mapped: capacity of them */
    uint64_t capacity;
    struct records_file_sums sums;
    struct missing *missing;
    uint32_t missing_count;
    unsigned char *missing_bytes;
};

/* --- the list of records --- */

static void add_record(void *context, struct tarn_bytes key, struct tarn_bytes value)
{
    struct records_file *f = context;
    struct records_file_sums *s = &f->sums;
    ASSERT(s->count < f->capacity); /* the store counted its keys itself */
    f->records[s->count++] = (struct record){
        .key = key.data,
        .value = value.data,
        .value_bytes = (uint32_t)value.size,
        .key_bytes = (uint16_t)key.size,
    };
    s->bytes += key.size + value.size;
    s->key_bytes_max = key.size > s->key_bytes_max ? key.size : s->key_bytes_max;
    s->value_bytes_max = value.size > s->value_bytes_max ? value.size : s->value_bytes_max;
}

static int list_records(struct records_file *f, const char *path, struct tarn_session *session,
                        tarn_progress progress, void *progress_context, struct tarn_error *error)
{
    struct tarn_stats stats;
    tarn_stats_get(f->store, &stats);
    if (stats.keys == 0)
        return error_set(error, TARN_INVALID, "%s has no records to ask for", path);
    int e = f->os->map(f->os, stats.keys * sizeof *f->records, (void **)&f->records);
    if (e < 0)
        return os_error(error, e, "no memory for the list of the records of", path);
    f->capacity = stats.keys;
    uint64_t cursor = 0;
    do {
        if (progress && !progress(progress_context, "listing", f->sums.count, stats.keys))
            return error_set(error, TARN_CANCELLED, "listing the records of %s was cancelled",
                             path);
        int status = tarn_scan(session, &cursor, SCAN_RECORDS, add_record, f);
        if (status != TARN_OK)
            return error_set(error, status, "%s: %s", path, tarn_status_text(status));
    } while (cursor != 0);
    ASSERT(f->sums.count == f->capacity);
    return TARN_OK;
}

/* --- keys that are not there --- */

static unsigned char letter(uint64_t *random)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    return (unsigned char)letters[random_below(random_next(random), sizeof letters - 1)];
}

/* Change *size bytes of a key, some more with each attempt, until the store does not know it: at
 * first one byte; after 16 attempts the key grows by one byte each time. false: give up. */
static bool alter_key(struct tarn_session *session, unsigned char *key, size_t *size,
                      uint64_t *random)
{
    for (unsigned attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        struct tarn_bytes ignored;
        if ((*size == 0 || attempt % 16 == 0) && *size < TARN_KEY_BYTES_MAX)
            key[(*size)++] = letter(random);
        key[random_below(random_next(random), *size)] = letter(random);
        if (tarn_get(session, (struct tarn_bytes){key, *size}, &ignored) == TARN_NOTFOUND)
            return true;
    }
    return false;
}

/* Where the bytes of all missing keys end at most: each may get ATTEMPTS_MAX / 16 + 1 longer. */
static size_t missing_room(const struct records_file *f, uint32_t wanted)
{
    uint64_t each = f->sums.key_bytes_max + ATTEMPTS_MAX / 16 + 1;
    uint64_t room = each * wanted;
    return room < MISSING_BYTES_MAX ? (size_t)room : MISSING_BYTES_MAX;
}

static int make_missing(struct records_file *f, const char *path, struct tarn_session *session,
                        struct tarn_error *error)
{
    uint64_t count = f->sums.count, random = 0;
    uint32_t wanted = count < MISSING_MAX ? (uint32_t)count : MISSING_MAX;
    size_t room = missing_room(f, wanted), used = 0, key_max = f->sums.key_bytes_max;
    unsigned char key[TARN_KEY_BYTES_MAX];
    f->missing = malloc(wanted * sizeof *f->missing);
    f->missing_bytes = malloc(room);
    if (!f->missing || !f->missing_bytes)
        return error_set(error, TARN_NOMEM, "out of memory for keys that are not in %s", path);
    for (uint32_t n = 0; n < wanted; n++) {
        const struct record *r = &f->records[count / wanted * n];
        size_t size = r->key_bytes;
        memcpy(key, r->key, size);
        if (!alter_key(session, key, &size, &random))
            continue;
        if (used + size > room)
            break;
        memcpy(f->missing_bytes + used, key, size);
        f->missing[f->missing_count++] = (struct missing){(uint32_t)used, (uint16_t)size};
        used += size;
        key_max = size > key_max ? size : key_max;
    }
    f->sums.key_bytes_max = key_max;
    if (f->missing_count == 0)
        return error_set(error, TARN_INVALID, "found no key that is not in %s", path);
    return TARN_OK;
}

/* --- open and close --- */

/* With a session of this thread's own, closed at the end; the pin stays. */
static int read_store(struct records_file *f, const char *path, tarn_progress progress,
                      void *progress_context, struct tarn_error *error)
{
    struct tarn_session *session;
    int status = tarn_session_open(f->store, &session, error);
    if (status != TARN_OK)
        return status;
    f->pin = tarn_pin(session, (struct tarn_bytes){NULL, 0}); /* the version */
    status = list_records(f, path, session, progress, progress_context, error);
    if (status == TARN_OK)
        status = make_missing(f, path, session, error);
    tarn_session_close(session);
    return status;
}

int records_file_open(const struct os *os, const char *path, const struct tarn_format *format,
                      tarn_progress progress, void *progress_context,
                      struct records_file **ret_file, struct tarn_error *error)
{
    struct tarn_options options = {
        .path = path,
        .format = *format,
        .data = TARN_DATA_IN_MEMORY, /* the records are compared where they lie */
        .memory_bytes_max = os_memory_total() / 4 * 3,
        .index_readonly = true,
        .progress = progress,
        .progress_context = progress_context,
    };
    struct records_file *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(error, TARN_NOMEM, "out of memory");
    f->os = os;
    int status = store_open(os, &options, &f->store, error);
    if (status == TARN_OK)
        status = read_store(f, path, progress, progress_context, error);
    if (status != TARN_OK) {
        records_file_close(f);
        return status;
    }
    *ret_file = f;
    return TARN_OK;
}

void records_file_close(struct records_file *f)
{
    if (!f)
        return;
    free(f->missing);
    free(f->missing_bytes);
    if (f->records)
        f->os->unmap(f->os, f->records, f->capacity * sizeof *f->records);
    tarn_unpin(f->pin);
    tarn_close(f->store);
    free(f);
}

/* --- what is asked --- */

struct records_file_sums records_file_sums(const struct records_file *f)
{
    return f->sums;
}

struct tarn_bytes records_file_key(const struct records_file *f, uint64_t i)
{
    return (struct tarn_bytes){f->records[i].key, f->records[i].key_bytes};
}

struct tarn_bytes records_file_value(const struct records_file *f, uint64_t i)
{
    return (struct tarn_bytes){f->records[i].value, f->records[i].value_bytes};
}

struct tarn_bytes records_file_missing(const struct records_file *f, uint64_t n)
{
    const struct missing *m = &f->missing[n % f->missing_count];
    return (struct tarn_bytes){f->missing_bytes + m->at, m->size};
}

void records_file_prefetch(const struct records_file *f, uint64_t i)
{
    prefetch_range(&f->records[i], sizeof f->records[i]);
}

void records_file_prefetch_bytes(const struct records_file *f, uint64_t i)
{
    const struct record *r = &f->records[i];
    size_t value = r->value_bytes < VALUE_PREFETCH_MAX ? r->value_bytes : VALUE_PREFETCH_MAX;
    prefetch_range(r->key, r->key_bytes ? r->key_bytes : 1u);
    prefetch_range(r->value, value ? value : 1);
}
