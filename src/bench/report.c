/* What the reports share, and the series over time as CSV; see report.h. */
#include "bench/report.h"

bool report_memory_per_key(const struct figures *figures, double *ret_bytes)
{
    if (!figures->loaded || figures->memory_loaded_bytes == 0 ||
        figures->memory_before_bytes == 0 || figures->load_operations == 0)
        return false;
    double grown = (double)figures->memory_loaded_bytes - (double)figures->memory_before_bytes;
    *ret_bytes = (grown - (double)figures->data_bytes) / (double)figures->load_operations;
    return true;
}

void report_csv(const struct figures *figures, struct buffer *out)
{
    buffer_append_text(out, "at_s,seconds,operations,errors,ops_per_sec,mean_us,p50_us,p99_us,"
                            "p999_us,max_us\n");
    for (size_t i = 0; i < figures->points_count; i++) {
        const struct figures_point *p = &figures->points[i];
        buffer_printf(out, "%.3f,%.3f,%llu,%llu,%.1f,%.3f,%.3f,%.3f,%.3f,%.3f\n", p->at_s,
                      p->seconds, (unsigned long long)p->operations, (unsigned long long)p->errors,
                      p->seconds > 0 ? (double)p->operations / p->seconds : 0, p->mean_us,
                      p->p50_us, p->p99_us, p->p999_us, p->max_us);
    }
}
