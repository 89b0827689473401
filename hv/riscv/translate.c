/* SPDX-License-Identifier: MIT */
/* See translate.h. Source: Privileged ISA 3.1.6.5 (TVM, TW), 12.2.1 (SFENCE.VMA), 12.1.11 (satp).
 */
#include <string.h>
#include "riscv/translate.h"
#include "mmu/gstage.h"
#include "mmu/shadow.h"
#include "riscv/decode.h"
#include "riscv/guest_csr.h"
#include "riscv/pmp.h"
#include "riscv/time.h"

#define ALL_MEMORY ((UINT64_C(1) << 56) - PAGE_SIZE)

static bool can_be_direct(const struct vm *vm)
{
	return vm->direct && __atomic_load_n(&vm->moved, __ATOMIC_ACQUIRE) == 0;
}

/* Without ASIDs the hart takes what it knows of one address space for another's. */
void translate_obey(struct vcpu *v)
{
	bool has_asids = this_pcpu()->has_asids;
	struct shadow *s = v->shadow;
	uint64_t satp = s->satp & ~(has_asids ? 0 : SATP_ASIDS);

	if (csr_read(satp) != satp) {
		csr_write(satp, satp);
		if (!has_asids)
			s->flush = SHADOW_FLUSH_ALL;
	}
	if (s->flush == SHADOW_FLUSH_ALL)
		sfence_vma("zero, zero");
	else if (s->flush != SHADOW_FLUSH_NONE)
		sfence_vma("%0", "r"(s->flush));
	s->flush = SHADOW_FLUSH_NONE;
}

void translate_load(struct vcpu *v)
{
	struct vm *vm = v->vm;

	v->direct = can_be_direct(vm);
	if (v->direct) {
		pmp_open(&this_pcpu()->pmp, hpa(vm->ram_base.v), vm->ram_size);
		csr_write(satp, v->csr.satp);
	} else {
		pmp_open(&this_pcpu()->pmp, hpa(0), ALL_MEMORY);
		/* Of a direct guest it may be a mode that this hart lacks. */
		if (SATP_MODE(v->csr.satp) &&
			SATP_LEVELS(v->csr.satp) > this_pcpu()->isa.mmu_levels)
			v->csr.satp = 0;
		shadow_switch(v->shadow, v->csr.satp);
		translate_obey(v);
	}
	sfence_vma("zero, zero");
}

void translate_map_changed(struct vcpu *v, hpa_t a, uint64_t size)
{
	__asm__ volatile("fence.i" ::: "memory"); /* as fence_local for other maps */
	if (size != UINT64_MAX && !v->direct) {
		shadow_forget(v->shadow, a, size);
		translate_obey(v);
		return;
	}
	v->csr.satp = vcpu_satp(v);
	shadow_forget_all(v->shadow);
	translate_load(v);
	vcpu_set_traps(v);
}

/* WFI shares its trap with illegal instructions, and so may reading the time. */
void vcpu_set_traps(struct vcpu *v)
{
	bool waits = this_pcpu()->vtw;
	uint64_t delegated = OWN_EXCEPTIONS,
		 traps = (v->direct ? 0 : MSTATUS_TVM) | (waits ? MSTATUS_TW : 0);

	if (has_h) {
		csr_write(hstatus, HSTATUS_VSXL_64 | HSTATUS_SPVP | (waits ? HSTATUS_VTW : 0));
		return;
	}
	v->mstatus = (v->mstatus & ~(MSTATUS_TVM | MSTATUS_TW)) | traps;
	/* A fence may change it on the fast path, which goes on with what is in the CSR. */
	csr_clear(mstatus, MSTATUS_TVM | MSTATUS_TW);
	csr_set(mstatus, traps);
	if (v->direct)
		delegated |= PAGE_FAULTS;
	if (v->direct && !waits && !time_mmio.v)
		delegated |= BIT(CAUSE_ILLEGAL_INSN);
	csr_write(medeleg, delegated);
}

/* A mode that the harts do not have leaves satp as it is. */
void translate_set_satp(struct vcpu *v, uint64_t satp)
{
	unsigned levels = SATP_LEVELS(satp);

	if (v->direct) {
		csr_write(satp, satp);
	} else if (SATP_MODE(satp) == 0 || (levels >= 3 && levels <= this_pcpu()->isa.mmu_levels)) {
		v->csr.satp = satp;
		shadow_switch(v->shadow, satp);
		translate_obey(v);
	}
}

/* An access of the guest's, in the mode that `mstatus` tells. */
static uint64_t how(uint64_t access, uint64_t mstatus)
{
	return access | this_pcpu()->pbmt | (mstatus & (WALK_SUM | WALK_MXR)) |
	       (mstatus & MSTATUS_MPP_S ? 0 : WALK_USER);
}

/* PMP did not let it: an emulated device, or a device that has no entry at this moment. */
static enum err direct_fault(struct vcpu *v, uint64_t *cause, gva_t at, gpa_t *out)
{
	uint64_t access = fault_causes[*cause].access;
	struct gstage_leaf leaf;
	struct walk w;
	enum err err = guest_walk(v->vm, vcpu_satp(v), at, how(access, v->mstatus), &w);

