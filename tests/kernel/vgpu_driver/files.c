// SPDX-License-Identifier: GPL-2.0-only
/* <VF>/nvidia/: what can be made of the function, and what it is. */
#include <linux/device.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "vgpu.h"

static struct vgpu_vf *to_vf(struct device *dev)
{
	return container_of(dev_get_drvdata(dev), struct vgpu_vf, core);
}

static ssize_t creatable_vgpu_types_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return vgpu_card_list(to_vf(dev), buf);
}

static DEVICE_ATTR_RO(creatable_vgpu_types);

static ssize_t current_vgpu_type_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", vgpu_card_current(to_vf(dev)));
}

static ssize_t current_vgpu_type_store(struct device *dev, struct device_attribute *attr,
				       const char *buf, size_t count)
{
	long id = 0;
	int err;

	err = kstrtol(buf, 10, &id);
	if (!err)
		err = vgpu_card_configure(to_vf(dev), id);
	dev_info(dev, "write %ld: %d\n", id, err);
	return err ? err : count;
}

static DEVICE_ATTR_RW(current_vgpu_type);

static struct attribute *vgpu_attrs[] = {
	&dev_attr_creatable_vgpu_types.attr,
	&dev_attr_current_vgpu_type.attr,
	NULL,
};

static const struct attribute_group vgpu_group = {
	.name = "nvidia",
	.attrs = vgpu_attrs,
};

const struct attribute_group *vgpu_groups[] = {
	&vgpu_group,
	NULL,
};
