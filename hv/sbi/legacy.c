/* SPDX-License-Identifier: MIT */
/*
 * The legacy extensions 0-8 (SBI 3.0, chapter 5), for old kernels: done by those that replaced
 * them. Their hart masks lie in memory, at a virtual address of the caller's; reading it may fault
 * as the caller's own load would.
 */
#include "sbi/sbi.h"
#include "core/vconsole.h"
#include "riscv/guard.h"
#include "riscv/guest_csr.h"

static_assert(VM_MAX_VCPUS <= 64, "one word of a mask holds all harts");

/* A NULL mask means all harts; harts that do not exist are ignored, as the calls have no error for
 * them. */
static enum err read_mask(struct vcpu *v, uint64_t va, uint64_t *set)
{
	uint64_t mepc = csr_read(mepc), mstatus = csr_read(mstatus), cause;

	*set = UINT64_MAX;
	enum err err = va ? guest_load_u64(v, va, set, &cause) : OK;

	/* On the fast path these are still the guest's. */
	csr_write(mepc, mepc);
	csr_write(mstatus, mstatus);
	*set &= UINT64_MAX >> (64 - v->vm->nvcpus);
	return err;
}

static int64_t console_getchar(struct vcpu *v)
{
	uint8_t byte;

	v->vm->dbcn_reads = true;
	return vconsole_read(v->vm, &byte, 1) == 1 ? byte : -1;
}

/* send_ipi, 4, and the remote fences, 5 to 7. */
static int64_t masked(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	uint64_t now[] = {0, 0, a[1], a[2], a[3]};

	if (read_mask(v, a[0], &now[0]) != OK)
		return SBI_ERR_INVALID_ADDRESS;
	return (eid == 4 ? sbi_ipi(v, 0, now) : sbi_rfence(v, eid - 5, now)).error;
}

static int64_t clear_ipi(void)
{
	uint64_t pending = guest_irq_read() & BIT(IRQ_VSSI);

	guest_irq_clear(BIT(IRQ_VSSI));
	return pending != 0;
}

static int64_t call(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	switch (eid) {
	case 0:
		return sbi_time(v, 0, a).error;
	case 1:
		return sbi_dbcn(v, 2, a).error;
	case 2:
		return console_getchar(v);
	case 3:
		return clear_ipi();
	case 8:
		return sbi_system_reset(v, false, false, 0).error;
	default:
		return masked(v, eid, a);
	}
}

struct sbi_ret sbi_legacy(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	int64_t ret = call(v, eid, a);

	return (struct sbi_ret){ret, v->x[11]};
}
