/* Verification of an open pack: reads everything and believes nothing.
 *
 * The file's blocks were compared with the index's checksums when the pack was opened; what is left
 * is whether index and records agree: walking the data from the first byte, each record must parse,
 * be known as a record start, and be found under its key (or, of a repeated key, the record that
 * counts: a later one under LAST, an earlier one else), and the counts must be the index's. One
 * thread. */
#include <inttypes.h>

#include "pack/pack.h"

struct walk {
    const struct pack *pack;
    const struct tarn_options *options;
    uint64_t at, records, live;
};

static int bad(const struct walk *w, struct tarn_error *error, const char *what)
{
    return error_set_at(error, TARN_CORRUPT, w->at, w->records,
                        "%s: record %" PRIu64 " at byte %" PRIu64 ": %s", w->options->path,
                        w->records, w->at, what);
}

static int check_record(struct walk *w, struct record *ret_record, struct tarn_error *error)
{
    const struct pack *pack = w->pack;
    struct tarn_bytes data = {pack->data, pack->data_bytes}, value;
    enum format_outcome outcome = format_parse(&pack->index->format, data, w->at, true, ret_record);
    if (outcome != FORMAT_OK)
        return format_error(outcome, w->options->path, w->at, w->records, error);
    if (!pack_record_starts(pack, w->at))
        return bad(w, error, "the index does not know that a record starts here");
    if (pack_get(pack, ret_record->key, &value) != TARN_OK)
        return bad(w, error, "its key is not found through the index");
    if (value.data == ret_record->value.data)
        w->live++;
    else if (pack->index->duplicates == 0)
        return bad(w, error, "its key leads to another record");
    else if (((const char *)value.data < (const char *)ret_record->value.data) ==
             (pack->index->duplicates_policy == TARN_DUPLICATES_LAST))
        return bad(w, error, "its key leads to a repetition that does not count");
    return TARN_OK;
}

int pack_verify(const struct pack *pack, const struct tarn_options *options,
                struct tarn_verify_report *ret_report, struct tarn_error *error)
{
    const struct index *index = pack->index;
    struct walk w = {.pack = pack, .options = options};
    while (w.at < pack->data_bytes) {
        struct record record;
        int status = check_record(&w, &record, error);
        if (status != TARN_OK)
            return status;
        w.records++;
        w.at += record.size;
        if (options->progress != NULL && w.records % 4096 == 0 &&
            !options->progress(options->progress_context, "verifying", w.at, pack->data_bytes))
            return error_set(error, TARN_CANCELLED, "%s: verification was cancelled",
                             options->path);
    }
    if (w.records != index->records || w.live != index_keys(index))
        return error_set(error, TARN_CORRUPT,
                         "%s: %" PRIu64 " records with %" PRIu64
                         " keys, but the index says %" PRIu64 " and %" PRIu64,
                         options->path, w.records, w.live, index->records, index_keys(index));
    *ret_report = (struct tarn_verify_report){
        .keys = w.live,
        .records = w.records,
        .blocks = checksum_block_count(pack->data_bytes),
        .data_bytes = pack->data_bytes,
        .index_bytes = index_bytes(index),
    };
    return TARN_OK;
}
