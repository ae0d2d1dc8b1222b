// SPDX-License-Identifier: GPL-2.0-only
/*
 * What can be offered: the types, their parameters and what these may be.
 *
 * The tables are the driver's whole metadata; everything in sysfs is printed
 * from them. Module parameters narrow them once, before anything is published.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>

#include "gfx.h"

#define GPU_MODEL	"com.gfx/GPU"
#define NIC_MODEL	"vendor-a.com/my-nic"
#define NIC_RX_LIMIT	3	/* its place among the offers of a NIC */

static char *types[GFX_NR_TYPES];
static unsigned int nr_types;
module_param_array(types, charp, &nr_types, 0444);
MODULE_PARM_DESC(types, "offer only these of 4GB, 8GB, varGB, nic (default: all)");

static unsigned int memory_allowed[16];
static unsigned int nr_memory_allowed;
module_param_array(memory_allowed, uint, &nr_memory_allowed, 0444);
MODULE_PARM_DESC(memory_allowed, "memory takes only these (default: no limit)");

static unsigned int rx_limit_max = 10000;
module_param(rx_limit_max, uint, 0444);
MODULE_PARM_DESC(rx_limit_max, "the highest rx-limit, 100 to 10000 (default 10000)");

static const char *const rx_modes[] = { "normal", "all multicast", "promiscuous" };

const struct gfx_param gfx_params[GFX_NR_PARAMS] = {
	[GFX_MEMORY] = {
		.name = "memory",
		.description = "graphics memory in MB",
		.type = GFX_INT,
	},
	[GFX_NEW_FEATURE] = {
		.name = "new-feature",
		.description = "offload that older cards lack",
		.type = GFX_BOOL,
		.runtime = GFX_RUNTIME_OFF,
		.has_off = true,
		.off = 0,
	},
	[GFX_NUM_QUEUES] = {
		.name = "num-queues",
		.description = "receive queues",
		.type = GFX_INT,
		.runtime = GFX_RUNTIME_OFF,
	},
	[GFX_RX_MODE] = {
		.name = "rx-mode",
		.description = "receive filter",
		.type = GFX_STR,
		.words = rx_modes,
		.nr_words = ARRAY_SIZE(rx_modes),
		.runtime = GFX_RUNTIME_OFF,
	},
	[GFX_RX_LIMIT] = {
		.name = "rx-limit",
		.description = "receive limit in Mbit/s, 0 is none",
		.type = GFX_INT,
		.runtime = GFX_RUNTIME_ON,
		.has_off = true,
		.off = 0,
	},
};

struct gfx_type_def gfx_types[GFX_NR_TYPES] = {
	[GFX_4GB] = {
		.name = "4GB",
		.pretty_name = "GPU with 4 GB",
		.description = "graphics, 4096 MB fixed",
		.model = GPU_MODEL,
		.is_gpu = true,
		.nr_offers = 1,
		.offers = {
			{ GFX_MEMORY, 4096, { { 4096, 4096 } }, 1 },
		},
	},
	[GFX_8GB] = {
		.name = "8GB",
		.pretty_name = "GPU with 8 GB",
		.description = "graphics, 8192 MB fixed",
		.model = GPU_MODEL,
		.is_gpu = true,
		.nr_offers = 1,
		.offers = {
			{ GFX_MEMORY, 8192, { { 8192, 8192 } }, 1 },
		},
	},
	[GFX_VARGB] = {
		.name = "varGB",
		.pretty_name = "GPU with variable memory",
		.description = "graphics, 1024 to 8192 MB",
		.model = GPU_MODEL,
		.is_gpu = true,
		.nr_offers = 1,
		.offers = {
			{ GFX_MEMORY, 1024,
			  { { 1024, 1024 }, { 2048, 2048 }, { 4096, 4096 }, { 8192, 8192 } }, 4 },
		},
	},
	[GFX_NIC] = {
		.name = "nic",
		.pretty_name = "Network interface",
		.description = "network, 1 to 64 queues",
		.model = NIC_MODEL,
		.nr_offers = 4,
		.offers = {
			{ GFX_NEW_FEATURE, 1, { { 0, 0 }, { 1, 1 } }, 2 },
			{ GFX_NUM_QUEUES, 4, { { 1, 64 } }, 1 },
			{ GFX_RX_MODE, 0, { { 0, 0 }, { 1, 1 }, { 2, 2 } }, 3 },
			[NIC_RX_LIMIT] = { GFX_RX_LIMIT, 0, { { 0, 0 }, { 100, 10000 } }, 2 },
		},
	},
};

static int choose_types(void)
{
	unsigned int i, t;

	for (t = 0; t < GFX_NR_TYPES; t++)
		gfx_types[t].offered = !nr_types;
	for (i = 0; i < nr_types; i++) {
		for (t = 0; t < GFX_NR_TYPES; t++)
			if (!strcmp(types[i], gfx_types[t].name))
				break;
		if (t == GFX_NR_TYPES)
			return -EINVAL;
		gfx_types[t].offered = true;
	}
	return 0;
}

static bool in_memory_allowed(u32 memory)
{
	unsigned int i;

	for (i = 0; i < nr_memory_allowed; i++)
		if (memory_allowed[i] == memory)
			return true;
	return false;
}

/* All that GPUs allow are single values, so a span is kept or dropped as a whole. */
static void narrow_memory(struct gfx_type_def *def)
{
	struct gfx_offer *offer = &def->offers[0];
	unsigned int i, kept = 0;

	for (i = 0; i < offer->nr_allowed; i++)
		if (in_memory_allowed(offer->allowed[i].min))
			offer->allowed[kept++] = offer->allowed[i];
	offer->nr_allowed = kept;
	if (!in_memory_allowed(offer->init))
		def->offered = false;
}

static int narrow_rx_limit(void)
{
	struct gfx_offer *offer = &gfx_types[GFX_NIC].offers[NIC_RX_LIMIT];

	if (rx_limit_max < offer->allowed[1].min || rx_limit_max > offer->allowed[1].max)
		return -EINVAL;
	offer->allowed[1].max = rx_limit_max;
	return 0;
}

/* Apply types=, memory_allowed= and rx_limit_max=; -EINVAL for a value that cannot be, or if no type is left. */
int gfx_catalogue_narrow(void)
{
	unsigned int t, left = 0;
	int err;

	err = choose_types();
	if (err)
		return err;
	err = narrow_rx_limit();
	if (err)
		return err;
	for (t = 0; t < GFX_NR_TYPES; t++) {
		if (nr_memory_allowed && gfx_types[t].is_gpu)
			narrow_memory(&gfx_types[t]);
		left += gfx_types[t].offered;
	}
	return left ? 0 : -EINVAL;
}

/* The parameter of that name, one trailing newline ignored, or NULL. */
const struct gfx_param *gfx_param_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < GFX_NR_PARAMS; i++)
		if (sysfs_streq(name, gfx_params[i].name))
			return &gfx_params[i];
	return NULL;
}

const struct gfx_offer *gfx_offer_find(const struct gfx_type_def *def, enum gfx_param_id id)
{
	unsigned int i;

	for (i = 0; i < def->nr_offers; i++)
		if (def->offers[i].id == id)
			return &def->offers[i];
	return NULL;
}
