// SPDX-License-Identifier: GPL-2.0
/*
 * The Linux driver of Diosix: /dev/diosix, for a VM that forks and looks after its children.
 * Bound to the device tree's node /hypervisor, whose interrupt is high while there are events.
 */
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include "driver.h"

struct reader {
	u64 seen; /* events up to this number have been read; under dx_lock */
};

static int dx_irq;

/* --- the interrupt --- */

/* Not in a thread of its own: that would have a real-time priority, and a child that writes to its
 * console for ever could keep this VM's programs from running.
 */
static void events_work(struct work_struct *work)
{
	events_handle();
	enable_irq(dx_irq);
}

static DECLARE_WORK(dx_work, events_work);

/* The level stays until all events are read. */
static irqreturn_t events_irq(int irq, void *data)
{
	disable_irq_nosync(irq);
	queue_work(system_unbound_wq, &dx_work);
	return IRQ_HANDLED;
}

/* --- calls that have a struct --- */

/* A new child, of CLONE or CREATE. */
static long new_child(unsigned long fid, u32 handle, void *s, size_t size, char *name)
{
	struct dx_child *c;
	long ret;

	c = child_reserve(name);
	if (IS_ERR(c))
		return PTR_ERR(c);
	ret = dx_call_struct(fid, handle, s, size);
	child_born(c, ret > 0 ? ret : 0);
	return ret;
}

static long do_fork(void __user *arg)
{
	struct dxio_fork a;
	struct dx_child *c;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	c = child_reserve(a.name);
	if (IS_ERR(c))
		return PTR_ERR(c);
	ret = fork_vm(&a.fork);
	child_born(c, ret > 0 ? ret : 0);
	if (!ret)
		children_purge(false);
	return ret;
}

static long do_clone(void __user *arg)
{
	struct dxio_clone a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	return new_child(DX_FID_CLONE, a.handle, &a.fork, sizeof(a.fork), a.name);
}

static long do_create(void __user *arg)
{
	struct dxio_create a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	return new_child(DX_FID_CREATE, 0, &a.create, sizeof(a.create), a.name);
}

/* A call that changes a child's state. */
static long change(unsigned long fid, u32 handle, u64 a1, u64 a2)
{
	long ret = dx_call(fid, handle, a1, a2, 0, 0);

	if (ret >= 0)
		child_changed(handle);
	return ret;
}

static long do_start(void __user *arg)
{
	struct dxio_start a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	return change(DX_FID_START, a.handle, a.entry, a.argument);
}

static long do_info(void __user *arg)
{
	struct dxio_info a;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	ret = dx_call_struct(DX_FID_INFO, a.handle, &a.info, sizeof(a.info));
	if (!ret && copy_to_user(arg, &a, sizeof(a)))
		ret = -EFAULT;
	return ret;
}

static long do_quota(void __user *arg)
{
	struct dxio_quota a;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	ret = dx_call_struct(DX_FID_QUOTA_READ, a.handle, &a.quota, sizeof(a.quota));
	if (!ret && copy_to_user(arg, &a, sizeof(a)))
		ret = -EFAULT;
	return ret;
}

static long do_limit(void __user *arg)
{
	struct dxio_limit a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	return dx_call(DX_FID_QUOTA_SET, a.handle, a.limit, a.amount, 0, 0);
}

static long do_priority(void __user *arg)
{
	struct dxio_priority a;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	return dx_call(DX_FID_PRIORITY, a.handle, a.priority, a.weight, 0, 0);
}

static long do_fdt(void __user *arg)
{
	struct dxio_fdt a;
	void *buf;
	long ret;

	if (copy_from_user(&a, arg, sizeof(a)))
		return -EFAULT;
	if (!a.bytes || a.bytes > DXIO_FDT_MAX)
		return -EINVAL;
	buf = alloc_pages_exact(a.bytes, GFP_KERNEL | __GFP_ZERO);
	if (!buf)
		return -ENOMEM;
	ret = dx_call(DX_FID_FDT_WRITE, a.handle, __pa(buf), a.bytes, 0, 0);
	if (ret > a.bytes)
		ret = -EIO;
	if (ret > 0 && copy_to_user(u64_to_user_ptr(a.buffer), buf, ret))
		ret = -EFAULT;
	free_pages_exact(buf, a.bytes);
	return ret;
}

