#pragma once

/* send(2) that fails when told, for errors that a real kernel does not show on demand. */

/* The next @n_times calls fail with @error. */
void fake_send_fail(int error, unsigned int n_times);
