/* The names of encodings, as settings have them. */
#include "wal/record.h"

static const char *const names[WAL_ENCODINGS] = {"binary", "cbor", "json"};

const char *wal_encoding_name(enum wal_encoding encoding)
{
    return names[encoding];
}

bool wal_encoding_parse(const char *name, enum wal_encoding *ret_encoding)
{
    for (int i = 0; i < WAL_ENCODINGS; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret_encoding = (enum wal_encoding)i;
            return true;
        }
    return false;
}
