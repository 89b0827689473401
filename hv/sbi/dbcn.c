/* SPDX-License-Identifier: MIT */
/* DBCN (SBI 3.0, chapter 12). A call moves at most CONSOLE_WRITE_MAX bytes, which the specification
 * allows. */
#include "sbi/sbi.h"
#include "core/console.h"
#include "mmu/gstage.h"

#define DBCN_MAX CONSOLE_WRITE_MAX

bool sbi_put_byte(struct vcpu *v, uint8_t byte)
{
	return console_write(&byte, 1) == 1;
}

/* All of the range must be the guest's RAM, however little of it is moved at once. */
static bool range_ok(const struct vcpu *v, uint64_t n, uint64_t lo, uint64_t hi)
{
	return hi == 0 && (n == 0 || range_within(lo, n, v->vm->ram_base.v, v->vm->ram_size));
}

static struct sbi_ret write(struct vcpu *v, uint64_t n, uint64_t lo, uint64_t hi)
{
	uint64_t done = 0;

	if (!range_ok(v, n, lo, hi))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	n = MIN(n, DBCN_MAX);
	while (done < n) {
		uint64_t part = MIN(n - done, PAGE_SIZE - ((lo + done) & (PAGE_SIZE - 1)));
		const void *from = guest_ptr(v->vm, gpa(lo + done), part, GSTAGE_R);
		uint64_t taken = from ? console_write(from, part) : 0;

		done += taken;
		if (taken < part)
			break;
	}
	return sbi_value(done);
}

static struct sbi_ret read(struct vcpu *v, uint64_t n, uint64_t lo, uint64_t hi)
{
	uint64_t done = 0;

	if (!range_ok(v, n, lo, hi))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	n = MIN(n, DBCN_MAX);
	v->vm->dbcn_reads = true;
	while (done < n) {
		uint64_t part = MIN(n - done, PAGE_SIZE - ((lo + done) & (PAGE_SIZE - 1)));
		void *to = guest_ptr(v->vm, gpa(lo + done), part, GSTAGE_W);
		uint64_t got = to ? console_read(to, part) : 0;

		done += got;
		if (got < part)
			break;
	}
	return sbi_value(done);
}

struct sbi_ret sbi_dbcn(struct vcpu *v, uint64_t fid, const uint64_t *a)
{
	switch (fid) {
	case 0:
		return write(v, a[0], a[1], a[2]);
	case 1:
		return read(v, a[0], a[1], a[2]);
	case 2:
		return sbi_put_byte(v, (uint8_t)a[0]) ? sbi_value(0) : sbi_retry(v);
	default:
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}
