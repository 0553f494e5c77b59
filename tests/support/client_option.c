/* SPDX-License-Identifier: Apache-2.0 */
#include "client_option.h"

#include "hub/store_mongo_impl.h"

static const char *noted;
static int32_t last;

static void note(mongoc_client_t *client)
{
    last = mongoc_uri_get_option_as_int32(mongoc_client_get_uri(client), noted, -1);
}

void client_option_note(const char *option)
{
    noted = option;
    last = -1;
    mongo_client_made = note;
}

int32_t client_option_last(void)
{
    return last;
}