	/* A page fault: another VCPU has changed the tables since. */
	if (err == E_FAULT)
		*cause = fault_causes[*cause].other;
	if (err != OK)
		return err == E_STATE ? OK : E_FAULT;
	*out = w.gpa;
	if (range_within(w.gpa.v, 1, v->vm->ram_base.v, v->vm->ram_size))
		return E_FAULT;
	if (gstage_lookup(v->vm, w.gpa, &leaf) != OK || !(leaf.flags & access))
		return E_NOENT;
	hpa_t base = hpa(ALIGN_DOWN(leaf.hpa.v, leaf.size));

	if (!pmp_add(&this_pcpu()->pmp, base, leaf.size,
		    leaf.flags & GSTAGE_W ? PMP_R | PMP_W : PMP_R))
		return E_FAULT;
	sfence_vma("zero, zero");
	return OK;
}

static inline enum err page_fault(
	struct vcpu *v, uint64_t mstatus, uint64_t *cause, uint64_t at, gpa_t *out)
{
	struct shadow *s = v->shadow;
	enum err err = shadow_fault(
		s, gva(at), how(fault_causes[*cause].access, mstatus), out, &v->refused);

	if (s->flush != SHADOW_FLUSH_NONE)
		translate_obey(v);
	if (err != E_DENIED)
		return err;
	*cause = fault_causes[*cause].other;
	return E_FAULT;
}

bool translate_fast(struct vcpu *v, uint64_t cause)
{
	gpa_t out;
	enum err err = page_fault(v, csr_read(mstatus), &cause, csr_read(mtval), &out);

	if (likely(err == OK)) {
		v->exits[DX_EXIT_MEMORY]++;
		return true;
	}
	if (err != E_FAULT)
		return false;
	v->exits[DX_EXIT_OTHER]++;
	v->pc = csr_read(mepc);
	v->mstatus = csr_read(mstatus);
	vcpu_inject(v, cause, csr_read(mtval));
	csr_write(mepc, v->pc);
	csr_write(mstatus, v->mstatus);
	return true;
}

enum err translate_fault(struct vcpu *v, uint64_t *cause, uint64_t at, gpa_t *out)
{
	if (v->direct && !can_be_direct(v->vm)) {
		translate_map_changed(v, hpa(0), UINT64_MAX);
		return OK;
	}
	if (v->direct)
		return direct_fault(v, cause, gva(at), out);
	/* Shadow tables let it what PMP lets all: a bus error. */
	return is_page_fault(*cause) ? page_fault(v, v->mstatus, cause, at, out) : E_FAULT;
}

#define INSN_CSR_OPCODE 0x73
#define INSN_CSR_SATP   0x180      /* in the place of the CSR's number */
#define INSN_FENCE_MASK 0xfa007fff /* SFENCE.VMA and SINVAL.VMA differ in one bit */
#define INSN_FENCE      0x12000073

/* CSRRW, CSRRS and CSRRC, and the same with an immediate operand (Unprivileged ISA, Zicsr). */
static void access_satp(struct vcpu *v, uint32_t insn)
{
	unsigned how = insn >> 12 & 7, rd = insn_field(insn, 7, 5), rs1 = insn_field(insn, 15, 5);
	uint64_t old = v->csr.satp, operand = how & 4 ? rs1 : v->x[rs1];

	if ((how & 3) == 1)
		translate_set_satp(v, operand);
	else if (rs1)
		translate_set_satp(v, (how & 3) == 2 ? old | operand : old & ~operand);
	if (rd)
		v->x[rd] = old;
}

static void fence_insn(const struct vcpu *v, uint32_t insn)
{
	unsigned rs1 = insn_field(insn, 15, 5), rs2 = insn_field(insn, 20, 5);
	const struct fence f = {.kind = rs2 ? FENCE_VVMA_ASID : FENCE_VVMA,
		.start = v->x[rs1],
		.size = rs1 ? 1 : UINT64_MAX,
		.asid = v->x[rs2]};

	fence_local(&f);
}

bool translate_insn(struct vcpu *v, uint32_t insn)
{
	if (v->direct)
		return false;
	if ((insn & INSN_FENCE_MASK) == INSN_FENCE)
		fence_insn(v, insn);
	else if ((insn & 0x7f) == INSN_CSR_OPCODE && insn >> 20 == INSN_CSR_SATP && insn >> 12 & 3)
		access_satp(v, insn);
	else
		return false;
	return true;
}

/* By the byte: it may lie across pages. */
enum err translate_read(const struct vcpu *v, uint64_t mstatus, uint64_t va, bool exec, void *out,
	size_t n, uint64_t *cause)
{
	unsigned access = exec ? CAUSE_INSN_ACCESS : CAUSE_LOAD_ACCESS;

	for (size_t i = 0; i < n; i++) {
		struct walk w;
		enum err err = guest_walk(v->vm, vcpu_satp(v), gva(va + i),
			how(fault_causes[access].access, mstatus), &w);
		const uint8_t *p = err == OK ? guest_ptr(v->vm, w.gpa, 1, GSTAGE_R) : NULL;

		if (!p) {
			/* The last: another VCPU is just making a page its own. */
			*cause = err == E_FAULT    ? fault_causes[access].other
				 : err == E_DENIED ? access
						   : CAUSE_INSN_GUEST_PAGE;
			return E_FAULT;
		}
		((uint8_t *)out)[i] = *p;
	}
	return OK;
}
