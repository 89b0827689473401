// SPDX-License-Identifier: GPL-2.0
/*
 * Windows into a child's memory: mmap of its fd. The hypervisor maps the child's pages at GPAs of
 * ours that are neither RAM nor a device's, and Linux maps those for the program.
 *
 * A window lives as long as one vma of it. A VM forked from here has none of its parent's windows:
 * there, a program that touches one gets a SIGSEGV, and nothing is left to unmap.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/refcount.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include "driver.h"

/* The upper half of what Sv39x4 can translate (41 bits); no machine has RAM or devices there. */
#define WINDOWS_START BIT_ULL(40)
#define WINDOWS_END   (BIT_ULL(41) - 1)

struct window {
	refcount_t vmas;
	unsigned int generation;
	u64 mapped; /* bytes, from the start, that the hypervisor has mapped */
	struct dx_child *child;
	struct resource gpa;
};

static void window_open(struct vm_area_struct *vma)
{
	struct window *w = vma->vm_private_data;

	refcount_inc(&w->vmas);
}

/* Its GPAs are used again only when the hypervisor has nothing there any more. */
static void window_free(struct window *w)
{
	long ret = 0;

	if (w->mapped && w->generation == READ_ONCE(dx_generation))
		ret = dx_call(DX_FID_WINDOW_UNMAP, w->gpa.start, w->mapped, 0, 0, 0);
	child_put(w->child);
	if (WARN_ONCE(ret, "diosix: a window cannot be unmapped: %ld\n", ret))
		return;
	release_resource(&w->gpa);
	kfree(w);
}

static void window_close(struct vm_area_struct *vma)
{
	struct window *w = vma->vm_private_data;

	if (refcount_dec_and_test(&w->vmas))
		window_free(w);
}

static const struct vm_operations_struct window_ops = {
	.open = window_open,
	.close = window_close,
};

static struct window *window_new(struct dx_child *c, u64 size)
{
	struct window *w = kzalloc(sizeof(*w), GFP_KERNEL);
	int ret;

	if (!w)
		return ERR_PTR(-ENOMEM);
	w->gpa = (struct resource){.name = "window into a VM", .flags = IORESOURCE_MEM};
	/* Aligned, so that large pages of the child can stay large. */
	ret = allocate_resource(&iomem_resource, &w->gpa, size, WINDOWS_START, WINDOWS_END,
				size < SZ_2M ? PAGE_SIZE : SZ_2M, NULL, NULL);
	if (ret) {
		kfree(w);
		return ERR_PTR(ret);
	}
	refcount_set(&w->vmas, 1);
	w->generation = READ_ONCE(dx_generation);
	kref_get(&c->ref);
	w->child = c;
	return w;
}

/* A call may map less than it was asked to, and the next one then says why. */
static long window_map(struct window *w, u64 child_gpa, bool write)
{
	u64 size = resource_size(&w->gpa);
	long done;

	if (!child_alive(w->child))
		return -ENODEV;
	while (w->mapped < size) {
		done = dx_call(DX_FID_WINDOW_MAP, w->child->handle, child_gpa + w->mapped,
			       w->gpa.start + w->mapped, size - w->mapped,
			       write ? DX_READ | DX_WRITE : DX_READ);
		if (done <= 0)
			return done ?: -EIO;
		w->mapped += done;
	}
	return 0;
}

int window_mmap(struct dx_child *c, struct vm_area_struct *vma)
{
	u64 size = vma->vm_end - vma->vm_start;
	bool write = vma->vm_flags & VM_WRITE;
	struct window *w;
	long ret;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	w = window_new(c, size);
	if (IS_ERR(w))
		return PTR_ERR(w);
	ret = window_map(w, (u64)vma->vm_pgoff << PAGE_SHIFT, write);
	if (ret) {
		window_free(w);
		return ret;
	}
	/* Nobody may write later through what the hypervisor was told is for reading. */
	if (!write)
		vm_flags_clear(vma, VM_MAYWRITE);
	vm_flags_set(vma, VM_DONTCOPY);
	ret = remap_pfn_range(vma, vma->vm_start, PHYS_PFN(w->gpa.start), size, vma->vm_page_prot);
	if (ret) {
		window_free(w);
		return ret;
	}
	vma->vm_private_data = w;
	vma->vm_ops = &window_ops;
	return 0;
}
