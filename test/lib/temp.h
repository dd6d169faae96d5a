/* A directory of a test's own below TMPDIR (or /tmp), removed with all that is in it. */
#ifndef LIB_TEMP_H
#define LIB_TEMP_H

#include "core/bytes.h"

/* Make one; returns its path, aborting the test program if it cannot. */
const char *temp_new(char out[256]);
void temp_free(const char *path);

/* path + "/" + name, in a static buffer of a few turns. */
const char *temp_name(const char *path, const char *name);

/* Write a file whole (missing directories are made); abort on failure. */
void temp_write(const char *path, const void *data, size_t size);
/* Does the file hold exactly these bytes? */
bool temp_holds(const char *path, const void *data, size_t size);
/* How many entries the directory has. */
size_t temp_count(const char *path);

#endif
