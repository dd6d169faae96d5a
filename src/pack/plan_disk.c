/* Profiles of devices: text, and what a read costs between the sizes that are known.
 *
 * Built in are two round figures: a disk of 7200 turns a minute (seek and half a turn 12 ms, more
 * than half as many reads again when it may choose the order among 32), and a solid-state disk of
 * the middle. Whoever wants to know measures (`tarn plan --disk auto`). */
#include "pack/plan.h"

#include <math.h>
#include <stdio.h>

#include "core/number.h"

#define HDD "rate=200M,depth=32,4K=12ms/130"
#define SSD "rate=2G,depth=64,4K=90us/300000,64K=140us/30000,1M=700us/2000"

/* --- between points --- */

static double latency_at(const struct plan_point *point)
{
    return point->latency_us;
}

static double interval_at(const struct plan_point *point)
{
    return 1e6 / point->reads_s;
}

static double between(const struct plan_disk *disk, double bytes,
                      double (*at)(const struct plan_point *))
{
    const struct plan_point *p = disk->points;
    if (bytes <= p->bytes)
        return at(p);
    unsigned i = 1;
    while (i < disk->count && p[i].bytes < bytes)
        i++;
    if (i == disk->count)
        return at(&p[i - 1]) + (bytes - p[i - 1].bytes) / disk->rate * 1e6;
    double part = (bytes - p[i - 1].bytes) / (p[i].bytes - p[i - 1].bytes);
    return at(&p[i - 1]) + part * (at(&p[i]) - at(&p[i - 1]));
}

double plan_disk_latency_us(const struct plan_disk *disk, double bytes)
{
    return between(disk, bytes, latency_at);
}

double plan_disk_interval_us(const struct plan_disk *disk, double bytes)
{
    return between(disk, bytes, interval_at);
}

/* --- text --- */

/* Split off what is before the first `c`; all if there is none. *rest is what is behind it. */
static struct tarn_bytes take_until(struct tarn_bytes *rest, char c)
{
    const char *at = rest->size ? memchr(rest->data, c, rest->size) : NULL;
    size_t size = at ? (size_t)(at - (const char *)rest->data) : rest->size;
    struct tarn_bytes taken = {rest->data, size};
    size_t skip = size + (at != NULL);
    *rest = (struct tarn_bytes){(const char *)rest->data + skip, rest->size - skip};
    return taken;
}

static bool parse_point(struct tarn_bytes size, struct tarn_bytes value, struct plan_disk *disk)
{
    uint64_t bytes, ns, reads = 0;
    struct tarn_bytes time = take_until(&value, '/');
    if (disk->count == PLAN_POINTS_MAX || !number_parse_size(size, &bytes) ||
        !number_parse_duration(time, &ns) || ns == 0)
        return false;
    if (value.size > 0 && (!number_parse_scaled(value, &reads) || reads == 0))
        return false;
    if (bytes == 0 || (disk->count && (double)bytes <= disk->points[disk->count - 1].bytes))
        return false;
    double reads_s = reads ? (double)reads : 1e9 / (double)ns;
    disk->points[disk->count++] = (struct plan_point){(double)bytes, (double)ns / 1e3, reads_s};
    return true;
}

static bool parse_part(struct tarn_bytes part, struct plan_disk *disk)
{
    uint64_t number;
    struct tarn_bytes name = take_until(&part, '=');
    if (bytes_equal(name, bytes_of("rate"))) {
        if (!number_parse_size(part, &number))
            return false;
        disk->rate = (double)number;
        return number > 0;
    }
    if (bytes_equal(name, bytes_of("depth"))) {
        if (!number_parse_uint(part, &number) || number > 65536)
            return false;
        disk->depth = (unsigned)number;
        return number > 0;
    }
    return parse_point(name, part, disk);
}

int plan_disk_parse(struct tarn_bytes text, struct plan_disk *ret_disk, struct tarn_error *error)
{
    if (bytes_equal(text, bytes_of("hdd")))
        text = bytes_of(HDD);
    else if (bytes_equal(text, bytes_of("ssd")))
        text = bytes_of(SSD);
    struct plan_disk disk = {.depth = 1};
    while (text.size > 0) {
        struct tarn_bytes part = take_until(&text, ',');
        if (!parse_part(part, &disk))
            return error_set(error, TARN_INVALID,
                             "disk: cannot read %.*s; neither hdd, ssd nor a profile like %s",
                             (int)(part.size < 80 ? part.size : 80), (const char *)part.data, HDD);
    }
    if (disk.count == 0 || !(disk.rate > 0))
        return error_set(error, TARN_INVALID,
                         "disk: a profile needs rate=BYTES and a size of reads: %s", HDD);
    *ret_disk = disk;
    return TARN_OK;
}

/* A size as short as it is exact. */
static int format_size(double value, char *out, size_t room)
{
    static const char suffixes[] = {0, 'K', 'M', 'G', 'T'};
    uint64_t bytes = (uint64_t)llround(value);
    unsigned s = 0;
    while (s < 4 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        s++;
    }
    return snprintf(out, room, "%llu%.1s", (unsigned long long)bytes, suffixes + s);
}

const char *plan_disk_format(const struct plan_disk *disk, char out[PLAN_DISK_TEXT_BYTES])
{
    char size[32], time[32];
    format_size(round(disk->rate / 1048576) * 1048576, size, sizeof size);
    int at = snprintf(out, PLAN_DISK_TEXT_BYTES, "rate=%s,depth=%u", size, disk->depth);
    for (unsigned i = 0; i < disk->count; i++) {
        const struct plan_point *point = &disk->points[i];
        format_size(point->bytes, size, sizeof size);
        number_format_duration((uint64_t)llround(point->latency_us) * 1000, time);
        at += snprintf(out + at, (size_t)(PLAN_DISK_TEXT_BYTES - at), ",%s=%s/%.0f", size, time,
                       round(point->reads_s));
    }
    return out;
}
