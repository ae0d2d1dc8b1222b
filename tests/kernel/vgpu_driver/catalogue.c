// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a card of 48 GB offers: ids and names as an RTX 6000 Ada lists them, and
 * one name with a colon, which is the separator of the list.
 */
#include <linux/kernel.h>

#include "vgpu.h"

const struct vgpu_type vgpu_types[] = {
	{ 941, 1024, "NVIDIA RTX6000-Ada-1Q" },
	{ 942, 2048, "NVIDIA RTX6000-Ada-2Q" },
	{ 943, 3072, "NVIDIA RTX6000-Ada-3Q" },
	{ 944, 4096, "NVIDIA RTX6000-Ada-4Q" },
	{ 945, 6144, "NVIDIA RTX6000-Ada-6Q" },
	{ 946, 8192, "NVIDIA RTX6000-Ada-8Q" },
	{ 947, 12288, "NVIDIA RTX6000-Ada-12Q" },
	{ 948, 16384, "NVIDIA RTX6000-Ada-16Q" },
	{ 949, 24576, "NVIDIA RTX6000-Ada-24Q" },
	{ 950, 49152, "NVIDIA RTX6000-Ada-48Q" },
	{ 1961, 24576, "NVIDIA RTX6000-Ada: 24C" },
};

const unsigned int vgpu_nr_types = ARRAY_SIZE(vgpu_types);
