/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_RULE_H
#define TL_HUB_RULE_H

/* Rules as text, over named numbers of something that goes on: what a person would say while watching it.
 *
 *   rule       stop | fail | warn  when  condition
 *   condition  a and b | a or b | not a | ( a )
 *              NAME > NUMBER          also >= < <= = !=; NUMBER may have a unit (90s 10m 2h 1d, or %), or be a name
 *              NAME is nan            or infinite, missing; is not …
 *              NAME has not fallen for N epochs [by NUMBER]     or risen: by more than this, since its best
 *
 * "and" binds more than "or". A comparison with a number that is missing or NaN is false. */

#include "hub/error.h"

#define RULE_TEXT_BYTES 1000

enum rule_action { RULE_STOP, RULE_FAIL, RULE_WARN };

struct rule;

/* NULL: HUB_ERROR_INVALID says where ("at 'word': …"). */
struct rule *rule_parse(const char *text, bson_error_t *error);
void rule_free(struct rule *rule);
enum rule_action rule_action(const struct rule *rule);
const char *rule_text(const struct rule *rule);
/* The index-th name that it reads, NULL after the last. */
const char *rule_name(const struct rule *rule, size_t index);
/* Whether its condition holds now. value gives the number of a name, false where there is none. To be asked once an epoch, for
 * "has not fallen" counts how often. */
bool rule_holds(struct rule *rule, bool (*value)(void *data, const char *name, double *number), void *data);

#endif
