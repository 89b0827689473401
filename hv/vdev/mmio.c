/* SPDX-License-Identifier: MIT */
/*
 * See mmio.h. The faulting GPA is mtval2 (shifted by two) with the two low bits of mtval; the
 * instruction comes from mtinst, or is fetched through the guest's own translation when the
 * hardware left that zero (Privileged ISA 18.6.3, 18.4.4).
 */
#include "vdev/devices.h"
#include "mmu/gstage.h"
#include "riscv/decode.h"
#include "riscv/guard.h"
#include "riscv/guest_csr.h"

#define VUART_SIZE 8

/* E_UNSUPPORTED: not an access that a device register can answer. E_FAULT: another VCPU changed the
 * guest's tables since, `*cause` tells how; the instruction is executed again. */
static enum err decode(struct vcpu *v, uint64_t mtinst, struct mmio_access *a, uint64_t *cause)
{
	uint32_t insn;
	enum err err = decode_mtinst(mtinst, a);

	if (err != E_NOENT)
		return err;
	err = guest_fetch(v, &insn, cause);
	return err == OK ? decode_access(insn, a) : err;
}

static uint64_t extend(uint64_t value, const struct mmio_access *a)
{
	unsigned unused = 64 - 8 * a->size;

	if (a->sign_extend)
		return (uint64_t)((int64_t)(value << unused) >> unused);
	return value << unused >> unused;
}

/* Of the register at `at`, or of a ghost's, which reads as 0. E_NOENT: none of that size is there.
 */
static enum err access(struct vm *vm, gpa_t at, const struct mmio_access *a, uint64_t *value)
{
	uint64_t plic = at.v - vm->plic_base.v, uart = at.v - vm->uart_base.v;

	if (plic < VPLIC_SIZE && a->size == 4 && IS_ALIGNED(plic, 4))
		*value = vplic_access(&vm->plic, plic, a->write, (uint32_t)*value);
	else if (uart < VUART_SIZE && a->size == 1)
		*value = vuart_access(&vm->uart, (unsigned)uart, a->write, (uint8_t)*value);
	else if (gstage_is_ghost(vm, at))
		*value = 0;
	else
		return E_NOENT;
	return OK;
}

static enum err emulate(struct vcpu *v, gpa_t at, uint64_t mtinst, uint64_t *fetch_cause)
{
	struct mmio_access a;
	enum err err = decode(v, mtinst, &a, fetch_cause);

	if (err != OK)
		return err;
	uint64_t value = v->x[a.reg];

	err = access(v->vm, at, &a, &value);
	if (err != OK)
		return err;
	if (!a.write && a.reg)
		v->x[a.reg] = extend(value, &a);
	v->pc += a.insn_len;
	return OK;
}

void mmio_fault(struct vcpu *v, gpa_t at, bool store)
{
	/* Read before a guarded fetch may change it. */
	uint64_t gva = csr_read(mtval), fetch_cause = 0;
	enum err err = emulate(v, at, has_h ? csr_read(mtinst) : 0, &fetch_cause);

	if (err == E_FAULT && fetch_cause < CAUSE_INSN_GUEST_PAGE)
		vcpu_inject(v, CAUSE_INSN_PAGE, v->pc);
	else if (err != OK && err != E_FAULT)
		vcpu_inject(v, store ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, gva);
}
