#pragma once

/*
 * The parameters of requests to the admin server: of the query of a GET, of the JSON object in a POST. One
 * row each; a route says which ones it takes. Pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/strbuf.h"
#include "loop/httpd_request.h"

#define PARAM_DATABASE (1u << 0)
#define PARAM_SINK     (1u << 1)
#define PARAM_AFTER    (1u << 2)
#define PARAM_UNTIL    (1u << 3)
#define PARAM_SINCE    (1u << 4)
#define PARAM_BEFORE   (1u << 5)
#define PARAM_LIMIT    (1u << 6)
#define PARAM_LAST     (1u << 7)
#define PARAM_FOLLOW   (1u << 8)
#define PARAM_NUMBERS  (1u << 9)
#define PARAM_ALL      (1u << 10)

struct admin_params {
	unsigned int given; /* bits of the above */
	char database[LIMIT_NAME + 1], sink[LIMIT_NAME + 1];
	uint64_t after, until; /* sequences, or numbers of dead letters */
	usec_t since, before;  /* CLOCK_REALTIME */
	uint64_t limit, last;
	bool follow, all;
	uint64_t numbers[LIMIT_ADMIN_NUMBERS];
	size_t n_numbers;
};

enum { PARAMS_E_INVALID = 1 };

/* Reads what @q brings of the parameters @allowed. PARAMS_E_INVALID: @why tells, as one phrase. -ENOMEM. */
int admin_params_query(struct admin_params *ret, unsigned int allowed,
		       const struct httpd_request *q, struct strbuf *why) _must_check_;
int admin_params_body(struct admin_params *ret, unsigned int allowed, const struct httpd_request *q,
		      struct strbuf *why) _must_check_;

/* The word of @words (the last one NULL) that may be meant by @written, or NULL. */
const char *nearest_word(const char *const *words, const char *written) _pure_;