static long dx_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;

	switch (cmd) {
	case DXIO_VERSION:
		return dx_call(DX_FID_VERSION, 0, 0, 0, 0, 0);
	case DXIO_FORK:
		return do_fork(p);
	case DXIO_CLONE:
		return do_clone(p);
	case DXIO_CREATE:
		return do_create(p);
	case DXIO_START:
		return do_start(p);
	case DXIO_INFO:
		return do_info(p);
	case DXIO_QUOTA:
		return do_quota(p);
	case DXIO_LIMIT:
		return do_limit(p);
	case DXIO_PRIORITY:
		return do_priority(p);
	case DXIO_FDT:
		return do_fdt(p);
	case DXIO_DROP_TRUST:
		return drop_trust();
	case DXIO_NEXT:
		return dx_call(DX_FID_NEXT, arg, 0, 0, 0, 0);
	case DXIO_PAUSE:
		return change(DX_FID_PAUSE, arg, 0, 0);
	case DXIO_RESUME:
		return change(DX_FID_RESUME, arg, 0, 0);
	case DXIO_KILL:
		return change(DX_FID_KILL, arg, 0, 0);
	case DXIO_REBOOT:
		return change(DX_FID_REBOOT, arg, 0, 0);
	case DXIO_REAP:
		return child_reap(arg);
	case DXIO_OPEN:
		return child_open(arg);
	default:
		return -ENOTTY;
	}
}

/* --- the stream of events --- */

static int dx_open(struct inode *inode, struct file *file)
{
	struct reader *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return -ENOMEM;
	mutex_lock(&dx_lock);
	r->seen = event_last();
	mutex_unlock(&dx_lock);
	file->private_data = r;
	return 0;
}

static int dx_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static bool any_event(struct reader *r)
{
	struct dxio_event e;
	u64 seen;
	bool any;

	mutex_lock(&dx_lock);
	seen = r->seen;
	any = event_next(&seen, &e);
	mutex_unlock(&dx_lock);
	return any;
}

static bool next_event(struct reader *r, struct dxio_event *e)
{
	bool any;

	mutex_lock(&dx_lock);
	any = event_next(&r->seen, e);
	mutex_unlock(&dx_lock);
	return any;
}

/* One record: a reader rarely finds more, and then it is here again at once. */
static ssize_t dx_read(struct file *file, char __user *to, size_t size, loff_t *off)
{
	struct reader *r = file->private_data;
	struct dxio_event e;
	int ret;

	if (size < sizeof(e))
		return -EINVAL;
	while (!next_event(r, &e)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(dx_events_wait, any_event(r));
		if (ret)
			return ret;
	}
	return copy_to_user(to, &e, sizeof(e)) ? -EFAULT : sizeof(e);
}

static __poll_t dx_poll(struct file *file, poll_table *wait)
{
	poll_wait(file, &dx_events_wait, wait);
	return any_event(file->private_data) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations dx_fops = {
	.owner = THIS_MODULE,
	.open = dx_open,
	.release = dx_release,
	.read = dx_read,
	.poll = dx_poll,
	.unlocked_ioctl = dx_ioctl,
};

static struct miscdevice dx_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "diosix",
	.fops = &dx_fops,
	.mode = 0600,
};

/* --- start and end --- */

static int check_version(struct device *dev)
{
	long version = dx_call(DX_FID_VERSION, 0, 0, 0, 0, 0);

	if (version == DX_ABI_VERSION)
		return 0;
	return dev_err_probe(dev, -ENODEV, "the hypervisor's interface has version %ld, not %d\n",
			     version, DX_ABI_VERSION);
}

static int dx_probe(struct platform_device *pdev)
{
	int ret = check_version(&pdev->dev);

	if (ret)
		return ret;
	dx_irq = platform_get_irq(pdev, 0);
	if (dx_irq < 0)
		return dx_irq;
	ret = events_init();
	if (ret)
		return ret;
	ret = misc_register(&dx_misc);
	if (ret)
		goto out_events;
	ret = request_irq(dx_irq, events_irq, 0, "diosix", pdev);
	if (ret)
		goto out_misc;
	return 0;
out_misc:
	misc_deregister(&dx_misc);
out_events:
	events_exit();
	return ret;
}

/* No file is open, for each holds the module. The work may have left the interrupt disabled, and
 * free_irq() does not mind.
 */
static void dx_remove(struct platform_device *pdev)
{
	misc_deregister(&dx_misc);
	disable_irq(dx_irq);
	flush_work(&dx_work);
	free_irq(dx_irq, pdev);
	events_exit();
}

static const struct of_device_id dx_of_ids[] = {
	{.compatible = "diosix,hypervisor"},
	{},
};
MODULE_DEVICE_TABLE(of, dx_of_ids);

/* Unbinding while files are open is not provided for; unloading cannot happen then. */
static struct platform_driver dx_driver = {
	.probe = dx_probe,
	.remove_new = dx_remove,
	.driver.name = "diosix",
	.driver.of_match_table = dx_of_ids,
	.driver.pm = &net_pm_ops,
	.driver.suppress_bind_attrs = true,
};
module_platform_driver(dx_driver);

MODULE_DESCRIPTION("Diosix hypervisor: fork this VM, look after its children");
MODULE_LICENSE("GPL");
