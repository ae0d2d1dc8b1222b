// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happened: counters, and a log of the last events.
 *
 * Tests read from here what really reached the driver, apart from what the
 * program under test says. All of it is in module parameters that nobody can
 * set, so that it outlives the instances that it speaks of.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sysfs.h>

#include "gfx.h"

#define LOG_LINES	40
#define LOG_VALUE	24
/* The longest line (a write) has 95 bytes; all of them fit into one page. */
#define LOG_LINE	100

static atomic_t create_count = ATOMIC_INIT(0);
static atomic_t write_count = ATOMIC_INIT(0);

static DEFINE_MUTEX(log_lock);
static char log_lines[LOG_LINES][LOG_LINE];
static unsigned int log_total;

/* Without a setter, `insmod gfx.ko log=x` would call a null pointer. */
static int refuse_set(const char *text, const struct kernel_param *kp)
{
	return -EPERM;
}

static int count_get(char *buf, const struct kernel_param *kp)
{
	return scnprintf(buf, PAGE_SIZE, "%u\n", atomic_read(kp->arg));
}

static int log_get(char *buf, const struct kernel_param *kp)
{
	unsigned int i;
	int at = 0;

	mutex_lock(&log_lock);
	for (i = log_total < LOG_LINES ? 0 : log_total - LOG_LINES; i < log_total; i++)
		at += scnprintf(buf + at, PAGE_SIZE - at, "%s\n", log_lines[i % LOG_LINES]);
	mutex_unlock(&log_lock);
	return at;
}

static const struct kernel_param_ops count_ops = { .set = refuse_set, .get = count_get };
static const struct kernel_param_ops log_ops = { .set = refuse_set, .get = log_get };

module_param_cb(create_count, &count_ops, &create_count, 0444);
MODULE_PARM_DESC(create_count, "creates that reached the driver (read only)");
module_param_cb(write_count, &count_ops, &write_count, 0444);
MODULE_PARM_DESC(write_count, "parameter writes that reached the driver (read only)");
module_param_cb(log, &log_ops, NULL, 0444);
MODULE_PARM_DESC(log, "the last events (read only)");

static __printf(1, 2) void record(const char *fmt, ...)
{
	char *line;
	va_list args;
	int at;

	mutex_lock(&log_lock);
	line = log_lines[log_total % LOG_LINES];
	log_total++;
	at = scnprintf(line, LOG_LINE, "%u ", log_total);
	va_start(args, fmt);
	vscnprintf(line + at, LOG_LINE - at, fmt, args);
	va_end(args);
	pr_info("%s\n", line);
	mutex_unlock(&log_lock);
}

void gfx_count_create(void)
{
	atomic_inc(&create_count);
}

void gfx_count_write(void)
{
	atomic_inc(&write_count);
}

void gfx_log_create(const char *uuid, const char *type, int result)
{
	record("%s create %s %d", uuid, type, result);
}

void gfx_log_write(const char *uuid, const char *param, int result, const char *text, size_t len)
{
	char value[LOG_VALUE + 1];
	size_t i;

	len = min_t(size_t, len, LOG_VALUE);
	for (i = 0; i < len; i++)
		value[i] = iscntrl(text[i]) ? '?' : text[i];
	value[len] = '\0';
	record("%s write %s %d %s", uuid, param, result, value);
}

void gfx_log_remove(const char *uuid, const char *type)
{
	record("%s remove %s 0", uuid, type);
}
