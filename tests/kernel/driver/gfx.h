/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the gfx sample driver share.
 *
 * A value of any type is kept as one u32: a bool as 0 or 1, an int as itself,
 * a str as the index of its word. So one form of "allowed" fits all of them,
 * and a value can be copied and compared without looking at its type.
 */
#ifndef GFX_H
#define GFX_H

#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/mdev.h>
#include <linux/mutex.h>
#include <linux/types.h>
#include <linux/vfio.h>

#define GFX_MAX_PARENTS		4
#define GFX_MAX_SPANS		4
#define GFX_MAX_OFFERS		4

enum gfx_param_id {
	GFX_MEMORY,
	GFX_NEW_FEATURE,
	GFX_NUM_QUEUES,
	GFX_RX_MODE,
	GFX_RX_LIMIT,
	GFX_NR_PARAMS
};

enum gfx_type_id {
	GFX_4GB,
	GFX_8GB,
	GFX_VARGB,
	GFX_NIC,
	GFX_NR_TYPES
};

enum gfx_value_type {
	GFX_BOOL,
	GFX_INT,
	GFX_STR
};

/* Whether an open device takes the parameter, and whether the driver says so. */
enum gfx_runtime {
	GFX_RUNTIME_UNSAID,
	GFX_RUNTIME_OFF,
	GFX_RUNTIME_ON
};

struct gfx_param {
	const char *name;
	const char *description;
	enum gfx_value_type type;
	const char *const *words;	/* of a str, by value */
	unsigned int nr_words;
	enum gfx_runtime runtime;
	bool has_off;
	u32 off;
};

/* The values from min to max, both included. */
struct gfx_span {
	u32 min;
	u32 max;
};

/* What one type offers of one parameter. */
struct gfx_offer {
	enum gfx_param_id id;
	u32 init;
	struct gfx_span allowed[GFX_MAX_SPANS];
	unsigned int nr_allowed;
};

struct gfx_type_def {
	const char *name;
	const char *pretty_name;
	const char *description;
	const char *model;
	bool is_gpu;			/* lives from the pool; offers[0] is memory */
	bool offered;
	struct gfx_offer offers[GFX_MAX_OFFERS];
	unsigned int nr_offers;
};

struct gfx_card;
struct gfx_node;

/* A type on a card: what the mdev core calls a type. */
struct gfx_type {
	struct mdev_type mdev;
	struct gfx_card *card;
	const struct gfx_type_def *def;
	struct gfx_node *migration;
	struct gfx_node *params;
	struct gfx_node *nodes[GFX_MAX_OFFERS];
};

/* A parent. It lives as long as its device, so as long as the kobject of any of its types. */
struct gfx_card {
	struct device dev;
	struct mdev_parent parent;
	struct gfx_type types[GFX_NR_TYPES];
	struct mdev_type *mdev_types[GFX_NR_TYPES];
	unsigned int nr_types;
	unsigned int pool_mb;
	unsigned int nics;
	/* Protects what follows, and values and open of the card's instances. */
	struct mutex lock;
	unsigned int used_mb;
	unsigned int used_nics;
};

struct gfx_instance {
	struct vfio_device vdev;
	struct gfx_type *type;
	u32 values[GFX_NR_PARAMS];	/* only those that its type offers mean something */
	bool open;
};

/* catalogue.c */
extern const struct gfx_param gfx_params[GFX_NR_PARAMS];
extern struct gfx_type_def gfx_types[GFX_NR_TYPES];

int gfx_catalogue_narrow(void);
const struct gfx_param *gfx_param_find(const char *name);
const struct gfx_offer *gfx_offer_find(const struct gfx_type_def *def, enum gfx_param_id id);

/* value.c */
int gfx_value_parse(const struct gfx_offer *offer, const char *text, size_t len, u32 *value);
int gfx_value_print(const struct gfx_param *param, u32 value, char *buf, size_t size);
int gfx_allowed_print(const struct gfx_offer *offer, char *buf, size_t size);
bool gfx_value_allowed(const struct gfx_offer *offer, u32 value);
u32 gfx_value_other(const struct gfx_offer *offer, u32 value);

/* tree.c */
int gfx_tree_add(struct gfx_type *type);
void gfx_tree_remove(struct gfx_type *type);

/* instance.c */
extern const struct attribute_group *gfx_instance_groups[];

void gfx_instance_init(void);
int gfx_instance_probe(struct mdev_device *mdev);
void gfx_instance_remove(struct mdev_device *mdev);
void gfx_instance_set_open(struct gfx_instance *instance, bool open);
unsigned int gfx_available(struct mdev_type *mtype);

/* vfio.c */
extern const struct vfio_device_ops gfx_vfio_ops;

/* faults.c */
int gfx_fault_create(void);
int gfx_fault_hang(enum gfx_param_id id);
int gfx_fault_write(enum gfx_param_id id);
bool gfx_fault_clamps(enum gfx_param_id id);
int gfx_fault_read(enum gfx_param_id id);

/* events.c */
void gfx_count_create(void);
void gfx_count_write(void);
void gfx_log_create(const char *uuid, const char *type, int result);
void gfx_log_write(const char *uuid, const char *param, int result, const char *text, size_t len);
void gfx_log_remove(const char *uuid, const char *type);

#endif
