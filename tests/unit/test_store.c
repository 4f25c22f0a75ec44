#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fake_malloc.h"
#include "store/store.h"

#define START 1762518896789012U
#define ID_A  "0f8fad5b-d9cb-469f-a165-70867728950a"
#define ID_B  "0f8fad5b-d9cb-469f-a165-70867728950b"

static struct store *store;
static struct change *admitted;
static unsigned int n_admitted;
static int answer;

static int on_admitted(void *userdata, struct change *c)
{
	assert_ptr_equal(userdata, &n_admitted);
	admitted = c;
	n_admitted++;
	return answer;
}

static const struct store_callbacks callbacks = {
	.on_admitted = on_admitted,
	.userdata = &n_admitted,
};

static int set_up(_unused_ void **state)
{
	n_admitted = 0;
	admitted = NULL;
	answer = 0;
	assert_int_equal(store_new(&store, START, &callbacks), 0);
	return 0;
}

static int tear_down(_unused_ void **state)
{
	store = store_free(store);
	assert_null(store);
	assert_null(store_free(NULL));
	return 0;
}

/* A row of a journal, as far as the store looks at it. */
static struct change row(char *database, const char *id)
{
	struct change c = { .database = database, .from_journal = true };

	(void)snprintf(c.id, sizeof(c.id), "%s", id);
	return c;
}

static char orders[] = "orders", users[] = "users";

static void test_sequences_rise(_unused_ void **state)
{
	struct change a = row(orders, ID_A), b = row(users, ID_A), n = row(orders, ID_B);

	n.from_journal = false;
	assert_int_equal(store_admit(store, &a, false), 0);
	assert_ptr_equal(admitted, &a);
	assert_true(a.sequence == START + 1);
	assert_int_equal(store_admit(store, &b, false), 0);
	assert_ptr_equal(admitted, &b);
	assert_true(b.sequence == START + 2);
	assert_true(store_next_sequence(store) == START + 3);
	assert_int_equal(store_admit(store, &n, false), 0);
	assert_true(n.sequence == START + 4);
	assert_int_equal(n_admitted, 3);
}

static void test_read_again(_unused_ void **state)
{
	struct change a = row(orders, ID_A), again = row(orders, ID_A), b = row(orders, ID_B),
		      other = row(users, ID_A);

	assert_int_equal(store_admit(store, &a, false), 0);
	assert_int_equal(store_admit(store, &again, true), 0);
	assert_int_equal(n_admitted, 1);
	assert_true(again.sequence == 0);
	/* Another id, another database: not known. */
	assert_int_equal(store_admit(store, &b, true), 0);
	assert_int_equal(store_admit(store, &other, true), 0);
	assert_int_equal(n_admitted, 3);
	/* Not read again: delivered rather than lost. */
	assert_int_equal(store_admit(store, &again, false), 0);
	assert_int_equal(n_admitted, 4);
	assert_true(again.sequence == START + 4);
}

/* What is no row of a journal has an id that the relay made: it is never known. */
static void test_notifications_are_not_remembered(_unused_ void **state)
{
	struct change n = row(orders, ID_A), a = row(orders, ID_A);

	n.from_journal = false;
	assert_int_equal(store_admit(store, &n, false), 0);
	assert_int_equal(store_admit(store, &n, true), 0);
	assert_int_equal(store_admit(store, &a, true), 0);
	assert_int_equal(n_admitted, 3);
}

static void test_failures_are_passed_up(_unused_ void **state)
{
	struct change a = row(orders, ID_A), bad = row(orders, "no uuid"), b = row(orders, ID_B);

	answer = -ENOMEM;
	assert_int_equal(store_admit(store, &a, false), -ENOMEM);
	assert_int_equal(store_admit(store, &bad, false), -EINVAL);
	assert_int_equal(n_admitted, 1);
	/* A positive answer is a bug of the caller's. */
	answer = 1;
	assert_int_equal(store_admit(store, &b, false), -ENOTRECOVERABLE);
}

