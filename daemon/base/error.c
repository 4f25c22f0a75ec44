#include "base/error.h"

struct place {
	const char *file;
	const char *func;
	int line;
	int code;
};

static _Thread_local struct place trace[ERROR_TRACE_MAX];
static _Thread_local unsigned int n_trace;

void error_trace_add(int r, const char *file, int line, const char *func)
{
	if (n_trace < ERROR_TRACE_MAX)
		trace[n_trace++] =
			(struct place){ .file = file, .func = func, .line = line, .code = r };
}

void error_trace_begin(int r, const char *file, int line, const char *func)
{
	n_trace = 0;
	error_trace_add(r, file, line, func);
}

void error_trace_print(FILE *f)
{
	for (unsigned int i = 0; i < n_trace; i++)
		(void)fprintf(f, "  at %s (%s:%d): %d\n", trace[i].func, trace[i].file,
			      trace[i].line, trace[i].code);
}
