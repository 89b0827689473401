/* SPDX-License-Identifier: MIT */
/* Feature detection and the per-hart set-up that follows from it; see feature.h. */
#include "riscv/feature.h"
#include "boot/boot.h"
#include "fdt/isa_text.h"
#include "mmu/walk.h"
#include "riscv/guard.h"
#include "riscv/guest_csr.h"
#include "riscv/panic.h"
#include "riscv/time.h"

#define FLOAT_EXTS                                                                                 \
	(BIT(ISA_F) | BIT(ISA_D) | BIT(ISA_ZFA) | BIT(ISA_ZFH) | BIT(ISA_ZFHMIN) | BIT(ISA_ZCD))
#define VECTOR_EXTS                                                                                \
	(BIT(ISA_V) | BIT(ISA_ZVE32X) | BIT(ISA_ZVE32F) | BIT(ISA_ZVE64X) | BIT(ISA_ZVE64F) |      \
		BIT(ISA_ZVE64D))

#define STATEEN0 (BIT(62) | BIT(63)) /* senvcfg, henvcfg; sstateen0, hstateen0 */

/* The bits of menvcfg that exist where the extension does, and make it usable. ADUE stays off: see
 * features_for_guests. */
static const struct {
	enum isa_ext ext;
	uint64_t exists, set;
} envcfg[] = {
	{ISA_ZICBOM, ENVCFG_CBCFE, ENVCFG_CBIE_FLUSH | ENVCFG_CBCFE},
	{ISA_ZICBOZ, ENVCFG_CBZE, ENVCFG_CBZE},
	{ISA_SSTC, ENVCFG_STCE, ENVCFG_STCE},
	{ISA_SVPBMT, ENVCFG_PBMTE, ENVCFG_PBMTE},
	{ISA_SVADU, ENVCFG_ADUE, 0},
};

static void drop_unless(struct isa *isa, bool present, uint64_t exts)
{
	if (!present)
		isa->exts &= ~exts;
}

static void probe_float_vector(struct pcpu *p)
{
	struct isa *isa = &p->isa;

	csr_set(mstatus, MSTATUS_FS | MSTATUS_VS);
	bool has_f = csr_read(mstatus) & MSTATUS_FS;

	/* Registers are saved as doubles: F without D is not offered. */
	if (has_f && !isa_has(isa, ISA_D) && !isa_has(isa, ISA_H))
		halt("hart %lu has F without D, which guests would share", p->hartid);
	drop_unless(isa, has_f && isa_has(isa, ISA_D), FLOAT_EXTS);
	isa->vlenb = (uint32_t)csr_probe(vlenb);
	p->has_v = isa->vlenb;
	drop_unless(isa, p->has_v, VECTOR_EXTS);
}

/* Sv39x4 is there when hgatp keeps its mode; the VMID bits that stick are the ones implemented. */
static bool probe_hgatp(struct pcpu *p)
{
	uint64_t v = csr_probe_write(hgatp, HGATP_SV39X4 | HGATP_VMID_MASK << HGATP_VMID_SHIFT);

	(void)csr_probe_write(hgatp, 0);
	p->vmid_mask = v >> HGATP_VMID_SHIFT & HGATP_VMID_MASK;
	p->vmid = p->vmid_mask + 1; /* no VCPU begins with these upper bits */
	return v >> 60 == HGATP_SV39X4 >> 60;
}

/* The levels of the largest mode that satp keeps, of those that the tree claims. A mode that it
 * does not keep would leave a guest without translation. */
static uint32_t probe_satp(struct pcpu *p)
{
	for (uint32_t levels = p->isa.mmu_levels; levels >= 3; levels--) {
		uint64_t v = csr_probe_write(satp, SATP_OF(levels) | SATP_ASIDS);

		csr_write(satp, 0);
		p->has_asids = (v & SATP_ASIDS) >= SATP_ASIDS_MIN;
		if (SATP_LEVELS(v) == levels)
			return levels;
	}
	halt("hart %lu does not translate as its tree says", p->hartid);
}

void features_probe(struct pcpu *p)
{
	p->isa = p->hart->isa;
	drop_unless(&p->isa, probe_hgatp(p), BIT(ISA_H));
	/* Its guests would have what hstatus and hlv do. */
	if (!isa_has(&p->isa, ISA_H) && csr_exists(hstatus)) {
		csr_clear(misa, BIT('H' - 'A'));
		if (csr_exists(hstatus))
			halt("hart %lu has the H extension, but not as it is needed: its tree does "
			     "not say so, or it is without Sv39x4",
				p->hartid);
	}
	drop_unless(&p->isa, csr_exists(mstateen0), BIT(ISA_SMSTATEEN));
	p->has_envcfg = csr_exists(menvcfg);
	for (unsigned i = 0; i < ARRAY_SIZE(envcfg); i++)
		drop_unless(&p->isa, csr_probe_write(menvcfg, envcfg[i].exists) & envcfg[i].exists,
			BIT(envcfg[i].ext));
	/* QEMU 10 has STCE, and not the register, on machines without a time CSR. */
	drop_unless(&p->isa, csr_exists(stimecmp), BIT(ISA_SSTC));
	probe_float_vector(p);
	p->isa.mmu_levels = probe_satp(p);
	if (!csr_exists(time))
		time_mmio = machine.mtime;
}

