/*
 * inside: the one program that this tool brings into a guest. A static binary, because starting anything larger
 * under emulation takes a second or more. main.c says what it can do.
 */
#ifndef INSIDE_H
#define INSIDE_H

#include <stddef.h>
#include <sys/types.h>

/* PID 1 of the guest: answers the doorbell at `port`, runs what it asks for with files in `share`, reaps. Never returns. */
int serve(const char *port, const char *share);

/* One system call each on a file; they return 0 or the errno of the call that failed. */
int read_attribute(const char *path);
int write_attribute(const char *path, const void *data, size_t length);
int load_module(const char *path, const char *parameters);
int unload_module(const char *name);

/*
 * Holds a VFIO device, named by UUID or PCI address, open as a virtual machine monitor does, until killed.
 * Returns only on failure.
 */
int hold(const char *name);

/* Prints every kernel uevent as one line, from now on. Returns only on failure. */
int print_uevents(void);

#endif
