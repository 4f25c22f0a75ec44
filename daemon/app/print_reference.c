/* Prints what is made from the option tables, for the build: print_reference man|schema */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"

int main(int argc, char **argv)
{
	int r = -1;

	if (argc == 2 && strcmp(argv[1], "man") == 0)
		r = config_print_man(stdout);
	else if (argc == 2 && strcmp(argv[1], "schema") == 0)
		r = config_print_schema(stdout);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
