// SPDX-License-Identifier: GPL-2.0-only
/*
 * <type>/migration/ in sysfs: what an instance of the type would be.
 *
 * The mdev core has no hook for files of a type. They hang on kobjects of our
 * own below mdev_type.kobj, which mdev.h marks "internal only": it works in 6.1
 * and is not API. Own kobjects rather than groups on the type's kobject, whose
 * attributes would need the core's private layout.
 */
#include <linux/err.h>
#include <linux/kernel.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "gfx.h"

/* A directory: migration, params, or (with an offer) that of one parameter. */
struct gfx_node {
	struct kobject kobj;
	const struct gfx_type_def *def;
	const struct gfx_offer *offer;
};

struct gfx_node_attr {
	struct attribute attr;
	int (*print)(const struct gfx_node *node, char *buf, size_t size);
};

static const char *const type_words[] = {
	[GFX_BOOL] = "bool",
	[GFX_INT] = "int",
	[GFX_STR] = "str",
};

static const struct gfx_param *param_of(const struct gfx_node *node)
{
	return &gfx_params[node->offer->id];
}

static int print_model(const struct gfx_node *node, char *buf, size_t size)
{
	return scnprintf(buf, size, "%s", node->def->model);
}

static int print_type(const struct gfx_node *node, char *buf, size_t size)
{
	return scnprintf(buf, size, "%s", type_words[param_of(node)->type]);
}

static int print_init_value(const struct gfx_node *node, char *buf, size_t size)
{
	return gfx_value_print(param_of(node), node->offer->init, buf, size);
}

static int print_off_value(const struct gfx_node *node, char *buf, size_t size)
{
	return gfx_value_print(param_of(node), param_of(node)->off, buf, size);
}

static int print_allowed_values(const struct gfx_node *node, char *buf, size_t size)
{
	return gfx_allowed_print(node->offer, buf, size);
}

static int print_runtime_writable(const struct gfx_node *node, char *buf, size_t size)
{
	return scnprintf(buf, size, "%s",
			 param_of(node)->runtime == GFX_RUNTIME_ON ? "on" : "off");
}

static int print_description(const struct gfx_node *node, char *buf, size_t size)
{
	return scnprintf(buf, size, "%s", param_of(node)->description);
}

#define GFX_NODE_ATTR(_name)						\
	static struct gfx_node_attr node_attr_##_name = {		\
		.attr = { .name = __stringify(_name), .mode = 0444 },	\
		.print = print_##_name,					\
	}

GFX_NODE_ATTR(model);
GFX_NODE_ATTR(type);
GFX_NODE_ATTR(init_value);
GFX_NODE_ATTR(off_value);
GFX_NODE_ATTR(allowed_values);
GFX_NODE_ATTR(runtime_writable);
GFX_NODE_ATTR(description);

static struct attribute *migration_attrs[] = {
	&node_attr_model.attr,
	NULL,
};
ATTRIBUTE_GROUPS(migration);

static struct attribute *param_attrs[] = {
	&node_attr_type.attr,
	&node_attr_init_value.attr,
	&node_attr_off_value.attr,
	&node_attr_allowed_values.attr,
	&node_attr_runtime_writable.attr,
	&node_attr_description.attr,
	NULL,
};

static umode_t param_is_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	const struct gfx_node *node = container_of(kobj, struct gfx_node, kobj);

	if (attr == &node_attr_off_value.attr && !param_of(node)->has_off)
		return 0;
	if (attr == &node_attr_runtime_writable.attr &&
	    param_of(node)->runtime == GFX_RUNTIME_UNSAID)
		return 0;
	return attr->mode;
}

static const struct attribute_group param_group = {
	.attrs = param_attrs,
	.is_visible = param_is_visible,
};
__ATTRIBUTE_GROUPS(param);

static ssize_t node_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	const struct gfx_node *node = container_of(kobj, struct gfx_node, kobj);
	const struct gfx_node_attr *file = container_of(attr, struct gfx_node_attr, attr);
	int len = file->print(node, buf, PAGE_SIZE - 1);

	return len + sysfs_emit_at(buf, len, "\n");
}

static const struct sysfs_ops node_sysfs_ops = {
	.show = node_show,
};

static void node_release(struct kobject *kobj)
{
	kfree(container_of(kobj, struct gfx_node, kobj));
}

static struct kobj_type migration_ktype = {
	.sysfs_ops = &node_sysfs_ops,
	.release = node_release,
	.default_groups = migration_groups,
};

static struct kobj_type params_ktype = {
	.sysfs_ops = &node_sysfs_ops,
	.release = node_release,
};

static struct kobj_type param_ktype = {
	.sysfs_ops = &node_sysfs_ops,
	.release = node_release,
	.default_groups = param_groups,
};

static struct gfx_node *node_add(struct kobject *parent, struct kobj_type *ktype,
				 const struct gfx_type_def *def, const struct gfx_offer *offer,
				 const char *name)
{
	struct gfx_node *node = kzalloc(sizeof(*node), GFP_KERNEL);
	int err;

	if (!node)
		return ERR_PTR(-ENOMEM);
	node->def = def;
	node->offer = offer;
	err = kobject_init_and_add(&node->kobj, ktype, parent, "%s", name);
	if (err) {
		kobject_put(&node->kobj);
		return ERR_PTR(err);
	}
	return node;
}

static void node_remove(struct gfx_node **slot)
{
	if (!IS_ERR_OR_NULL(*slot)) {
		kobject_del(&(*slot)->kobj);
		kobject_put(&(*slot)->kobj);
	}
	*slot = NULL;
}

/*
 * Has to come before mdev_unregister_parent(): that one removes the directory
 * of the type with everything below, and our kobjects would then remove theirs
 * a second time.
 */
void gfx_tree_remove(struct gfx_type *type)
{
	unsigned int i;

	for (i = 0; i < type->def->nr_offers; i++)
		node_remove(&type->nodes[i]);
	node_remove(&type->params);
	node_remove(&type->migration);
}

int gfx_tree_add(struct gfx_type *type)
{
	const struct gfx_type_def *def = type->def;
	struct gfx_node *node;
	unsigned int i;

	node = node_add(&type->mdev.kobj, &migration_ktype, def, NULL, "migration");
	type->migration = node;
	if (IS_ERR(node))
		goto undo;
	node = node_add(&type->migration->kobj, &params_ktype, def, NULL, "params");
	type->params = node;
	if (IS_ERR(node))
		goto undo;
	for (i = 0; i < def->nr_offers; i++) {
		const struct gfx_offer *offer = &def->offers[i];

		node = node_add(&type->params->kobj, &param_ktype, def, offer,
				gfx_params[offer->id].name);
		type->nodes[i] = node;
		if (IS_ERR(node))
			goto undo;
	}
	return 0;

undo:
	gfx_tree_remove(type);
	return PTR_ERR(node);
}
