/* SPDX-License-Identifier: MIT */
/* Windows into children, and their device trees (docs/abi.md). */
#include <string.h>
#include "boot/boot.h"
#include "fdt/guest.h"
#include "mmu/gstage.h"
#include "riscv/feature.h"
#include "sbi/diosix.h"

#define TREE_MAX KIB(128)

struct sbi_ret dx_window_map(struct vcpu *v, const uint64_t *a)
{
	uint64_t done = v->stage, mapped = 0;
	struct vm *child;

	if (!IS_ALIGNED(a[1] | a[2] | a[3], PAGE_SIZE) || a[3] == 0 ||
		(a[4] & ~(uint64_t)(DX_READ | DX_WRITE)) || !(a[4] & DX_READ) || a[0] == DX_SELF ||
		a[3] > GSTAGE_END)
		return sbi_error(SBI_ERR_INVALID_PARAM);
	enum err err = dx_pin(v, a[0], &child);

	if (err == OK) {
		uint64_t rights = GSTAGE_R | (a[4] & DX_WRITE ? GSTAGE_W : 0);

		err = gstage_open_window(v->vm, gpa(a[2] + done), child, gpa(a[1] + done),
			a[3] - done, rights, &mapped);
		dx_unpin(child);
	}
	return dx_part(v, mapped, a[3], err);
}

struct sbi_ret dx_window_unmap(struct vcpu *v, const uint64_t *a)
{
	uint64_t done;

	if (!IS_ALIGNED(a[0] | a[1], PAGE_SIZE) || !range_within(a[0], a[1], 0, GSTAGE_END))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	enum err err = gstage_close_windows(v->vm, gpa(a[0] + v->stage), a[1] - v->stage, &done);

	v->stage += done;
	return err == OK && v->stage < a[1] ? sbi_again(v) : sbi_result(err);
}

/* Writes `from` (NULL: only looks) to the caller's pages. False: one is missing; it is made first,
 * and then all is written in one go. */
static bool write_all(
	struct vcpu *v, uint64_t at, const uint8_t *from, uint64_t n, struct sbi_ret *r)
{
	for (uint64_t done = 0, part; done < n; done += part) {
		gpa_t to = gpa(at + done);

		part = MIN(n - done, PAGE_SIZE - (to.v & (PAGE_SIZE - 1)));
		void *p = guest_ptr(v->vm, to, part, GSTAGE_W);

		if (!p) {
			*r = sbi_need(v, to, true, SBI_ERR_INVALID_ADDRESS);
			return false;
		}
		if (from)
			memcpy(p, from + done, part);
	}
	return true;
}

/* The next part of the tree, in a buffer that the caller pays for. v->stage counts them. */
static enum err write_part(struct vcpu *v, uint64_t handle, uint64_t n)
{
	enum err err = v->buffer ? OK : vm_struct_alloc(v->vm, n, &v->buffer);
	size_t used = 0;
	struct vm *vm;

	if (err == OK)
		err = dx_pin(v, handle, &vm);
	if (err != OK)
		return err;
	/* As of one that holds no device. */
	const struct guest_tree t = {
		.vm = vm,
		.machine = &machine,
		.isa = features_for_guests(),
		.bootargs = "console=hvc0 panic=1",
	};

	err = fdt_guest_part(&t, v->buffer, n, &v->stage, &used);
	dx_unpin(vm);
	v->handle = (uint32_t)used;
	return err == OK ? OK : E_INVAL;
}

struct sbi_ret dx_fdt_write(struct vcpu *v, const uint64_t *a)
{
	uint64_t n = MIN(a[2], TREE_MAX);
	struct sbi_ret r;

	if (!range_within(a[1], n, 0, GSTAGE_END))
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	if (v->stage == 0)
		v->handle = 0;
	/* Also first of all, so that nothing has happened when it is not there. */
	if (!write_all(v, a[1], NULL, n, &r))
		return r;
	if (v->handle)
		return write_all(v, a[1], v->buffer, v->handle, &r) ? sbi_value(v->handle) : r;
	enum err err = write_part(v, a[0], n);
	return err == OK ? sbi_again(v) : sbi_result(err);
}
