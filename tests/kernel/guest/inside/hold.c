/*
 * Opens a VFIO device the way a virtual machine monitor does: a container, the device's IOMMU group put into it,
 * the type 1 IOMMU chosen, then the device's own file. While this process lives, `remove` of the device blocks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "inside.h"

static int failed(const char *what, const char *on)
{
	int number = errno;

	fprintf(stderr, "cannot hold the device: %s %s: %s\n", what, on, strerror(number));
	return number ? number : EIO;
}

/* /dev/vfio/<number of the IOMMU group of the device>, or NULL with errno set. A PCI address has no dash, a UUID has. */
static char *group_path(const char *device)
{
	static char path[64];
	char link[256], target[4096];
	ssize_t length;

	snprintf(link, sizeof(link), "/sys/bus/%s/devices/%s/iommu_group", strchr(device, '-') ? "mdev" : "pci", device);
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return NULL;
	target[length] = '\0';
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	return path;
}

int hold(const char *name)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	const char *path = group_path(name);
	int container, group, device;

	if (!path)
		return failed("no IOMMU group of", name);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		return failed("open", "/dev/vfio/vfio");
	group = open(path, O_RDWR | O_CLOEXEC);
	if (group < 0)
		return failed("open", path);
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return failed("VFIO_GROUP_GET_STATUS", path);
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		errno = EPERM;
		return failed("the group is not viable:", path);
	}
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0)
		return failed("VFIO_GROUP_SET_CONTAINER", path);
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
		return failed("VFIO_SET_IOMMU", "type1v2");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (device < 0)
		return failed("VFIO_GROUP_GET_DEVICE_FD", name);
	puts("open");
	fflush(stdout);
	for (;;)
		pause();
}
