// SPDX-License-Identifier: GPL-2.0
/*
 * Forking this VM, and giving up its trust. Both sides of a fork go on after the call.
 *
 * A VM with devices of the machine freezes them first, as for hibernation, so that no request is
 * in flight and each driver expects to find its device in no particular state; the parent thaws
 * them. In the child they are gone (gone.c). A VM without devices only brings its CPUs to a stop.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/stop_machine.h>
#include <linux/string.h>
#include <linux/suspend.h>
#include "driver.h"

/* One fork, or loss of trust, at a time. Not dx_lock: events are handled until the devices stop. */
static DEFINE_MUTEX(fork_lock);

struct fork {
	struct dx_fork *args; /* in a page of its own */
	struct gone *gone;
	long handle;
};

/* All other CPUs wait with interrupts off, and so does this one. */
static int fork_cpu(void *data)
{
	struct fork *f = data;

	f->handle = dx_call(DX_FID_FORK, __pa(f->args), 0, 0, 0, 0);
	if (!f->handle)
		dx_generation++;
	return 0;
}

/* With all devices frozen. */
static int fork_frozen(void *data)
{
	struct fork *f = data;
	int ret = stop_machine(fork_cpu, f, NULL);

	if (!ret && !f->handle)
		gone_skip_resume(f->gone);
	return ret;
}

static long fork_with(struct fork *f)
{
	int ret = gone_prepare(&f->gone);

	if (ret)
		return ret;
	ret = gone_any(f->gone) ? hibernate_quiet_exec(fork_frozen, f)
				: stop_machine(fork_cpu, f, NULL);
	if (!ret && !f->handle)
		gone_remove(f->gone, true);
	gone_free(f->gone);
	return ret ?: f->handle;
}

/* Whoever has the lock freezes the others who want it, which a program is not to notice. */
static long begin(void)
{
	return mutex_lock_interruptible(&fork_lock) ? -ERESTARTSYS : 0;
}

/* The child's handle, 0 in the child, or an error. */
long fork_vm(const struct dx_fork *args)
{
	struct fork f = {.args = (void *)get_zeroed_page(GFP_KERNEL)};
	long ret;

	if (!f.args)
		return -ENOMEM;
	*f.args = *args;
	ret = begin();
	if (!ret) {
		ret = fork_with(&f);
		mutex_unlock(&fork_lock);
	}
	free_page((unsigned long)f.args);
	return ret;
}

/* The devices are taken from their drivers while they still answer. */
long drop_trust(void)
{
	struct gone *gone;
	long ret;

	ret = begin();
	if (ret)
		return ret;
	ret = gone_prepare(&gone);
	if (!ret) {
		gone_remove(gone, false);
		gone_free(gone);
		ret = dx_call(DX_FID_DROP_TRUST, 0, 0, 0, 0, 0);
	}
	mutex_unlock(&fork_lock);
	return ret;
}
