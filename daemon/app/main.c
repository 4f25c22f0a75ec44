/* The program: its environment, and the command line. */

#include <stdlib.h>

#include "app/cli.h"
#include "loop/tls.h"
#include "loop/unix_listener.h"
#include "source/source.h"

int main(int argc, char **argv)
{
	const struct config_env env = {
		.state_directory = getenv("STATE_DIRECTORY"),
		.runtime_directory = getenv("RUNTIME_DIRECTORY"),
		.credentials_directory = getenv("CREDENTIALS_DIRECTORY"),
		.check_dsn = source_check_dsn,
		.check_group = unix_listener_check_group,
	};

	tls_init();
	return cli_main(argc, argv, &env);
}
