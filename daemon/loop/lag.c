#include "loop/lag.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

/* "ran waited slices": nanoseconds twice, and a number. */
static usec_t read_delay(const struct lag *g)
{
	char text[96];
	char *end;
	ssize_t n;

	if (g->fd < 0)
		return 0;
	n = pread(g->fd, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	(void)strtoull(text, &end, 10);
	return strtoull(end, NULL, 10) / 1000;
}

void lag_init(struct lag *g, const char *path)
{
	*g = (struct lag){ .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) };
}

void lag_done(struct lag *g)
{
	g->fd = close_fd(g->fd);
}

void lag_begin(struct lag *g, usec_t now)
{
	if (g->asked_at && usec_sub(now, g->asked_at) < LAG_STALE)
		return;
	g->asked_at = now;
	g->delay = read_delay(g);
}

static bool window_is_over(const struct lag *g, usec_t now, unsigned int n)
{
	return usec_sub(now, g->window) >= n * LAG_WINDOW;
}

void lag_end(struct lag *g, usec_t took, usec_t now)
{
	if (window_is_over(g, now, 1)) {
		g->longest_before = window_is_over(g, now, 2) ? 0 : g->longest;
		g->longest = 0;
		g->window = now;
	}
	g->longest = MAX(g->longest, took);
}

usec_t lag_waited(const struct lag *g, usec_t took)
{
	return MIN(usec_sub(read_delay(g), g->delay), took);
}

usec_t lag_longest(const struct lag *g, usec_t now)
{
	if (window_is_over(g, now, 2))
		return 0;
	return window_is_over(g, now, 1) ? g->longest : MAX(g->longest, g->longest_before);
}
