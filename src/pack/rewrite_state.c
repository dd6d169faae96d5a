/* How far a rewriting is: a small file, published whole after what it speaks of was synced. See
 * rewrite.h. Magic and size, the numbers and the secret as they lie in memory, XXH3-64 of all
 * before it. A state that is damaged, or of another data file or other settings, is none. */
#include <stdlib.h>

#include "core/status.h"
#include "os/publish.h"
#include "pack/rewrite_internal.h"

static const char magic[16] = "tarn-rewrite-1";

struct stored {
    char magic[sizeof magic];
    struct rewrite_state state;
    uint64_t checksum;
};
static_assert(sizeof(struct stored) ==
                  sizeof magic + 11 * sizeof(uint64_t) + HASH_SECRET_BYTES + sizeof(uint64_t),
              "no gaps, whose bytes would be summed");

static uint64_t sum(const struct stored *s)
{
    return hash_checksum(s, offsetof(struct stored, checksum), 1);
}

static bool same(const struct rewrite *r, const struct rewrite_state *s)
{
    const struct rewrite_state *now = &r->state;
    unsigned asked = r->settings->partitions_log2;
    return s->data_bytes == now->data_bytes && s->data_mtime_ns == now->data_mtime_ns &&
           s->ends_checksum == now->ends_checksum && s->format == now->format &&
           s->duplicates == now->duplicates && s->offset <= s->data_bytes &&
           s->partitions_log2 <= 14 && (asked == 0 || asked == s->partitions_log2) &&
           s->block_bytes == now->block_bytes;
}

int rewrite_load(struct rewrite *r, struct tarn_error *error)
{
    struct buffer content = {0};
    struct stored stored;
    int status = os_read_file(r->os, r->state_path, sizeof stored, &content, error);
    if (status == TARN_OK && content.size == sizeof stored)
        memcpy(&stored, content.data, sizeof stored);
    bool good = status == TARN_OK && content.size == sizeof stored &&
                memcmp(stored.magic, magic, sizeof magic) == 0 && stored.checksum == sum(&stored) &&
                same(r, &stored.state);
    buffer_done(&content);
    if (status == TARN_NOMEM || status == TARN_IO)
        return status;
    if (!good)
        return TARN_NOTFOUND;
    r->state = stored.state;
    return TARN_OK;
}

int rewrite_save(struct rewrite *r, struct tarn_error *error)
{
    struct stored stored = {.state = r->state};
    struct publish p;
    int status = spill_sync(&r->spill, error);
    if (status != TARN_OK)
        return status;
    r->state.spill_bytes = stored.state.spill_bytes = r->spill.end;
    memcpy(stored.magic, magic, sizeof magic);
    stored.checksum = sum(&stored);
    status = publish_open(&p, r->os, r->state_path, error);
    if (status != TARN_OK)
        return status;
    status = publish_append(&p, &stored, sizeof stored, error);
    if (status == TARN_OK)
        return publish_commit(&p, error);
    publish_abort(&p);
    return status;
}
