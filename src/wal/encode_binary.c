/* Payloads of binary records: the parts one after the other, little endian, sizes in the head.
 *
 * Invariants
 * 1. encode_binary() writes encode_binary_size() bytes.
 * 2. What it wrote is decoded to the same change; nothing else of that size is.
 * Failure modes: a payload too short for its kind, or with bytes left over, is refused. */
#include "wal/encode.h"

#include "core/codec.h"

size_t encode_binary_size(const struct change *change)
{
    size_t size = change->kind == CHANGE_PATCH ? 8 : 0;
    if (encode_has_expiry(change->kind) && change->expire_ms != 0)
        size += 8;
    if (encode_has_key(change->kind))
        size += change->key.size;
    if (encode_has_value(change->kind))
        size += change->value.size;
    return size;
}

static unsigned char *put(unsigned char *out, struct tarn_bytes bytes)
{
    if (bytes.size > 0)
        memcpy(out, bytes.data, bytes.size);
    return out + bytes.size;
}

void encode_binary(const struct change *change, unsigned char *out)
{
    if (encode_has_expiry(change->kind) && change->expire_ms != 0) {
        store_u64le(out, (uint64_t)change->expire_ms);
        out += 8;
    }
    if (change->kind == CHANGE_PATCH) {
        store_u64le(out, change->offset);
        out += 8;
    }
    if (encode_has_key(change->kind))
        out = put(out, change->key);
    if (encode_has_value(change->kind))
        put(out, change->value);
}

bool decode_binary(enum change_kind kind, bool expires, size_t key_size, struct tarn_bytes payload,
                   struct change *ret_change)
{
    const unsigned char *p = payload.data;
    size_t fixed = (expires ? 8 : 0) + (kind == CHANGE_PATCH ? 8 : 0);
    if (payload.size < fixed || payload.size - fixed < key_size)
        return false;
    struct change c = {.kind = kind};
    if (expires) {
        c.expire_ms = (int64_t)load_u64le(p);
        if (!encode_has_expiry(kind) || c.expire_ms == 0)
            return false;
    }
    if (kind == CHANGE_PATCH)
        c.offset = load_u64le(p + fixed - 8);
    c.key = (struct tarn_bytes){p + fixed, key_size};
    c.value = (struct tarn_bytes){p + fixed + key_size, payload.size - fixed - key_size};
    if ((!encode_has_key(kind) && key_size > 0) || (!encode_has_value(kind) && c.value.size > 0))
        return false;
    *ret_change = c;
    return true;
}
