/*
 * The file's numbers of sinks and databases, and this run's.
 */

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/spool_private.h"

void spool_names_done(struct spool *sp)
{
	for (size_t k = 0; k < 2; k++) {
		struct spool_names *n = &sp->names[k];

		for (size_t i = 0; i < n->n_in_file; i++)
			free(n->in_file[i].name);
		free(n->in_file);
		free(n->to_file);
		*n = (struct spool_names){ .n_in_file = 0 };
	}
}

/* Numbers are drawn one by one; a file that tells of millions is damaged. */
#define MANY 16777216u

static int reach(void **array, size_t *n, size_t want, size_t size)
{
	size_t to = MAX(want, *n * 2);
	void *bigger;

	if (want <= *n)
		return 0;
	bigger = reallocarray(*array, to, size);
	if (!bigger)
		return error_origin(-ENOMEM);
	memset((char *)bigger + *n * size, 0, (to - *n) * size);
	*array = bigger;
	*n = to;
	return 0;
}

int spool_name_map(struct spool *sp, enum store_names kind, store_id file, store_id run)
{
	struct spool_names *n = &sp->names[kind];
	int r;

	r = reach((void **)&n->to_file, &n->n_to_file, (size_t)run + 1, sizeof(*n->to_file));
	if (r < 0)
		return error_fold(r);
	n->to_file[run] = file;
	n->in_file[file].run = run;
	return 0;
}

void spool_name_unmap(struct spool *sp, enum store_names kind, store_id run)
{
	struct spool_names *n = &sp->names[kind];

	if (run < n->n_to_file)
		n->to_file[run] = 0;
}

int spool_name_found(struct spool *sp, enum store_names kind, store_id file, const char *name)
{
	struct spool_names *n = &sp->names[kind];
	char *copy;
	int r;

	if (file >= MANY)
		return spool_is_damaged(sp, "a name's number is out of bounds");
	r = reach((void **)&n->in_file, &n->n_in_file, (size_t)file + 1, sizeof(*n->in_file));
	if (r < 0)
		return error_fold(r);
	copy = strdup(name);
	if (!copy)
		return error_origin(-ENOMEM);
	free(n->in_file[file].name);
	n->in_file[file].name = copy;
	return error_fold(spool_name_map(sp, kind, file, file));
}

store_id spool_to_file(const struct spool *sp, enum store_names kind, store_id run)
{
	const struct spool_names *n = &sp->names[kind];

	return run < n->n_to_file ? n->to_file[run] : 0;
}

store_id spool_to_run(const struct spool *sp, enum store_names kind, store_id file)
{
	const struct spool_names *n = &sp->names[kind];

	return file < n->n_in_file ? n->in_file[file].run : 0;
}

const char *spool_name_in_file(const struct spool *sp, enum store_names kind, store_id file)
{
	const struct spool_names *n = &sp->names[kind];

	return file < n->n_in_file ? n->in_file[file].name : NULL;
}