void features_apply(struct pcpu *p)
{
	uint64_t menvcfg = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(envcfg); i++)
		menvcfg |= isa_has(&p->isa, envcfg[i].ext) ? envcfg[i].set : 0;
	if (p->has_envcfg)
		csr_write(menvcfg, menvcfg);
	if (isa_has(&p->isa, ISA_SMSTATEEN))
		csr_write(mstateen0, STATEEN0);
	p->pbmt = isa_has(&p->isa, ISA_SVPBMT) ? WALK_PBMT : 0;
	/* SGEIP goes to HS-mode, where nobody lives: hie stays 0. With H the S-mode bits are never
	 * pending and enabled; QEMU (10.0) shows a guest only those bits of its sie and sip that
	 * are set in mideleg, at their S-mode places. */
	csr_write(mideleg, VS_INTERRUPTS | VS_INTERRUPTS >> 1 | BIT(IRQ_SGEI));
	csr_write(mcounteren, COUNTEREN_TM);
	csr_write(mie, BIT(IRQ_MSI) | BIT(IRQ_MTI) | BIT(IRQ_MEI));
	if (!has_h)
		return; /* and vcpu_set_traps delegates exceptions */
	if (isa_has(&p->isa, ISA_SMSTATEEN))
		csr_write(hstateen0, STATEEN0);
	csr_write(henvcfg, menvcfg);
	/* Exceptions that a guest handles itself, all the way down to VS-mode. Not delegated:
	 * ecalls of its kernel, guest-page faults and virtual instructions, which are the
	 * hypervisor's business; and where a hart has no time CSR, illegal instructions, of which
	 * reading it is one that is ours to carry out. Bits that do not exist stay 0. */
	uint64_t delegated = OWN_EXCEPTIONS | ACCESS_FAULTS | PAGE_FAULTS |
			     (time_mmio.v ? 0 : BIT(CAUSE_ILLEGAL_INSN));

	csr_write(medeleg, delegated);
	csr_write(hedeleg, delegated);
	csr_write(hideleg, VS_INTERRUPTS);
	csr_write(hie, 0);
	csr_write(hgeie, 0);
	(void)csr_probe_write(htimedelta, 0); /* there is none without a time CSR */
	csr_write(hcounteren, COUNTEREN_TM);
}

static void intersect(struct isa *all, const struct isa *one)
{
	all->exts &= one->exts;
	all->mmu_levels = MIN(all->mmu_levels, one->mmu_levels);
	drop_unless(all, all->vlenb == one->vlenb, VECTOR_EXTS);
	drop_unless(all, all->cbom_block == one->cbom_block, BIT(ISA_ZICBOM));
	drop_unless(all, all->cboz_block == one->cboz_block, BIT(ISA_ZICBOZ));
	all->vlenb = all->exts & VECTOR_EXTS ? all->vlenb : 0;
	all->cboz_block = isa_has(all, ISA_ZICBOZ) ? all->cboz_block : 0;
}

void features_unify(void)
{
	struct isa all = pcpus[0]->isa;

	for (uint32_t i = 0; i < npcpus; i++) {
		if (isa_has(&pcpus[i]->isa, ISA_H) != isa_has(&all, ISA_H))
			halt("some harts have the H extension with Sv39x4, and some do not");
		intersect(&all, &pcpus[i]->isa);
	}
	has_h = isa_has(&all, ISA_H);
	for (uint32_t i = 0; i < npcpus; i++)
		pcpus[i]->isa = all;
}

struct isa features_for_guests(void)
{
	struct isa all = pcpus[0]->isa;

	all.exts &= isa_guest_exts;
	if (!has_h)
		all.exts &= ~BIT(ISA_SVNAPOT); /* mmu/walk.c does not know it */
	/* Hardware that sets A and D must not do so in a page that is shared until the first write.
	 * QEMU 10 writes them through read-only G-stage leaves: no VCPU gets Svadu. */
	if (isa_has(&all, ISA_SVADU))
		all.exts = (all.exts & ~BIT(ISA_SVADU)) | BIT(ISA_SVADE);
	return all;
}
