// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device as VFIO sees it: something that can be opened and does nothing.
 *
 * It has no regions and no interrupts. What matters is that it can be held
 * open, since that is what refuses writes (EBUSY) and blocks a remove. There is
 * no request callback on purpose: nobody asks the holder to let go.
 */
#include <linux/uaccess.h>
#include <linux/vfio.h>

#include "gfx.h"

static struct gfx_instance *to_instance(struct vfio_device *vdev)
{
	return container_of(vdev, struct gfx_instance, vdev);
}

static int gfx_vfio_open_device(struct vfio_device *vdev)
{
	gfx_instance_set_open(to_instance(vdev), true);
	return 0;
}

static void gfx_vfio_close_device(struct vfio_device *vdev)
{
	gfx_instance_set_open(to_instance(vdev), false);
}

static long get_info(void __user *arg)
{
	size_t minsz = offsetofend(struct vfio_device_info, num_irqs);
	struct vfio_device_info info;

	if (copy_from_user(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI;
	info.num_regions = 0;
	info.num_irqs = 0;
	return copy_to_user(arg, &info, minsz) ? -EFAULT : 0;
}

static long gfx_vfio_ioctl(struct vfio_device *vdev, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_info((void __user *)arg);
	case VFIO_DEVICE_GET_REGION_INFO:
	case VFIO_DEVICE_GET_IRQ_INFO:
	case VFIO_DEVICE_SET_IRQS:
		return -EINVAL;
	}
	return -ENOTTY;
}

const struct vfio_device_ops gfx_vfio_ops = {
	.name = "gfx",
	.release = vfio_free_device,
	.open_device = gfx_vfio_open_device,
	.close_device = gfx_vfio_close_device,
	.ioctl = gfx_vfio_ioctl,
};
