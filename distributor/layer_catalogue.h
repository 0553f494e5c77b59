/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_LAYER_CATALOGUE_H
#define TL_DISTRIBUTOR_LAYER_CATALOGUE_H

/* What layers an architecture may have, for people and programs: one document a type, from its own declarations.
 *   {type: "dense", about: "…", inputs: {minimum: 1, maximum: 1}, attributes: [
 *       {name: "units", kind: "integer", required: true, minimum: 1, maximum: 16777216, about: "…"},
 *       {name: "activation", kind: "choice", required: false, choices: ["none", …], default: "none", about: "…"}]}
 * Attributes stand in the order of the short form. kind is integer, number, boolean, choice or shape; numbers that must be
 * below their maximum have maximum_excluded: true. */

#include <bson/bson.h>

/* Fills *document (which it initialises) with type number index; false after the last. */
bool layer_catalogue_get(size_t index, bson_t *document);

#endif
