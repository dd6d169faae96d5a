/* Redis's settings of how data are kept, as far as they mean the same here.
 *
 * appendonly   yes: there is a log, no: durability none
 * appendfsync  always: commit, everysec: periodic. "no" (write at once, sync never) has no equal:
 *              periodic loses less, async more. It is what async and none are shown as
 * save         "N 1": a checkpoint every N seconds, "": none by time */
#include "server/config_redis.h"

#include "core/number.h"

#define SECOND_NS 1000000000ull

static void get_appendonly(const struct config *config, struct buffer *out)
{
    buffer_append_text(out, config->durability == TARN_DURABILITY_NONE ? "no" : "yes");
}

static const char *set_appendonly(const struct config *config, struct tarn_bytes value,
                                  struct buffer *out)
{
    bool yes = bytes_equal_nocase(value, "yes");
    if (!yes && !bytes_equal_nocase(value, "no"))
        return "argument must be 'yes' or 'no'";
    const struct option *row = options_find(&config_options, bytes_of("durability"));
    if (yes && config->durability != TARN_DURABILITY_NONE)
        buffer_append_text(out, row->words[config->durability]);
    else
        buffer_append_text(out, row->words[yes ? TARN_DURABILITY_PERIODIC : TARN_DURABILITY_NONE]);
    return NULL;
}

static void get_appendfsync(const struct config *config, struct buffer *out)
{
    buffer_append_text(out, config->durability == TARN_DURABILITY_COMMIT     ? "always"
                            : config->durability == TARN_DURABILITY_PERIODIC ? "everysec"
                                                                             : "no");
}

static const char *set_appendfsync(const struct config *config, struct tarn_bytes value,
                                   struct buffer *out)
{
    (void)config;
    if (bytes_equal_nocase(value, "no"))
        return "there is nothing that means 'no': see durability async and periodic";
    if (bytes_equal_nocase(value, "always"))
        buffer_append_text(out, "commit");
    else if (bytes_equal_nocase(value, "everysec"))
        buffer_append_text(out, "periodic");
    else
        return "argument(s) must be one of the following: everysec, always, no";
    return NULL;
}

static void get_save(const struct config *config, struct buffer *out)
{
    if (config->checkpoint_period_ns == 0)
        return;
    buffer_append_uint(out, config_dial(config).checkpoint_s);
    buffer_append_text(out, " 1");
}

static const char *set_save(const struct config *config, struct tarn_bytes value,
                            struct buffer *out)
{
    (void)config;
    const char *space = value.size > 0 ? memchr(value.data, ' ', value.size) : NULL;
    int64_t seconds, changes;
    if (value.size == 0) {
        buffer_append_text(out, "0");
        return NULL;
    }
    if (space == NULL)
        return "Invalid save parameters";
    struct tarn_bytes first = {value.data, (size_t)(space - (const char *)value.data)};
    struct tarn_bytes second = {space + 1, value.size - first.size - 1};
    if (!number_parse_int(first, &seconds) || !number_parse_int(second, &changes) || seconds < 1 ||
        seconds > INT32_MAX || changes < 0)
        return "Invalid save parameters";
    if (changes > 1)
        return "a checkpoint is made after a time, not after a number of changes: 'SECONDS 1'";
    buffer_append_int(out, seconds);
    return NULL;
}

const struct config_mapped config_mapped[CONFIG_MAPPED_COUNT] = {
    {"appendfsync", "durability", get_appendfsync, set_appendfsync},
    {"appendonly", "durability", get_appendonly, set_appendonly},
    {"save", "checkpoint-period", get_save, set_save},
};

const struct config_mapped *config_mapped_find(struct tarn_bytes name)
{
    for (size_t i = 0; i < CONFIG_MAPPED_COUNT; i++)
        if (bytes_equal_nocase(name, config_mapped[i].name))
            return &config_mapped[i];
    return NULL;
}
