/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_CLI_PLOT_TEXT_H
#define TL_CLI_PLOT_TEXT_H

/* Learning curves as characters: Braille dots (2 × 4 a character) with a colour for each curve, or letters. */

#include "cli/curves.h"

struct plot_text_options {
    int width, height; /* of the area inside the axes, in characters */
    bool braille;      /* else the letters A, B, … */
    bool color;
};

/* Appends lines; labels[curves->task_count] for the legend. Nothing where there is no curve. */
void plot_text_append(bson_string_t *out, const struct curves *curves, const char *const *labels,
                      const struct plot_text_options *options);

#endif
