/* What `tarn plan` found, as text for people and as JSON (members: doc/plan.md). */
#ifndef CLI_PLAN_REPORT_H
#define CLI_PLAN_REPORT_H

#include "core/buffer.h"
#include "pack/plan.h"

struct plan_report {
    struct plan_input input;
    const char *file;      /* NULL: a data set that was described */
    bool estimated;        /* the number of records is */
    const char *disk_name; /* as asked: "hdd", "auto", ... */
    bool chosen_any;
    struct plan_candidate chosen; /* if any */
};

/* Appended to out, which is marked as failed where memory is out. */
void plan_report_text(const struct plan_report *report, struct buffer *out);
void plan_report_json(const struct plan_report *report, struct buffer *out);

/* Every layout as it is best, and blocks with each granule and, with the best of these, some
 * numbers of fingerprint bits: calls `visit` for each. The order of the text's rows. */
typedef void (*plan_visit)(void *context, const struct plan_candidate *candidate);
void plan_report_rows(const struct plan_report *report, plan_visit visit, void *context);

/* "tarn index --memory 4G --granule 64K --fingerprint-bits 0 FILE" */
void plan_report_command(const struct plan_report *report, struct buffer *out);

#endif
