/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_HUB_SCHEMA_IMPL_H
#define TL_HUB_SCHEMA_IMPL_H

/* schemas/NAME.json as text, generated at build time; ends with NULLs. */
struct schema_text {
    const char *name;
    const char *text;
};
extern const struct schema_text schema_texts[];

#endif
