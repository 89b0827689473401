/* SPDX-License-Identifier: MIT */
/* DBCN (SBI 3.0, chapter 12). A call moves at most CONSOLE_WRITE_MAX bytes, which the specification
 * allows. */
#include "sbi/sbi.h"
#include "core/console.h"
#include "core/vconsole.h"
#include "mmu/gstage.h"

/* Page by page, until one is not there: what was moved by then counts, and the rest may come in the
 * next call. Not inlined, so that a call that moves nothing needs no large frame. */
static noinline struct sbi_ret move(struct vcpu *v, uint64_t n, uint64_t lo, bool reads)
{
	uint64_t done = 0;

	n = MIN(n, CONSOLE_WRITE_MAX);
	while (done < n) {
		uint64_t part = MIN(n - done, PAGE_SIZE - ((lo + done) & (PAGE_SIZE - 1)));
		void *p = guest_ptr(v->vm, gpa(lo + done), part, reads ? GSTAGE_W : GSTAGE_R);

		if (!p && done == 0)
			return sbi_need(v, gpa(lo), reads, SBI_ERR_INVALID_PARAM);
		if (!p)
			break;
		uint64_t moved =
			reads ? vconsole_read(v->vm, p, part) : vconsole_write(v->vm, p, part);

		done += moved;
		if (moved < part)
			break;
	}
	return sbi_value(done);
}

static struct sbi_ret transfer(struct vcpu *v, const uint64_t *a, bool reads)
{
	/* All of the range must be the guest's RAM, however little of it is moved at once. */
	if (a[2] || (a[0] && !range_within(a[1], a[0], v->vm->ram_base.v, v->vm->ram_size)))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	v->vm->dbcn_reads |= reads;
	return a[0] ? move(v, a[0], a[1], reads) : sbi_value(0);
}

static struct sbi_ret write_byte(struct vcpu *v, uint8_t byte)
{
	return vconsole_write(v->vm, &byte, 1) == 1 ? sbi_value(0) : sbi_retry(v);
}

struct sbi_ret sbi_dbcn(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	switch (fid) {
	case 0:
		return transfer(v, a, false);
	case 1:
		return transfer(v, a, true);
	default:
		return write_byte(v, (uint8_t)a[0]);
	}
}
