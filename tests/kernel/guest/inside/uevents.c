/*
 * Kernel uevents, printed as they come: `<action> <device path> KEY=value...` on one line each.
 *
 * A second witness beside the agent's own socket: tests that ask "did the kernel tell?" must not ask the agent.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inside.h"

/* The message is NUL-separated: `add@/devices/...`, then `ACTION=add`, `DEVPATH=...` and so on. */
static void print_event(char *message, size_t length)
{
	char *at = strchr(message, '@');

	if (!at)
		return;
	*at = ' ';
	for (size_t i = 0; i + 1 < length; i++)
		if (message[i] == '\0')
			message[i] = ' ';
	puts(message);
	fflush(stdout);
}

int print_uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	static char message[16384];
	int events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (events < 0 || bind(events, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("cannot listen to uevents");
		return errno;
	}
	puts("listening");
	fflush(stdout);
	for (;;) {
		ssize_t length = recv(events, message, sizeof(message) - 1, 0);

		if (length < 0) {
			perror("uevents lost");
			if (errno != ENOBUFS)
				return errno;
			continue;
		}
		message[length] = '\0';
		print_event(message, length);
	}
}
