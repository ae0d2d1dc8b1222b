/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of the vgpu sample driver share. README.md says what it does. */
#ifndef VGPU_H
#define VGPU_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/types.h>
#include <linux/vfio_pci_core.h>

struct vgpu_type {
	unsigned int id;		/* on the first card; others add their offset */
	unsigned int mb;
	const char *name;
};

/* A physical function. It lives as long as it is bound, so longer than its virtual functions. */
struct vgpu_card {
	struct pci_dev *pdev;
	struct list_head list;
	unsigned int offset;		/* of its numeric ids: they mean nothing on another card */
	/* Protects what follows, and type and open of the card's functions. */
	struct mutex lock;
	unsigned int used_mb;
	unsigned int configured;
	const struct vgpu_type *only;	/* of the last function configured; means something while one is */
};

/* A virtual function. */
struct vgpu_vf {
	struct vfio_pci_core_device core;
	struct vgpu_card *card;
	const struct vgpu_type *type;	/* NULL: not configured */
	bool open;
};

/* catalogue.c */
extern const struct vgpu_type vgpu_types[];
extern const unsigned int vgpu_nr_types;

/* card.c: all take the card's lock */
extern bool vgpu_rfc;
extern bool vgpu_mixed;

ssize_t vgpu_card_list(struct vgpu_vf *vf, char *buf);
unsigned int vgpu_card_current(struct vgpu_vf *vf);
int vgpu_card_configure(struct vgpu_vf *vf, long id);
void vgpu_card_forget(struct vgpu_vf *vf);
int vgpu_card_open(struct vgpu_vf *vf);
void vgpu_card_close(struct vgpu_vf *vf);

/* files.c */
extern const struct attribute_group *vgpu_groups[];

/* vf.c */
int vgpu_vf_probe(struct pci_dev *pdev, struct vgpu_card *card);
void vgpu_vf_remove(struct pci_dev *pdev);

#endif
