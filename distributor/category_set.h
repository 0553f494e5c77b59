/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_CATEGORY_SET_H
#define TL_DISTRIBUTOR_CATEGORY_SET_H

/* The different texts of a column, numbered from 0, and how often each was counted. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CATEGORY_SET_MOST  65536
#define CATEGORY_SET_BYTES (8 << 20) /* of all names */

struct category_set;

/* At most `limit` categories. NULL without memory. */
struct category_set *category_set_new(size_t limit);
void category_set_free(struct category_set *set);

/* The number of a text: what it has, or the next one; -1 where there are more than the limit, or no memory. */
int64_t category_set_add(struct category_set *set, const char *text, size_t length);
/* -1: not in the set. Of a numeric set the number counts, not how it is written. */
int64_t category_set_find(const struct category_set *set, const char *text, size_t length);

size_t category_set_count(const struct category_set *set);
const char *category_set_name(const struct category_set *set, size_t i);
/* Sum of the counts that were added to i. */
int64_t category_set_total(const struct category_set *set, size_t i);
void category_set_tally(struct category_set *set, size_t i, int64_t count);
/* The number of the category with the largest total, the first of equals; -1 of an empty set. */
int64_t category_set_most(const struct category_set *set);

/* In order: by value where all are finite numbers and numeric is wanted, with equal ones ("1", "1.0") made one and named by
 * their shortest decimal; else by bytes. Numbers given before do not count any more: order, where not NULL, gets the new
 * number of each old one and has room for as many. 0, -1 without memory. */
int category_set_sort(struct category_set *set, bool numeric, int64_t *order);
/* Whether all are finite numbers, and, where integers is not NULL, whether all of those are integers. */
bool category_set_is_numeric(const struct category_set *set, bool *integers);

#endif
