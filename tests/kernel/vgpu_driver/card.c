// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is creatable on a card, and what a write of a type does: the two
 * drivers differ in errnos and in the list's header, not in the rule.
 */
#include <linux/kernel.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>

#include "vgpu.h"

#define CARD_MB 49152

bool vgpu_rfc;
module_param_named(rfc, vgpu_rfc, bool, 0644);
MODULE_PARM_DESC(rfc, "answer as the driver proposed for the kernel does, not as NVIDIA's own (default N)");

bool vgpu_mixed;
module_param_named(mixed, vgpu_mixed, bool, 0644);
MODULE_PARM_DESC(mixed, "different types on one card; N again whenever SR-IOV is switched (default N)");

static bool lingering;
module_param(lingering, bool, 0644);
MODULE_PARM_DESC(lingering, "the program behind a closed device does not end: clearing is EBUSY (default N)");

static bool fits(const struct vgpu_card *card, const struct vgpu_type *type)
{
	return card->used_mb + type->mb <= CARD_MB;
}

/* With one type only, the first function that is configured decides for its card. */
static bool suits(const struct vgpu_card *card, const struct vgpu_type *type)
{
	return vgpu_mixed || !card->configured || card->only == type;
}

static const struct vgpu_type *find(const struct vgpu_card *card, long id)
{
	unsigned int i;

	for (i = 0; i < vgpu_nr_types; i++)
		if (vgpu_types[i].id + card->offset == id)
			return &vgpu_types[i];
	return NULL;
}

static bool shows_header(const struct vgpu_vf *vf)
{
	return !vgpu_rfc || !vf->card->configured;
}

ssize_t vgpu_card_list(struct vgpu_vf *vf, char *buf)
{
	struct vgpu_card *card = vf->card;
	unsigned int i;
	int at = 0;

	mutex_lock(&card->lock);
	if (shows_header(vf))
		at += sysfs_emit_at(buf, at, "ID    : vGPU Name\n");
	for (i = 0; i < vgpu_nr_types && !vf->type; i++) {
		const struct vgpu_type *type = &vgpu_types[i];

		if (suits(card, type) && fits(card, type))
			at += sysfs_emit_at(buf, at, "%-5d : %s\n", type->id + card->offset, type->name);
	}
	mutex_unlock(&card->lock);
	return at;
}

unsigned int vgpu_card_current(struct vgpu_vf *vf)
{
	unsigned int id;

	mutex_lock(&vf->card->lock);
	id = vf->type ? vf->type->id + vf->card->offset : 0;
	mutex_unlock(&vf->card->lock);
	return id;
}

static void clear(struct vgpu_vf *vf)
{
	vf->card->used_mb -= vf->type->mb;
	vf->card->configured--;
	vf->type = NULL;
}

static void set(struct vgpu_vf *vf, const struct vgpu_type *type)
{
	vf->type = type;
	vf->card->used_mb += type->mb;
	vf->card->configured++;
	vf->card->only = type;
}

/* As NVIDIA's own driver: it clears before it sets, and says EIO for whatever its firmware refuses. */
static int configure_own(struct vgpu_vf *vf, long id)
{
	const struct vgpu_type *type = find(vf->card, id);

	if (!id) {
		if (!vf->type || vf->open)
			return -EPERM;
		if (lingering)
			return -EBUSY;
		clear(vf);
		return 0;
	}
	if (vf->type)
		return -EPERM;
	if (!type || !suits(vf->card, type) || !fits(vf->card, type))
		return -EIO;
	set(vf, type);
	return 0;
}

/* As the driver proposed for the kernel; that one forgets to ask whether the function has a type already. */
static int configure_rfc(struct vgpu_vf *vf, long id)
{
	const struct vgpu_type *type = find(vf->card, id);

	if (id < 0)
		return -EINVAL;
	if (vf->open)
		return -EBUSY;
	if (!id) {
		if (vf->type)
			clear(vf);
		return 0;
	}
	if (!type)
		return -ENODEV;
	if (vf->type)
		return -EBUSY;
	if (!suits(vf->card, type))
		return -EINVAL;
	if (!fits(vf->card, type))
		return -ENOSPC;
	set(vf, type);
	return 0;
}

int vgpu_card_configure(struct vgpu_vf *vf, long id)
{
	int err;

	mutex_lock(&vf->card->lock);
	err = vgpu_rfc ? configure_rfc(vf, id) : configure_own(vf, id);
	mutex_unlock(&vf->card->lock);
	return err;
}

/* The function goes away, and with it what it was configured to. */
void vgpu_card_forget(struct vgpu_vf *vf)
{
	mutex_lock(&vf->card->lock);
	if (vf->type)
		clear(vf);
	mutex_unlock(&vf->card->lock);
}

/* A function that is not configured cannot be opened. */
int vgpu_card_open(struct vgpu_vf *vf)
{
	int err = 0;

	mutex_lock(&vf->card->lock);
	if (vf->type)
		vf->open = true;
	else
		err = -ENODEV;
	mutex_unlock(&vf->card->lock);
	return err;
}

void vgpu_card_close(struct vgpu_vf *vf)
{
	mutex_lock(&vf->card->lock);
	vf->open = false;
	mutex_unlock(&vf->card->lock);
}
