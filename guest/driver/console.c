// SPDX-License-Identifier: GPL-2.0
/* A child's fd: its console, its events, its name, its memory. */
#include <linux/anon_inodes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "driver.h"

struct console {
	struct dx_child *child;
	u64 pos;  /* of the child's output: the next byte to read; under dx_lock */
	u64 seen; /* events up to this number have been told; under dx_lock */
};

/* With dx_lock held: the next bytes for the reader, at most n, which is not more than a page. */
static size_t take_output(struct console *f, u8 *to, size_t n)
{
	struct dx_child *c = f->child;
	size_t at, first;

	if (c->head - f->pos > DX_SCROLLBACK)
		f->pos = c->head - DX_SCROLLBACK;
	n = min_t(u64, n, c->head - f->pos);
	if (!n)
		return 0;
	at = f->pos % DX_SCROLLBACK;
	first = min(n, DX_SCROLLBACK - at);
	memcpy(to, c->ring + at, first);
	memcpy(to + first, c->ring, n - first);
	f->pos += n;
	return n;
}

static bool readable(struct console *f)
{
	bool yes;

	mutex_lock(&dx_lock);
	yes = f->pos != f->child->head || !child_alive(f->child);
	mutex_unlock(&dx_lock);
	return yes;
}

/* By way of a page, because the copy to user space may sleep. */
static ssize_t console_read(struct file *file, char __user *to, size_t size, loff_t *off)
{
	struct console *f = file->private_data;
	bool alive = true;
	ssize_t n = 0;
	u8 *page;

	if (!size)
		return 0;
	page = (u8 *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	while (alive && !n) {
		mutex_lock(&dx_lock);
		n = take_output(f, page, min(size, PAGE_SIZE));
		alive = child_alive(f->child);
		mutex_unlock(&dx_lock);
		if (n || !alive)
			break;
		n = file->f_flags & O_NONBLOCK
			    ? -EAGAIN
			    : wait_event_interruptible(f->child->wait, readable(f));
	}
	if (n > 0 && copy_to_user(to, page, n))
		n = -EFAULT;
	free_page((unsigned long)page);
	return n;
}

/* `full` is set before the call: its DX_EVENT_ROOM cannot be noted before the lock is free. */
static long put_input(struct dx_child *c, const u8 *page, size_t n)
{
	long taken;

	mutex_lock(&dx_lock);
	c->full = true;
	taken = child_alive(c) ? dx_call(DX_FID_CONSOLE_WRITE, c->handle, __pa(page), n, 0, 0)
			       : -ENODEV;
	if (taken < 0 || taken == n)
		c->full = false;
	mutex_unlock(&dx_lock);
	return taken;
}

static ssize_t console_write(struct file *file, const char __user *from, size_t size, loff_t *off)
{
	struct console *f = file->private_data;
	ssize_t n = 0;
	u8 *page;

	if (!size)
		return 0;
	size = min(size, PAGE_SIZE);
	page = (u8 *)__get_free_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	if (copy_from_user(page, from, size))
		n = -EFAULT;
	while (!n) {
		n = put_input(f->child, page, size);
		if (n)
			break;
		n = file->f_flags & O_NONBLOCK
			    ? -EAGAIN
			    : wait_event_interruptible(f->child->wait,
						       !READ_ONCE(f->child->full) ||
							       !child_alive(f->child));
	}
	free_page((unsigned long)page);
	return n;
}

static __poll_t console_poll(struct file *file, poll_table *wait)
{
	struct console *f = file->private_data;
	struct dx_child *c = f->child;
	__poll_t mask = 0;
	u64 seen;

	poll_wait(file, &c->wait, wait);
	mutex_lock(&dx_lock);
	seen = f->seen;
	if (f->pos != c->head)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (!c->full)
		mask |= EPOLLOUT | EPOLLWRNORM;
	if (child_events(c, &seen))
		mask |= EPOLLPRI;
	if (!child_alive(c))
		mask |= EPOLLHUP;
	mutex_unlock(&dx_lock);
	return mask;
}

static long name_get(struct dx_child *c, void __user *arg)
{
	struct dxio_name n;

	mutex_lock(&dx_lock);
	strscpy_pad(n.name, c->name, sizeof(n.name));
	mutex_unlock(&dx_lock);
	return copy_to_user(arg, &n, sizeof(n)) ? -EFAULT : 0;
}

static long name_set(struct dx_child *c, void __user *arg)
{
	struct dxio_name n;

	if (copy_from_user(&n, arg, sizeof(n)))
		return -EFAULT;
	return child_rename(c, n.name);
}

static long last_get(struct dx_child *c, void __user *arg)
{
	struct dx_info info = {};
	long ret = child_last(c, &info);

	if (!ret && copy_to_user(arg, &info, sizeof(info)))
		ret = -EFAULT;
	return ret;
}

static long console_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct console *f = file->private_data;
	long ret;

	switch (cmd) {
	case DXIO_NAME_GET:
		return name_get(f->child, (void __user *)arg);
	case DXIO_NAME_SET:
		return name_set(f->child, (void __user *)arg);
	case DXIO_EVENTS:
		mutex_lock(&dx_lock);
		ret = child_events(f->child, &f->seen);
		mutex_unlock(&dx_lock);
		return ret;
	case DXIO_LAST:
		return last_get(f->child, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int console_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct console *f = file->private_data;

	return window_mmap(f->child, vma);
}

static int console_release(struct inode *inode, struct file *file)
{
	struct console *f = file->private_data;

	child_put(f->child);
	kfree(f);
	return 0;
}

static const struct file_operations console_fops = {
	.owner = THIS_MODULE,
	.read = console_read,
	.write = console_write,
	.poll = console_poll,
	.unlocked_ioctl = console_ioctl,
	.mmap = console_mmap,
	.release = console_release,
};

int child_open(u32 handle)
{
	struct dx_child *c = child_get(handle);
	struct console *f;
	int fd;

	if (IS_ERR(c))
		return PTR_ERR(c);
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f) {
		child_put(c);
		return -ENOMEM;
	}
	f->child = c;
	mutex_lock(&dx_lock);
	f->seen = event_last();
	mutex_unlock(&dx_lock);
	fd = anon_inode_getfd("diosix-child", &console_fops, f, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		child_put(c);
		kfree(f);
	}
	return fd;
}
