/* A value taken for a whole number and added to.
 *
 * How: within tarn_update(), so that no increment is lost. Whole numbers are those that Redis
 * takes: number_parse_int()'s. Failure modes: no number, or a result out of range: said in
 * `problem`, the value stays. */
#include "server/increment.h"

#include "core/number.h"

enum tarn_verdict increment(void *context, struct tarn_update *update)
{
    struct increment *i = context;
    struct tarn_bytes *value = &update->record.value;
    int64_t old = 0;
    if (value->data != NULL && !number_parse_int(*value, &old)) {
        i->problem = "value is not an integer or out of range";
        return TARN_PEEK;
    }
    if (__builtin_add_overflow(old, i->by, &i->result)) {
        i->problem = "increment or decrement would overflow";
        return TARN_PEEK;
    }
    i->problem = NULL;
    i->text_size = number_format_int(i->result, i->text);
    *value = (struct tarn_bytes){i->text, i->text_size};
    return TARN_STORE;
}
