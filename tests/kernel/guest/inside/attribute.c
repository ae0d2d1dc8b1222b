/*
 * Reads and writes of sysfs files, and loading of modules, with the errno as the answer.
 *
 * A shell's `echo > file` hides which errno came back and may split a write; sysfs needs one call per value.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "inside.h"

/* Copies the file to standard output. */
int read_attribute(const char *path)
{
	static char block[65536];
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return errno;
	for (;;) {
		ssize_t got = read(file, block, sizeof(block));

		if (got < 0)
			return errno;
		if (got == 0)
			return 0;
		for (ssize_t done = 0; done < got;) {
			ssize_t put = write(STDOUT_FILENO, block + done, got - done);

			if (put < 0)
				return errno;
			done += put;
		}
	}
}

/* One write() of the whole value; a short write is EIO, since sysfs has no way to continue one. */
int write_attribute(const char *path, const void *data, size_t length)
{
	int file = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t put;

	if (file < 0)
		return errno;
	put = write(file, data, length);
	if (put < 0)
		return errno;
	return (size_t)put == length ? 0 : EIO;
}

int load_module(const char *path, const char *parameters)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return errno;
	return syscall(SYS_finit_module, file, parameters, 0) == 0 ? 0 : errno;
}

int unload_module(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) == 0 ? 0 : errno;
}
