// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device: its values, its share of the pool, and <uuid>/migration/.
 *
 * The share is taken in probe and given back at the very end of remove, so a
 * remove that waits for somebody to close the device keeps its share.
 */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/sysfs.h>

#include "gfx.h"

static struct dev_ext_attribute value_attrs[GFX_NR_PARAMS];
static struct attribute *migration_attrs[GFX_NR_PARAMS + 1];

static struct gfx_type *to_type(struct mdev_type *mtype)
{
	return container_of(mtype, struct gfx_type, mdev);
}

static enum gfx_param_id id_of(struct device_attribute *attr)
{
	return container_of(attr, struct dev_ext_attribute, attr) - value_attrs;
}

/* Free pool in MB. The lock of the card is held. */
static unsigned int free_mb(const struct gfx_card *card)
{
	return card->pool_mb - card->used_mb;
}

unsigned int gfx_available(struct mdev_type *mtype)
{
	const struct gfx_type *type = to_type(mtype);
	struct gfx_card *card = type->card;
	unsigned int available;

	mutex_lock(&card->lock);
	if (type->def->is_gpu)
		available = free_mb(card) / type->def->offers[0].init;
	else
		available = card->nics - card->used_nics;
	mutex_unlock(&card->lock);
	return available;
}

static int take_share(struct gfx_instance *instance)
{
	struct gfx_card *card = instance->type->card;
	int err = 0;

	mutex_lock(&card->lock);
	if (instance->type->def->is_gpu) {
		if (free_mb(card) < instance->values[GFX_MEMORY])
			err = -ENOSPC;
		else
			card->used_mb += instance->values[GFX_MEMORY];
	} else {
		if (card->used_nics == card->nics)
			err = -ENOSPC;
		else
			card->used_nics++;
	}
	mutex_unlock(&card->lock);
	return err;
}

static void give_share_back(struct gfx_instance *instance)
{
	struct gfx_card *card = instance->type->card;

	mutex_lock(&card->lock);
	if (instance->type->def->is_gpu)
		card->used_mb -= instance->values[GFX_MEMORY];
	else
		card->used_nics--;
	mutex_unlock(&card->lock);
}

void gfx_instance_set_open(struct gfx_instance *instance, bool open)
{
	struct gfx_card *card = instance->type->card;

	mutex_lock(&card->lock);
	instance->open = open;
	mutex_unlock(&card->lock);
}

/* Steps 6 to 8 of a write (README.md): what depends on the state of the card. */
static int store_value(struct gfx_instance *instance, enum gfx_param_id id, u32 value)
{
	struct gfx_card *card = instance->type->card;
	int err = 0;

	mutex_lock(&card->lock);
	if (instance->open && gfx_params[id].runtime != GFX_RUNTIME_ON) {
		err = -EBUSY;
	} else if (id == GFX_MEMORY) {
		if (free_mb(card) + instance->values[id] < value)
			err = -ENOSPC;
		else
			card->used_mb += value - instance->values[id];
	}
	if (!err)
		instance->values[id] = value;
	mutex_unlock(&card->lock);
	return err;
}

/* Steps 2 to 8. No lock is held while it waits, so nobody else is held up. */
static int write_value(struct gfx_instance *instance, enum gfx_param_id id, const char *text,
		       size_t len)
{
	const struct gfx_offer *offer = gfx_offer_find(instance->type->def, id);
	u32 value;
	int err;

	err = gfx_fault_hang(id);
	if (err)
		return err;
	err = gfx_fault_write(id);
	if (err)
		return err;
	err = gfx_value_parse(offer, text, len, &value);
	if (err)
		return err;
	if (gfx_fault_clamps(id))
		value = gfx_value_other(offer, value);
	return store_value(instance, id, value);
}

static ssize_t value_store(struct device *dev, struct device_attribute *attr, const char *buf,
			   size_t count)
{
	size_t len = count && buf[count - 1] == '\n' ? count - 1 : count;
	enum gfx_param_id id = id_of(attr);
	int err;

	gfx_count_write();
	err = write_value(dev_get_drvdata(dev), id, buf, len);
	gfx_log_write(dev_name(dev), gfx_params[id].name, err, buf, len);
	return err ? err : count;
}

static ssize_t value_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct gfx_instance *instance = dev_get_drvdata(dev);
	struct gfx_card *card = instance->type->card;
	enum gfx_param_id id = id_of(attr);
	u32 value;
	int err, len;

	err = gfx_fault_read(id);
	if (err)
		return err;
	mutex_lock(&card->lock);
	value = instance->values[id];
	mutex_unlock(&card->lock);
	len = gfx_value_print(&gfx_params[id], value, buf, PAGE_SIZE - 1);
	return len + sysfs_emit_at(buf, len, "\n");
}

static umode_t value_is_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	struct gfx_instance *instance = dev_get_drvdata(kobj_to_dev(kobj));

	return gfx_offer_find(instance->type->def, n) ? attr->mode : 0;
}

static const struct attribute_group migration_group = {
	.name = "migration",
	.attrs = migration_attrs,
	.is_visible = value_is_visible,
};

/* The driver core makes these after probe and takes them away before remove. */
const struct attribute_group *gfx_instance_groups[] = {
	&migration_group,
	NULL,
};

/* Takes the names of the files from the catalogue, so that they stand once. */
void gfx_instance_init(void)
{
	unsigned int id;

	for (id = 0; id < GFX_NR_PARAMS; id++) {
		struct device_attribute *attr = &value_attrs[id].attr;

		attr->attr.name = gfx_params[id].name;
		attr->attr.mode = 0644;
		attr->show = value_show;
		attr->store = value_store;
		migration_attrs[id] = &attr->attr;
	}
}

static int create(struct mdev_device *mdev)
{
	struct gfx_type *type = to_type(mdev->type);
	struct gfx_instance *instance;
	unsigned int i;
	int err;

	err = gfx_fault_create();
	if (err)
		return err;
	instance = vfio_alloc_device(gfx_instance, vdev, &mdev->dev, &gfx_vfio_ops);
	if (IS_ERR(instance))
		return PTR_ERR(instance);
	instance->type = type;
	for (i = 0; i < type->def->nr_offers; i++)
		instance->values[type->def->offers[i].id] = type->def->offers[i].init;

	err = take_share(instance);
	if (err)
		goto put;
	dev_set_drvdata(&mdev->dev, instance);
	err = vfio_register_emulated_iommu_dev(&instance->vdev);
	if (err)
		goto give_back;
	return 0;

give_back:
	give_share_back(instance);
put:
	vfio_put_device(&instance->vdev);
	return err;
}

int gfx_instance_probe(struct mdev_device *mdev)
{
	int err;

	gfx_count_create();
	err = create(mdev);
	gfx_log_create(dev_name(&mdev->dev), kobject_name(&mdev->type->kobj), err);
	return err;
}

void gfx_instance_remove(struct mdev_device *mdev)
{
	struct gfx_instance *instance = dev_get_drvdata(&mdev->dev);

	/* Waits until nobody has the device open. */
	vfio_unregister_group_dev(&instance->vdev);
	give_share_back(instance);
	vfio_put_device(&instance->vdev);
	gfx_log_remove(dev_name(&mdev->dev), kobject_name(&mdev->type->kobj));
}
