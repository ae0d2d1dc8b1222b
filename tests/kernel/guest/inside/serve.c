/*
 * PID 1 of a guest, and the far end of the doorbell.
 *
 * The doorbell is a virtio-serial port, so it works without network and is not mixed with kernel messages. A request is
 *
 *	<id> <verb> <length>\n	followed by <length> bytes: arguments, each ended by a NUL
 *
 *	run	<output file> <error file> <program> <argument>...
 *	read	<output file> <path>
 *	write	<path> <data, not ended>
 *	load	<module file> <parameters>
 *	unload	<module name>
 *	kill	<process> <signal>		(the whole process group)
 *	clock	<nanoseconds since 1970>
 *
 * and each is answered by `<id> begun <process>` and, when the process has ended, `<id> ended <wait status>`. read, write,
 * load and unload end with the errno as exit status; kill and clock are done at once, with `<id> ended <errno>` alone.
 * Every request that may block has a process of its own: a blocked `remove` holds up nothing else. As PID 1 it also
 * reaps whatever is orphaned.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inside.h"

enum { MAX_ARGUMENTS = 1024, MAX_CHILDREN = 1024, MAX_HEADER = 128 };

struct request {
	unsigned long id;
	char verb[16];
	size_t length;
	char *data;			/* length bytes and one NUL more */
	char *arguments[MAX_ARGUMENTS + 1];
	int count;
};

static struct { pid_t process; unsigned long id; } children[MAX_CHILDREN];
static int port = -1;
static const char *home;

static void fatal(const char *what)
{
	fprintf(stderr, "guest: %s: %s\n", what, strerror(errno));
	exit(1);			/* the kernel panics when PID 1 ends, and the host says so */
}

static void answer(const char *format, ...)
{
	char line[128];
	va_list arguments;
	int length, done = 0;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	while (done < length) {
		ssize_t put = write(port, line + done, length - done);

		if (put < 0 && errno != EINTR)
			fatal("doorbell");
		if (put > 0)
			done += put;
	}
}

static void receive(char *into, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t got = read(port, into + done, length - done);

		if (got == 0 || (got < 0 && errno != EINTR))
			fatal("doorbell");
		if (got > 0)
			done += got;
	}
}

static void receive_request(struct request *request)
{
	char header[MAX_HEADER];
	size_t length = 0;

	do {
		if (length == sizeof(header) - 1) {
			errno = EPROTO;
			fatal("doorbell");
		}
		receive(header + length, 1);
	} while (header[length++] != '\n');
	header[length] = '\0';
	if (sscanf(header, "%lu %15s %zu", &request->id, request->verb, &request->length) != 3) {
		errno = EPROTO;
		fatal("doorbell");
	}
	request->data = malloc(request->length + 1);
	if (!request->data)
		fatal("memory");
	receive(request->data, request->length);
	request->data[request->length] = '\0';
	request->count = 0;
	for (char *at = request->data; at < request->data + request->length && request->count < MAX_ARGUMENTS;
	     at += strlen(at) + 1)
		request->arguments[request->count++] = at;
	request->arguments[request->count] = NULL;
}

/* Standard output (and error, if it has an own name) into files of the shared directory. */
static void redirect(int descriptor, const char *name)
{
	int file = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);

	if (file < 0 || dup2(file, descriptor) < 0)
		_exit(errno);
	close(file);
}

static int perform(struct request *request)
{
	char **argument = request->arguments;

	if (!strcmp(request->verb, "run") && request->count >= 3) {
		redirect(STDOUT_FILENO, argument[0]);
		if (strcmp(argument[0], argument[1]))
			redirect(STDERR_FILENO, argument[1]);
		else
			dup2(STDOUT_FILENO, STDERR_FILENO);
		execvp(argument[2], argument + 2);
		fprintf(stderr, "%s: %s\n", argument[2], strerror(errno));
		return errno == ENOENT ? 127 : 126;	/* as shells do */
	}
	if (!strcmp(request->verb, "read") && request->count == 2) {
		redirect(STDOUT_FILENO, argument[0]);
		return read_attribute(argument[1]);
	}
	if (!strcmp(request->verb, "write") && request->count >= 1) {
		size_t name = strlen(argument[0]) + 1;

		return write_attribute(argument[0], request->data + name, request->length - name);
	}
	if (!strcmp(request->verb, "load") && request->count == 2)
		return load_module(argument[0], argument[1]);
	if (!strcmp(request->verb, "unload") && request->count == 1)
		return unload_module(argument[0]);
	return EPROTO;
}

static void spawn(struct request *request)
{
	int free_slot = 0;
	pid_t process;

	while (free_slot < MAX_CHILDREN && children[free_slot].process)
		free_slot++;
	process = free_slot < MAX_CHILDREN ? fork() : -1;
	if (process < 0) {
		answer("%lu ended %d\n", request->id, EAGAIN << 8);
		return;
	}
	if (process == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		if (chdir(home) < 0)
			_exit(errno);
		_exit(perform(request));
	}
	children[free_slot].process = process;
	children[free_slot].id = request->id;
	answer("%lu begun %d\n", request->id, process);
}

/* The whole group; a child that was forked this moment may not have made its group yet, then it alone. */
static int send_signal(pid_t process, int number)
{
	if (kill(-process, number) == 0)
		return 0;
	for (int i = 0; i < MAX_CHILDREN; i++)
		if (children[i].process == process)
			return kill(process, number);
	return -1;
}

static void carry_out(struct request *request)
{
	if (!strcmp(request->verb, "kill") && request->count == 2) {
		int result = send_signal(atoi(request->arguments[0]), atoi(request->arguments[1]));

		answer("%lu ended %d\n", request->id, result == 0 ? 0 : errno << 8);
	} else if (!strcmp(request->verb, "clock") && request->count == 1) {
		long long now = atoll(request->arguments[0]);
		struct timespec time = { .tv_sec = now / 1000000000, .tv_nsec = now % 1000000000 };
		int result = clock_settime(CLOCK_REALTIME, &time);

		answer("%lu ended %d\n", request->id, result == 0 ? 0 : errno << 8);
	} else {
		spawn(request);
	}
}

static void reap(void)
{
	pid_t process;
	int status;

	while ((process = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < MAX_CHILDREN; i++)
			if (children[i].process == process) {
				children[i].process = 0;
				answer("%lu ended %d\n", children[i].id, status);
			}
}

int serve(const char *port_path, const char *share)
{
	struct signalfd_siginfo ignored;
	struct request request;
	struct pollfd watched[2];
	sigset_t child;

	home = share;
	port = open(port_path, O_RDWR | O_CLOEXEC);
	if (port < 0)
		fatal(port_path);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	watched[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	watched[1] = (struct pollfd){ .fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN };
	answer("0 ended 0\n");		/* hello */
	for (;;) {
		if (poll(watched, 2, -1) < 0 && errno != EINTR)
			fatal("poll");
		while (read(watched[1].fd, &ignored, sizeof(ignored)) > 0)
			;
		reap();
		if (watched[0].revents & POLLIN) {
			receive_request(&request);
			carry_out(&request);
			free(request.data);
		}
	}
}
