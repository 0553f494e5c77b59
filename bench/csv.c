/* SPDX-License-Identifier: Apache-2.0 */
/* How fast tables are read: bench_csv FILE LABEL prints MB of file a second of CPU time, on one core, of finding the records,
 * of the first pass (types, ranges, splits) and of both passes up to the floats that a part would hold; and the peak memory. */
#include "distributor/csv_pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int die(const bson_error_t *error)
{
    fprintf(stderr, "bench_csv: %s\n", error->message);
    return 1;
}

static int64_t count_records(const char *path, bson_error_t *error)
{
    struct csv_record record;
    int64_t records = 0;
    struct csv_scan *scan = csv_scan_open(path, ',', 0, error);
    while (scan && csv_scan_next(scan, &record, error) > 0)
        records++;
    csv_scan_close(scan);
    return records;
}

int main(int argc, char **argv)
{
    bson_error_t error = {0};
    struct csv_pass pass;
    struct stat status;
    struct rusage usage;
    if (argc != 3 || stat(argv[1], &status)) {
        fprintf(stderr, "usage: bench_csv FILE LABEL\n");
        return 2;
    }
    const char *label = argv[2];
    const double megabytes = (double)status.st_size / 1e6;
    struct csv_options options = {.path = argv[1], .name = "bench", .header = -1, .labels = &label, .label_count = 1,
                                  .horizon = 1, .test_share = 0.2};
    double begin = cpu();
    int64_t records = count_records(argv[1], &error);
    double scanned = cpu() - begin;
    begin = cpu();
    if (csv_pass_open(&pass, &options, &error) || csv_pass_learn(&pass, &error) || csv_pass_summarise(&pass, 0, &error))
        return die(&error);
    double learnt = cpu() - begin;
    float *x = calloc((size_t)pass.plan.preprocess->width, sizeof *x), sum = 0;
    csv_plan_apply(&pass.plan, &pass.values);
    if (!x || csv_pass_begin(&pass, "saving", &error))
        return die(&error);
    while (csv_pass_next(&pass, &error) > 0) {
        preprocess_encode(pass.plan.preprocess, pass.values.values, x);
        sum += x[0];
    }
    double both = cpu() - begin;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.0f MB, %lld records: scan %.0f MB/s, first pass %.0f MB/s, both passes %.0f MB/s, peak %.0f MB (%g)\n", megabytes,
           (long long)records, megabytes / scanned, megabytes / learnt, megabytes / both, (double)usage.ru_maxrss / 1e3, (double)sum);
    free(x);
    csv_pass_close(&pass);
    return 0;
}
