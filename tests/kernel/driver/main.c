// SPDX-License-Identifier: GPL-2.0-only
/*
 * gfx: a sample mdev driver that publishes migration metadata. README.md says
 * what it does; here are the parents, loading and unloading.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "gfx.h"

static unsigned int parents = 1;
static unsigned int pool_mb = 16384;
static unsigned int nics = 8;

static int parents_set(const char *text, const struct kernel_param *kp)
{
	return param_set_uint_minmax(text, kp, 1, GFX_MAX_PARENTS);
}

static const struct kernel_param_ops parents_ops = {
	.set = parents_set,
	.get = param_get_uint,
};

module_param_cb(parents, &parents_ops, &parents, 0444);
MODULE_PARM_DESC(parents, "number of parents, 1 to 4 (default 1)");
module_param(pool_mb, uint, 0444);
MODULE_PARM_DESC(pool_mb, "megabytes that the GPUs of one parent share (default 16384)");
module_param(nics, uint, 0444);
MODULE_PARM_DESC(nics, "network devices of one parent (default 8)");

static struct class *gfx_class;
static struct gfx_card *cards[GFX_MAX_PARENTS];

/* Protects the switch, and which cards it may touch. */
static DEFINE_MUTEX(metadata_lock);
static bool metadata = true;
static unsigned int nr_cards;

static ssize_t show_description(struct mdev_type *mtype, char *buf)
{
	const struct gfx_type *type = container_of(mtype, struct gfx_type, mdev);

	return sysfs_emit(buf, "%s\n", type->def->description);
}

static struct mdev_driver gfx_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.driver = {
		.name = "gfx",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
		.dev_groups = gfx_instance_groups,
	},
	.probe = gfx_instance_probe,
	.remove = gfx_instance_remove,
	.get_available = gfx_available,
	.show_description = show_description,
};

static void card_release(struct device *dev)
{
	struct gfx_card *card = container_of(dev, struct gfx_card, dev);

	mutex_destroy(&card->lock);
	kfree(card);
}

static struct gfx_card *card_alloc(unsigned int number)
{
	struct gfx_card *card = kzalloc(sizeof(*card), GFP_KERNEL);
	unsigned int t;

	if (!card)
		return ERR_PTR(-ENOMEM);
	mutex_init(&card->lock);
	card->pool_mb = pool_mb;
	card->nics = nics;
	for (t = 0; t < GFX_NR_TYPES; t++) {
		struct gfx_type *type = &card->types[card->nr_types];

		if (!gfx_types[t].offered)
			continue;
		type->card = card;
		type->def = &gfx_types[t];
		type->mdev.sysfs_name = type->def->name;
		type->mdev.pretty_name = type->def->pretty_name;
		card->mdev_types[card->nr_types++] = &type->mdev;
	}
	device_initialize(&card->dev);
	card->dev.class = gfx_class;
	card->dev.release = card_release;
	if (dev_set_name(&card->dev, "gfx%u", number)) {
		put_device(&card->dev);
		return ERR_PTR(-ENOMEM);
	}
	return card;
}

static int metadata_add(struct gfx_card *card)
{
	unsigned int t;
	int err;

	for (t = 0; t < card->nr_types; t++) {
		err = gfx_tree_add(&card->types[t]);
		if (err)
			goto undo;
	}
	return 0;

undo:
	while (t--)
		gfx_tree_remove(&card->types[t]);
	return err;
}

static void metadata_remove(struct gfx_card *card)
{
	unsigned int t;

	for (t = 0; t < card->nr_types; t++)
		gfx_tree_remove(&card->types[t]);
}

static int publish(struct gfx_card *card)
{
	char *envp[] = { "MDEV_STATE=registered", NULL };
	int err;

	err = mdev_register_parent(&card->parent, &card->dev, &gfx_driver, card->mdev_types,
				   card->nr_types);
	if (err || !metadata)
		return err;
	err = metadata_add(card);
	if (err) {
		mdev_unregister_parent(&card->parent);
		return err;
	}
	/* The core announced the types before they had their metadata. */
	kobject_uevent_env(&card->dev.kobj, KOBJ_CHANGE, envp);
	return 0;
}

static int publish_late(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < nr_cards; i++) {
		err = metadata_add(cards[i]);
		if (err)
			goto undo;
	}
	for (i = 0; i < nr_cards; i++)
		kobject_uevent(&cards[i]->dev.kobj, KOBJ_CHANGE);
	return 0;

undo:
	while (i--)
		metadata_remove(cards[i]);
	return err;
}

static int metadata_set(const char *text, const struct kernel_param *kp)
{
	bool wanted;
	int err = kstrtobool(text, &wanted);

	if (err)
		return err;
	mutex_lock(&metadata_lock);
	if (nr_cards && metadata && !wanted)
		err = -EINVAL;
	else if (wanted && !metadata)
		err = publish_late();
	if (!err)
		metadata = wanted;
	mutex_unlock(&metadata_lock);
	return err;
}

static const struct kernel_param_ops metadata_ops = {
	.set = metadata_set,
	.get = param_get_bool,
};

module_param_cb(metadata, &metadata_ops, &metadata, 0644);
MODULE_PARM_DESC(metadata, "types have their metadata; N at load, and Y later: it comes late (default Y)");

static struct gfx_card *card_add(unsigned int number)
{
	struct gfx_card *card = card_alloc(number);
	int err;

	if (IS_ERR(card))
		return card;
	err = device_add(&card->dev);
	if (err)
		goto put;
	err = publish(card);
	if (err)
		goto del;
	return card;

del:
	device_del(&card->dev);
put:
	put_device(&card->dev);
	return ERR_PTR(err);
}

static void card_remove(struct gfx_card *card)
{
	metadata_remove(card);
	mdev_unregister_parent(&card->parent);
	device_unregister(&card->dev);
}

static int cards_add(void)
{
	int err = 0;

	mutex_lock(&metadata_lock);
	while (!err && nr_cards < parents) {
		cards[nr_cards] = card_add(nr_cards);
		err = PTR_ERR_OR_ZERO(cards[nr_cards]);
		if (!err)
			nr_cards++;
	}
	mutex_unlock(&metadata_lock);
	return err;
}

static void cards_remove(void)
{
	unsigned int i, nr;

	mutex_lock(&metadata_lock);
	nr = nr_cards;
	nr_cards = 0;
	mutex_unlock(&metadata_lock);
	for (i = 0; i < nr; i++)
		card_remove(cards[i]);
}

static int __init gfx_init(void)
{
	int err;

	err = gfx_catalogue_narrow();
	if (err)
		return err;
	gfx_instance_init();

	gfx_class = class_create(THIS_MODULE, "gfx");
	if (IS_ERR(gfx_class))
		return PTR_ERR(gfx_class);
	err = mdev_register_driver(&gfx_driver);
	if (err)
		goto destroy_class;
	err = cards_add();
	if (err)
		goto remove_cards;
	return 0;

remove_cards:
	cards_remove();
	mdev_unregister_driver(&gfx_driver);
destroy_class:
	class_destroy(gfx_class);
	return err;
}

static void __exit gfx_exit(void)
{
	cards_remove();
	mdev_unregister_driver(&gfx_driver);
	class_destroy(gfx_class);
}

module_init(gfx_init);
module_exit(gfx_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("mdev-operator");
MODULE_DESCRIPTION("Sample mdev driver that publishes migration metadata");
