/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TL_DISTRIBUTOR_PICTURE_FOLDER_H
#define TL_DISTRIBUTOR_PICTURE_FOLDER_H

/* A folder of PNG pictures into a dataset: FOLDER/CLASS/….png, or FOLDER/train/CLASS/….png beside validation and test. The
 * classes are the training folders' names in the order of their bytes. Grey pictures are rows of (height, width), coloured ones
 * of (3, height, width), as convolutions take them; what is transparent is laid on black. All must be of one size and kind. */

#include "distributor/rows_source.h"

/* What is wrong with a picture is HUB_ERROR_INVALID naming its file; all are looked at before anything is saved. */
int picture_folder_save_dataset(struct hub *hub, const char *folder, const struct rows_options *options, bson_t *dataset,
                                bson_error_t *error);

#endif
