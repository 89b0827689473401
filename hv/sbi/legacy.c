/* SPDX-License-Identifier: MIT */
/*
 * The legacy extensions 0-8 (SBI 3.0, chapter 5), for old kernels. Their hart masks lie in memory,
 * at a virtual address of the caller's; reading it may fault as the caller's own load would.
 */
#include "sbi/sbi.h"
#include "core/vconsole.h"
#include "core/hartmask.h"
#include "riscv/guard.h"

#define MAX_MASK_WORDS 1 /* VM_MAX_VCPUS bits */
static_assert(VM_MAX_VCPUS <= 64 * MAX_MASK_WORDS, "one word holds all harts");

/* A NULL mask means all harts; harts that do not exist are ignored, as the calls have no error for
 * them. */
static enum err read_mask(struct vcpu *v, uint64_t va, uint64_t *set)
{
	uint64_t all = ~UINT64_C(0) >> (64 - v->vm->nvcpus), cause;
	uint64_t mepc = csr_read(CSR_MEPC), mstatus = csr_read(CSR_MSTATUS);

	*set = all;
	if (va == 0)
		return OK;
	enum err err = guest_load_u64(va, set, &cause);

	/* On the fast path these are still the guest's. */
	csr_write(CSR_MEPC, mepc);
	csr_write(CSR_MSTATUS, mstatus);
	*set &= all;
	return err;
}

static int64_t console_getchar(struct vcpu *v)
{
	uint8_t byte;

	v->vm->dbcn_reads = true;
	return vconsole_read(v->vm, &byte, 1) == 1 ? byte : -1;
}

static int64_t console_putchar(struct vcpu *v, uint8_t byte)
{
	return sbi_put_byte(v, byte) ? 0 : sbi_retry(v).error;
}

static int64_t masked(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	static const enum fence_kind kinds[] = {
		[5] = FENCE_I, [6] = FENCE_VVMA, [7] = FENCE_VVMA_ASID};
	uint64_t set;

	if (read_mask(v, a[0], &set) != OK)
		return SBI_ERR_INVALID_ADDRESS;
	if (eid == 4) {
		sbi_send_ipi(v, set);
		return 0;
	}
	struct fence f = {.kind = kinds[eid], .start = a[1], .size = a[2], .asid = a[3]};

	if (f.start == 0 && f.size == 0)
		f.size = UINT64_MAX;
	sbi_remote_fence(v, set, &f);
	return 0;
}

static int64_t call(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	switch (eid) {
	case 0:
		sbi_set_timer(v, a[0]);
		return 0;
	case 1:
		return console_putchar(v, (uint8_t)a[0]);
	case 2:
		return console_getchar(v);
	case 3: {
		uint64_t pending = csr_read(CSR_HVIP) & BIT(IRQ_VSSI);

		csr_clear(CSR_HVIP, BIT(IRQ_VSSI));
		return pending != 0;
	}
	case 8:
		return sbi_system_reset(v, false, false).error;
	default:
		return masked(v, eid, a);
	}
}

struct sbi_ret sbi_legacy(struct vcpu *v, uint64_t eid, const uint64_t *a)
{
	int64_t ret = call(v, eid, a);

	return (struct sbi_ret){ret, v->x[11]};
}
