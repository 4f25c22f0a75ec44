#include "unit.h"

#include "base/list.h"

struct item {
	int value;
	struct list link;
};

static struct item items[6];

static int set_up(_unused_ void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		items[i].value = (int)i;
		list_init(&items[i].link);
	}
	return 0;
}

/* @expected: the digits of the values, in order; checked in both directions. */
static void assert_list(struct list *head, const char *expected)
{
	const struct list *l = head;
	struct item *item;
	size_t n = 0;

	list_for_each_entry(item, head, link) {
		assert_true(expected[n] != '\0');
		assert_int_equal(item->value, expected[n] - '0');
		n++;
	}
	assert_int_equal(expected[n], '\0');
	for (; n > 0; n--) {
		l = l->prev;
		assert_int_equal(container_of(l, struct item, link)->value, expected[n - 1] - '0');
	}
	assert_ptr_equal(l->prev, head);
}

static void test_order(_unused_ void **state)
{
	struct list head = LIST_INIT(head);

	assert_true(list_empty(&head));
	assert_null(list_first(&head, struct item, link));
	assert_list(&head, "");
	list_append(&head, &items[1].link);
	list_append(&head, &items[2].link);
	list_prepend(&head, &items[0].link);
	list_insert_before(&items[2].link, &items[5].link);
	assert_list(&head, "0152");
	assert_ptr_equal(list_first(&head, struct item, link), &items[0]);
	assert_false(list_empty(&head));
}

static void test_del(_unused_ void **state)
{
	struct list head = LIST_INIT(head);

	for (int i = 0; i < 3; i++)
		list_append(&head, &items[i].link);
	list_del(&items[1].link);
	assert_list(&head, "02");
	assert_true(list_empty(&items[1].link));
	/* On no list: no effect. */
	list_del(&items[1].link);
	list_del(&items[5].link);
	assert_list(&head, "02");
	list_append(&head, &items[1].link);
	assert_list(&head, "021");
	list_del(&items[0].link);
	list_del(&items[2].link);
	list_del(&items[1].link);
	assert_list(&head, "");
}

static void test_splice(_unused_ void **state)
{
	struct list to = LIST_INIT(to), from = LIST_INIT(from);

	list_splice(&to, &from);
	assert_list(&to, "");
	list_append(&from, &items[0].link);
	list_append(&from, &items[1].link);
	list_splice(&to, &from);
	assert_list(&to, "01");
	assert_list(&from, "");
	list_append(&from, &items[2].link);
	list_splice(&to, &from);
	assert_list(&to, "012");
	list_splice(&to, &from);
	assert_list(&to, "012");
	assert_list(&from, "");
}

static void test_unlinked_while_walking(_unused_ void **state)
{
	struct list head = LIST_INIT(head), odd = LIST_INIT(odd);
	struct item *item, *safe;

	for (size_t i = 0; i < ARRAY_SIZE(items); i++)
		list_append(&head, &items[i].link);
	list_for_each_entry_safe(item, safe, &head, link) {
		if (item->value % 2 == 0)
			continue;
		list_del(&item->link);
		list_append(&odd, &item->link);
	}
	assert_list(&head, "024");
	assert_list(&odd, "135");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_order, set_up),
		cmocka_unit_test_setup(test_del, set_up),
		cmocka_unit_test_setup(test_splice, set_up),
		cmocka_unit_test_setup(test_unlinked_while_walking, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
