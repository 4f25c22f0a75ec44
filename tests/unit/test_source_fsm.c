#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "source/source_fsm.h"

/* What is allowed to happen, written down a second time: one line a state, one column an input, in
 * the order of the enums. A letter names the next state, '.' means that it cannot happen.
 *
 * P paused, W waiting, R resolving, C connecting, S setting_up, U catching_up, L listening,
 * B backing_off */
static const char letters[] = "PWRCSULB";
static const char *const expected[_SOURCE_STATE_N] = {
	/*			  resume, pause, reconnect, admitted, resolved, connected,
	 *			  set_up, caught_up, doorbell, heartbeat, failed, retry */
	[SOURCE_PAUSED] = "WPP.....P...",     [SOURCE_WAITING] = "WPWR....W...",
	[SOURCE_RESOLVING] = "RPW.C...R.B.",  [SOURCE_CONNECTING] = "CPW..S..C.B.",
	[SOURCE_SETTING_UP] = "SPW...U.S.B.", [SOURCE_CATCHING_UP] = "UPW....LUUB.",
	[SOURCE_LISTENING] = "LPW.....LLB.",  [SOURCE_BACKING_OFF] = "BPW.....B..W",
};

static void test_every_pair(_unused_ void **state)
{
	for (int s = 0; s < _SOURCE_STATE_N; s++) {
		assert_int_equal(strlen(expected[s]), _SOURCE_INPUT_N);
		for (int i = 0; i < _SOURCE_INPUT_N; i++) {
			const struct source_transition *t =
				source_fsm_step((enum source_state)s, (enum source_input)i);

			if (expected[s][i] == '.') {
				assert_null(t);
				continue;
			}
			assert_non_null(t);
			assert_int_equal(t->state, s);
			assert_int_equal(t->input, i);
			assert_int_equal(letters[t->next], expected[s][i]);
			assert_true(strlen(t->why) > 0);
		}
	}
}

/* Everything that is open must be closed on the way out, and is opened on the way in. */
static void test_actions_fit_their_states(_unused_ void **state)
{
	static const enum source_action enter[_SOURCE_STATE_N] = {
		[SOURCE_PAUSED] = SOURCE_DO_CLOSE,      [SOURCE_WAITING] = SOURCE_DO_QUEUE,
		[SOURCE_RESOLVING] = SOURCE_DO_RESOLVE, [SOURCE_CONNECTING] = SOURCE_DO_CONNECT,
		[SOURCE_SETTING_UP] = SOURCE_DO_SET_UP, [SOURCE_CATCHING_UP] = SOURCE_DO_CATCH_UP,
		[SOURCE_LISTENING] = SOURCE_DO_LISTEN,  [SOURCE_BACKING_OFF] = SOURCE_DO_BACK_OFF,
	};

	for (int s = 0; s < _SOURCE_STATE_N; s++) {
		for (int i = 0; i < _SOURCE_INPUT_N; i++) {
			const struct source_transition *t =
				source_fsm_step((enum source_state)s, (enum source_input)i);

			if (t && t->next != t->state)
				assert_int_equal(t->action, enter[t->next]);
			else if (t && i == SOURCE_IN_HEARTBEAT)
				assert_int_equal(t->action, SOURCE_DO_AUDIT);
			else if (t && i == SOURCE_IN_DOORBELL &&
				 (s == SOURCE_LISTENING || s == SOURCE_CATCHING_UP))
				assert_int_equal(t->action, SOURCE_DO_READ);
			else if (t)
				assert_int_equal(t->action, SOURCE_DO_NOTHING);
		}
	}
}

static void test_all_can_be_reached_and_named(_unused_ void **state)
{
	bool seen[_SOURCE_STATE_N] = { [SOURCE_PAUSED] = true };

	for (int round = 0; round < _SOURCE_STATE_N; round++)
		for (int s = 0; s < _SOURCE_STATE_N; s++)
			for (int i = 0; seen[s] && i < _SOURCE_INPUT_N; i++) {
				const struct source_transition *t =
					source_fsm_step((enum source_state)s, (enum source_input)i);

				if (t)
					seen[t->next] = true;
			}
	for (int s = 0; s < _SOURCE_STATE_N; s++) {
		assert_true(seen[s]);
		assert_non_null(source_state_name((enum source_state)s));
	}
	for (int i = 0; i < _SOURCE_INPUT_N; i++)
		assert_non_null(source_input_name((enum source_input)i));
	for (int a = 0; a < _SOURCE_ACTION_N; a++)
		assert_non_null(source_action_name((enum source_action)a));
	assert_string_equal(source_state_name(SOURCE_BACKING_OFF), "backing_off");
}

static void test_picture(_unused_ void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	assert_int_equal(source_fsm_print(f), 0);
	assert_int_equal(fclose(f), 0);
	assert_non_null(strstr(text, "stateDiagram-v2\n\t[*] --> paused\n"));
	assert_non_null(strstr(text, "\tsetting_up --> catching_up: set_up / catch_up\n"));
	assert_null(strstr(text, "nothing"));
	free(text);

	f = fopen("/dev/full", "w");
	assert_non_null(f);
	assert_int_equal(setvbuf(f, NULL, _IONBF, 0), 0);
	assert_int_equal(source_fsm_print(f), -EIO);
	(void)fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pair),
		cmocka_unit_test(test_actions_fit_their_states),
		cmocka_unit_test(test_all_can_be_reached_and_named),
		cmocka_unit_test(test_picture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