static void test_full(_unused_ void **state)
{
	struct change big = row(orders, ID_A), small = row(orders, ID_B);
	unsigned int n_big = 0, n_small = 0;

	big.payload.len = (size_t)1024 * 1024;
	while (!store_is_full(store)) {
		store_owe(store, &big);
		n_big++;
		assert_true(n_big <= 64);
	}
	assert_in_range(n_big, 60, 64);
	store_settle(store, &big, STORE_DROPPED);
	assert_false(store_is_full(store));
	/* Empty payloads cost something, too. */
	while (!store_is_full(store)) {
		store_owe(store, &small);
		n_small++;
		assert_true(n_small <= 1024 * 1024);
	}
	assert_true(n_small > 0);
	for (; n_small > 0; n_small--)
		store_settle(store, &small, STORE_DELIVERED);
	assert_false(store_is_full(store));
	for (; n_big > 1; n_big--)
		store_settle(store, &big, STORE_REJECTED);
	/* All is given back: it takes as much again. */
	for (n_big = 0; !store_is_full(store); n_big++)
		store_owe(store, &big);
	assert_in_range(n_big, 60, 64);
}

static void test_cursors(_unused_ void **state)
{
	char first[] = "1:2:", second[] = "5:9:7";
	struct cursor c = { .snapshot = first, .timeline = 1 }, empty = { .snapshot = NULL };
	const struct cursor *got;

	assert_null(store_get_cursor(store, "orders"));
	assert_int_equal(store_set_cursor(store, "orders", &c), 0);
	c.snapshot = second;
	assert_int_equal(store_set_cursor(store, "users", &c), 0);
	got = store_get_cursor(store, "orders");
	assert_non_null(got);
	assert_string_equal(got->snapshot, "1:2:");
	got = store_get_cursor(store, "users");
	assert_non_null(got);
	assert_string_equal(got->snapshot, "5:9:7");
	assert_int_equal(store_set_cursor(store, "orders", &c), 0);
	got = store_get_cursor(store, "orders");
	assert_non_null(got);
	assert_string_equal(got->snapshot, "5:9:7");
	assert_ptr_not_equal(got->snapshot, second);
	assert_int_equal(store_set_cursor(store, "orders", &empty), 0);
	assert_null(store_get_cursor(store, "orders"));
	assert_null(store_get_cursor(store, "order"));
}

/* A database that is only known by its changes has no cursor. */
static void test_changes_are_no_cursor(_unused_ void **state)
{
	struct change a = row(orders, ID_A);

	assert_int_equal(store_admit(store, &a, false), 0);
	assert_null(store_get_cursor(store, "orders"));
}

static void test_no_memory(_unused_ void **state)
{
	char snapshot[] = "1:2:";
	const struct cursor c = { .snapshot = snapshot };
	struct change a = row(orders, ID_A);
	struct store *other = NULL;
	bool failed = fake_malloc_works();
	int r;

	if (!failed)
		return;
	fake_malloc_fail_at(0);
	assert_int_equal(store_new(&other, START, &callbacks), -ENOMEM);
	assert_true(fake_malloc_end());
	assert_null(other);
	for (size_t n = 0; failed; n++) {
		fake_malloc_fail_at(n);
		r = store_admit(store, &a, false);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		/* Not known to anybody: the next try is the first. */
		assert_int_equal(n_admitted, !failed);
	}
	failed = true;
	for (size_t n = 0; failed; n++) {
		fake_malloc_fail_at(n);
		r = store_set_cursor(store, "users", &c);
		failed = fake_malloc_end();
		assert_int_equal(r, failed ? -ENOMEM : 0);
		assert_int_equal(store_get_cursor(store, "users") != NULL, !failed);
	}
}

#define TEST(_t) cmocka_unit_test_setup_teardown(_t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sequences_rise),
		TEST(test_read_again),
		TEST(test_notifications_are_not_remembered),
		TEST(test_failures_are_passed_up),
		TEST(test_full),
		TEST(test_cursors),
		TEST(test_changes_are_no_cursor),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
