// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes wrong on request: one module parameter per fault.
 *
 * A fault names a parameter of the catalogue, so a misspelt name is refused
 * (EINVAL) instead of being a fault that never happens.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "gfx.h"

#define MAX_ERRNO_NUMBER	133

static unsigned int fail_create;
static unsigned int fail_write_errno = EIO;
static bool hang_killable = true;
static const struct gfx_param *fail_write;
static const struct gfx_param *fail_read;
static const struct gfx_param *clamp_write;

/*
 * The epoch tells a waiter that the fault which it met is over, also if the
 * same fault began anew before the waiter ran.
 */
static DEFINE_SPINLOCK(hang_lock);
static DECLARE_WAIT_QUEUE_HEAD(hang_over);
static const struct gfx_param *hang_write;
static unsigned int hang_epoch;

static int parse_name(const char *text, const struct gfx_param **param)
{
	*param = gfx_param_find(text);
	return *param || sysfs_streq(text, "") ? 0 : -EINVAL;
}

static int name_set(const char *text, const struct kernel_param *kp)
{
	const struct gfx_param *param;
	int err = parse_name(text, &param);

	if (!err)
		WRITE_ONCE(*(const struct gfx_param **)kp->arg, param);
	return err;
}

static int hang_set(const char *text, const struct kernel_param *kp)
{
	const struct gfx_param *param;
	int err = parse_name(text, &param);

	if (err)
		return err;
	spin_lock(&hang_lock);
	if (hang_write != param) {
		hang_write = param;
		WRITE_ONCE(hang_epoch, hang_epoch + 1);
	}
	spin_unlock(&hang_lock);
	wake_up_all(&hang_over);
	return 0;
}

static int name_get(char *buf, const struct kernel_param *kp)
{
	const struct gfx_param *param = READ_ONCE(*(const struct gfx_param **)kp->arg);

	return scnprintf(buf, PAGE_SIZE, "%s\n", param ? param->name : "");
}

static int errno_or_none_set(const char *text, const struct kernel_param *kp)
{
	return param_set_uint_minmax(text, kp, 0, MAX_ERRNO_NUMBER);
}

static int errno_set(const char *text, const struct kernel_param *kp)
{
	return param_set_uint_minmax(text, kp, 1, MAX_ERRNO_NUMBER);
}

static const struct kernel_param_ops name_ops = { .set = name_set, .get = name_get };
static const struct kernel_param_ops hang_ops = { .set = hang_set, .get = name_get };
static const struct kernel_param_ops errno_ops = { .set = errno_set, .get = param_get_uint };
static const struct kernel_param_ops errno_or_none_ops = {
	.set = errno_or_none_set,
	.get = param_get_uint,
};

module_param_cb(fail_create, &errno_or_none_ops, &fail_create, 0644);
MODULE_PARM_DESC(fail_create, "create fails with this errno number (0: no fault)");
module_param_cb(fail_write, &name_ops, &fail_write, 0644);
MODULE_PARM_DESC(fail_write, "writes of this parameter fail");
module_param_cb(fail_write_errno, &errno_ops, &fail_write_errno, 0644);
MODULE_PARM_DESC(fail_write_errno, "errno number of fail_write (default 5, EIO)");
module_param_cb(clamp_write, &name_ops, &clamp_write, 0644);
MODULE_PARM_DESC(clamp_write, "writes of this parameter store another allowed value");
module_param_cb(hang_write, &hang_ops, &hang_write, 0644);
MODULE_PARM_DESC(hang_write, "writes of this parameter wait until this changes");
module_param(hang_killable, bool, 0644);
MODULE_PARM_DESC(hang_killable, "SIGKILL ends a write that waits (default Y)");
module_param_cb(fail_read, &name_ops, &fail_read, 0644);
MODULE_PARM_DESC(fail_read, "reading this parameter fails with EIO");

int gfx_fault_create(void)
{
	return -(int)READ_ONCE(fail_create);
}

/* Waits while the fault lasts; -EINTR if the writer was killed meanwhile. */
int gfx_fault_hang(enum gfx_param_id id)
{
	unsigned int epoch;
	bool hangs;

	spin_lock(&hang_lock);
	hangs = hang_write == &gfx_params[id];
	epoch = hang_epoch;
	spin_unlock(&hang_lock);

	if (!hangs)
		return 0;
	if (READ_ONCE(hang_killable))
		return wait_event_killable(hang_over, READ_ONCE(hang_epoch) != epoch) ? -EINTR : 0;
	wait_event(hang_over, READ_ONCE(hang_epoch) != epoch);
	return 0;
}

int gfx_fault_write(enum gfx_param_id id)
{
	return READ_ONCE(fail_write) == &gfx_params[id] ? -(int)READ_ONCE(fail_write_errno) : 0;
}

bool gfx_fault_clamps(enum gfx_param_id id)
{
	return READ_ONCE(clamp_write) == &gfx_params[id];
}

int gfx_fault_read(enum gfx_param_id id)
{
	return READ_ONCE(fail_read) == &gfx_params[id] ? -EIO : 0;
}
