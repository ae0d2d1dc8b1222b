/*
 * inside serve <port> <share>	PID 1, see serve.c
 * inside hold <device>		keep the device open, see hold.c
 * inside uevents		print kernel uevents, see uevents.c
 */
#include <stdio.h>
#include <string.h>

#include "inside.h"

int main(int count, char **arguments)
{
	if (count == 4 && !strcmp(arguments[1], "serve"))
		return serve(arguments[2], arguments[3]);
	if (count == 3 && !strcmp(arguments[1], "hold"))
		return hold(arguments[2]);
	if (count == 2 && !strcmp(arguments[1], "uevents"))
		return print_uevents();
	fprintf(stderr, "usage: %s serve PORT SHARE | hold DEVICE | uevents\n", arguments[0]);
	return 2;
}
