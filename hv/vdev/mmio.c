/* SPDX-License-Identifier: MIT */
/*
 * See mmio.h. The faulting GPA is mtval2 (shifted by two) with the two low bits of mtval; the
 * instruction comes from mtinst, or is fetched through the guest's own translation when the
 * hardware left that zero (Privileged ISA 18.6.3, 18.4.4).
 */
#include "vdev/mmio.h"
#include "mmu/gstage.h"
#include "riscv/csr.h"
#include "riscv/decode.h"
#include "riscv/guard.h"
#include "vdev/vplic.h"
#include "vdev/vuart.h"

#define VUART_SIZE 8

struct fault {
	gpa_t gpa;
	uint64_t gva, mtinst;
	uint64_t fetch_cause; /* of E_FAULT */
};

/* E_UNSUPPORTED: not an access that a device register can answer. E_FAULT: another VCPU changed the
 * guest's tables since; the instruction is executed again. */
static enum err decode(struct vcpu *v, struct fault *f, struct mmio_access *a)
{
	uint32_t insn;
	enum err err = decode_mtinst(f->mtinst, 64, a);

	if (err != E_NOENT)
		return err;
	err = guest_fetch(v, &insn, &f->fetch_cause);
	if (err == OK)
		err = decode_access(insn, 64, a);
	return err;
}

static uint64_t extend(uint64_t value, const struct mmio_access *a)
{
	unsigned unused = 64 - 8 * a->size;

	if (a->sign_extend)
		return (uint64_t)((int64_t)(value << unused) >> unused);
	return value << unused >> unused;
}

/* False when no register of that size is there. */
static bool access(struct vcpu *v, gpa_t at, const struct mmio_access *a, uint64_t *value)
{
	struct vm *vm = v->vm;
	uint64_t plic = at.v - vm->plic_base.v, uart = at.v - vm->uart_base.v;

	if (plic < VPLIC_SIZE && a->size == 4 && IS_ALIGNED(plic, 4)) {
		if (a->write)
			vplic_write(vm->plic, plic, (uint32_t)*value);
		else
			*value = vplic_read(vm->plic, plic);
		return true;
	}
	if (uart < VUART_SIZE && a->size == 1) {
		if (a->write)
			vuart_write(vm->uart, (unsigned)uart, (uint8_t)*value);
		else
			*value = vuart_read(vm->uart, (unsigned)uart);
		return true;
	}
	return false;
}

static bool is_device(const struct vm *vm, gpa_t at)
{
	return at.v - vm->plic_base.v < VPLIC_SIZE || at.v - vm->uart_base.v < VUART_SIZE;
}

static enum err emulate(struct vcpu *v, struct fault *f, bool ghost)
{
	struct mmio_access a;
	enum err err = decode(v, f, &a);

	if (err != OK)
		return err;
	uint64_t value = a.write ? v->x[a.reg] : 0;

	if (!ghost && !access(v, f->gpa, &a, &value))
		return E_NOENT;
	if (!a.write && a.reg)
		v->x[a.reg] = extend(value, &a);
	v->pc += a.insn_len;
	return OK;
}

bool mmio_fault(struct vcpu *v, gpa_t at, bool store)
{
	bool ghost = !is_device(v->vm, at);

	if (ghost && !gstage_is_ghost(v->vm, at))
		return false;
	/* Read all before a guarded fetch may change it. */
	struct fault f = {.gpa = at, .gva = csr_read(CSR_MTVAL), .mtinst = csr_read(CSR_MTINST)};
	enum err err = emulate(v, &f, ghost);

	if (err == E_FAULT && f.fetch_cause < CAUSE_INSN_GUEST_PAGE)
		vcpu_inject(v, CAUSE_INSN_PAGE, v->pc);
	else if (err != OK && err != E_FAULT)
		vcpu_inject(v, store ? CAUSE_STORE_ACCESS : CAUSE_LOAD_ACCESS, f.gva);
	return true;
}
