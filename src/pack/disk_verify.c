/* Verifying a pack on disk: one pass over the data. See tarn_verify().
 *
 * What is checked: each raw MiB against the index's checksum; each block against its own; that the
 * blocks follow each other from the first byte to the last and hold whole records; that each
 * record's key leads to it, or to the repetition that counts; and the counts. */
#include <inttypes.h>

#include "pack/disk_internal.h"
#include "pack/disk_run.h"
#include "pack/lookup_internal.h"

struct verifier {
    const struct disk_pack *pack;
    const struct tarn_options *options;
    struct disk_buffer buffer;
    struct disk_live live;
    struct disk_run run;
    XXH3_state_t raw; /* over the bytes of the MiB that `at` is in */
    uint64_t at;      /* all before has been summed */
    uint64_t records, keys;
};

/* The end of a raw MiB, or of the file: does it match? */
static int check_raw(struct verifier *v, struct tarn_error *error)
{
    uint64_t number = (v->at - 1) >> CHECKSUM_BLOCK_BYTES_LOG2;
    if (XXH3_64bits_digest(&v->raw) != v->pack->index->checksums[number])
        return lookup_corrupt(v->pack, number << CHECKSUM_BLOCK_BYTES_LOG2,
                              "a MiB of the data does not match the index's checksum", error);
    XXH3_64bits_reset(&v->raw);
    return TARN_OK;
}

static int sum_run(struct verifier *v, struct tarn_error *error)
{
    if (v->run.start != v->at)
        return lookup_corrupt(v->pack, v->at, "no block begins where the one before ends", error);
    while (v->at < v->run.end) {
        uint64_t left = CHECKSUM_BLOCK_BYTES - v->at % CHECKSUM_BLOCK_BYTES;
        uint64_t size = v->run.end - v->at < left ? v->run.end - v->at : left;
        XXH3_64bits_update(&v->raw, v->run.data + (v->at - v->run.start), (size_t)size);
        v->at += size;
        if (v->at % CHECKSUM_BLOCK_BYTES == 0 || v->at == v->pack->data_bytes) {
            int status = check_raw(v, error);
            if (status != TARN_OK)
                return status;
        }
    }
    return TARN_OK;
}

static int wrong(const struct verifier *v, uint64_t at, const char *what, struct tarn_error *error)
{
    return error_set_at(error, TARN_CORRUPT, at, v->records,
                        "%s: record %" PRIu64 " at byte %" PRIu64 ": %s; build the index anew",
                        v->pack->path, v->records, at, what);
}

static int check_record(struct verifier *v, uint64_t at, struct record *record,
                        struct tarn_error *error)
{
    int status = disk_run_record(&v->run, at, record, error);
    if (status != TARN_OK)
        return status;
    if (v->pack->index->duplicates == 0) {
        status = disk_leads_to(v->pack, &v->live.buffer, record->key,
                               at >> v->pack->index->granule_log2, error);
        if (status == TARN_NOTFOUND)
            return wrong(v, at, "its key does not lead to its block", error);
    } else {
        status = disk_live_check(&v->live, &v->run, at, record, error);
    }
    v->keys += status == TARN_OK;
    v->records++;
    return status == TARN_NOTFOUND ? TARN_OK : status;
}

static int check_run(struct verifier *v, struct tarn_error *error)
{
    struct record record;
    int status = sum_run(v, error);
    for (uint64_t at = v->run.start; at < v->run.end && status == TARN_OK; at += record.size)
        status = check_record(v, at, &record, error);
    return status;
}

static bool report(const struct verifier *v)
{
    const struct tarn_options *o = v->options;
    return o->progress == NULL ||
           o->progress(o->progress_context, "verifying", v->at, v->pack->data_bytes);
}

static int check_all(struct verifier *v, struct tarn_error *error)
{
    const struct index *index = v->pack->index;
    int status = TARN_OK;
    while (status == TARN_OK) {
        status =
            disk_run_read(v->pack, v->run.next_block, DISK_RUN_BYTES, &v->buffer, &v->run, error);
        if (status == TARN_OK)
            status = check_run(v, error);
        if (status == TARN_OK && !report(v))
            return error_set(error, TARN_CANCELLED, "%s: verification was cancelled",
                             v->pack->path);
    }
    if (status != TARN_NOTFOUND)
        return status;
    if (v->at != v->pack->data_bytes || v->records != index->records ||
        v->keys != index_keys(index))
        return error_set(error, TARN_CORRUPT,
                         "%s: %" PRIu64 " records with %" PRIu64
                         " keys, but the index says %" PRIu64 " and %" PRIu64,
                         v->pack->path, v->records, v->keys, index->records, index_keys(index));
    return TARN_OK;
}

int disk_verify(const struct disk_pack *pack, const struct tarn_options *options,
                struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    struct verifier v = {.pack = pack, .options = options};
    if (pack->layout == DISK_HASHED)
        return disk_hashed_verify(pack, options, ret_report, error);
    disk_live_init(&v.live);
    XXH3_64bits_reset(&v.raw);
    int status = check_all(&v, error);
    disk_live_done(&v.live);
    disk_buffer_done(&v.buffer);
    if (status != TARN_OK)
        return status;
    *ret_report = (struct tarn_verify_report){
        .keys = v.keys,
        .records = v.records,
        .blocks = checksum_block_count(pack->data_bytes),
        .data_bytes = pack->data_bytes,
        .index_bytes = index_bytes(pack->index),
    };
    return TARN_OK;
}
