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

#define MSTATEEN0_ENVCFG BIT(62) /* senvcfg and henvcfg */
#define MSTATEEN0_SE0    BIT(63) /* sstateen0 and hstateen0 */

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

/* Bits that exist read back as set. 0 where there is no menvcfg; true where there is. */
static bool probe_envcfg(struct isa *isa)
{
	uint64_t all = 0, v;

	for (unsigned i = 0; i < ARRAY_SIZE(envcfg); i++)
		all |= envcfg[i].exists;
	bool found = csr_probe_write(menvcfg, all, &v);

	if (found)
		csr_write(menvcfg, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(envcfg); i++)
		drop_unless(isa, v & envcfg[i].exists, BIT(envcfg[i].ext));
	return found;
}

static void probe_float_vector(struct pcpu *p)
{
	struct isa *isa = &p->isa;
	uint64_t v;

	csr_set(mstatus, MSTATUS_FS | MSTATUS_VS);
	/* Registers are saved as doubles: F without D is not offered. */
	bool has_f = csr_read(mstatus) & MSTATUS_FS;

	if (has_f && !isa_has(isa, ISA_D) && !isa_has(isa, ISA_H))
		halt("hart %lu has F without D, which guests would share", p->hartid);
	drop_unless(isa, has_f, FLOAT_EXTS);
	drop_unless(isa, isa_has(isa, ISA_D), FLOAT_EXTS);
	p->has_v = (csr_read(mstatus) & MSTATUS_VS) && csr_probe_read(vlenb, &v);
	drop_unless(isa, p->has_v, VECTOR_EXTS);
	isa->vlenb = isa->exts & VECTOR_EXTS ? (uint32_t)v : 0;
}

/* Sv39x4 is there when hgatp keeps its mode; the VMID bits that stick are the ones implemented. */
static bool probe_hgatp(struct pcpu *p)
{
	uint64_t v;

	if (!csr_probe_write(hgatp, HGATP_SV39X4 | HGATP_VMID_MASK << HGATP_VMID_SHIFT, &v))
		return false;
	csr_write(hgatp, 0);
	p->vmid_mask = v >> HGATP_VMID_SHIFT & HGATP_VMID_MASK;
	p->vmid = p->vmid_mask + 1; /* no VCPU begins with these upper bits */
	return v >> 60 == HGATP_SV39X4 >> 60;
}

/* The levels of the largest mode that satp keeps, of those that the tree claims; 0 for none. A mode
 * that it does not keep would leave a guest without translation. */
static uint32_t probe_satp(struct pcpu *p)
{
	uint32_t levels = p->isa.mmu_levels;
	uint64_t v = 0;

	for (; levels >= 3; levels--) {
		csr_write(satp, (levels + SATP_SV39 - 3ull) << SATP_MODE_SHIFT | SATP_ASIDS);
		v = csr_read(satp);
		csr_write(satp, 0);
		if (v >> SATP_MODE_SHIFT == levels + SATP_SV39 - 3)
			break;
	}
	if (levels < 3)
		halt("hart %lu does not translate as its tree says", p->hartid);
	p->has_asids = (v & SATP_ASIDS) >= SATP_ASIDS_MIN;
	return levels;
}

void features_probe(struct pcpu *p)
{
	uint64_t v;

	p->isa = p->hart->isa;
	/* misa may be zero, which says nothing. */
	v = csr_read(misa);
	drop_unless(&p->isa, (!v || v & BIT('H' - 'A')) && probe_hgatp(p), BIT(ISA_H));
	/* Its guests would have what hstatus and hlv do. */
	if (!isa_has(&p->isa, ISA_H) && csr_probe_read(hstatus, &v)) {
		csr_clear(misa, BIT('H' - 'A'));
		if (csr_probe_read(hstatus, &v))
			halt("hart %lu has the H extension, but not as it is needed: its tree does "
			     "not say so, or it is without Sv39x4",
				p->hartid);
	}
	drop_unless(&p->isa, csr_probe_read(mstateen0, &v), BIT(ISA_SMSTATEEN));
	p->has_envcfg = probe_envcfg(&p->isa);
	probe_float_vector(p);
	p->isa.mmu_levels = probe_satp(p);
	if (!csr_probe_read(time, &v))
		time_mmio = machine.mtime;
}

/* Exceptions that a guest handles itself, all the way down to VS-mode. Not delegated: ecalls of the
 * guest's kernel, guest-page faults and virtual instructions, which are the hypervisor's business.
 * Bits that do not exist stay 0. */
#define DELEGATED (OWN_EXCEPTIONS | ACCESS_FAULTS | PAGE_FAULTS | BIT(CAUSE_ILLEGAL_INSN))

void features_apply(struct pcpu *p)
{
	uint64_t menvcfg = 0, delegated = DELEGATED, v;

	for (unsigned i = 0; i < ARRAY_SIZE(envcfg); i++)
		menvcfg |= isa_has(&p->isa, envcfg[i].ext) ? envcfg[i].set : 0;
	(void)csr_probe_write(menvcfg, menvcfg, &v);
	if (isa_has(&p->isa, ISA_SMSTATEEN))
		csr_write(mstateen0, MSTATEEN0_ENVCFG | MSTATEEN0_SE0);
	/* Where a hart has no time CSR, a guest's reading of it is an illegal instruction that is
	 * ours to carry out. */
	if (time_mmio.v)
		delegated &= ~BIT(CAUSE_ILLEGAL_INSN);
	p->pbmt = isa_has(&p->isa, ISA_SVPBMT) ? WALK_PBMT : 0;
	csr_write(medeleg, delegated);
	/* SGEIP goes to HS-mode, where nobody lives: hie stays 0. With H the S-mode bits are never
	 * pending and enabled; QEMU (10.0) shows a guest only those bits of its sie and sip that
	 * are set in mideleg, at their S-mode places. */
	csr_write(mideleg, VS_INTERRUPTS | VS_INTERRUPTS >> 1 | BIT(IRQ_SGEI));
	csr_write(mcounteren, COUNTEREN_TM);
	csr_write(mie, BIT(IRQ_MSI) | BIT(IRQ_MTI) | BIT(IRQ_MEI));
	if (!has_h)
		return;
	if (isa_has(&p->isa, ISA_SMSTATEEN))
		csr_write(hstateen0, MSTATEEN0_ENVCFG | MSTATEEN0_SE0);
	csr_write(henvcfg, menvcfg);
	csr_write(hedeleg, delegated);
	csr_write(hideleg, VS_INTERRUPTS);
	csr_write(hie, 0);
	csr_write(hgeie, 0);
	csr_write(htimedelta, 0);
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
	/* Hardware that sets A and D must not do so in a page that is shared until the first write.
	 * QEMU 10 writes them through read-only G-stage leaves: no VCPU gets Svadu. */
	if (!has_h)
		all.exts &= ~BIT(ISA_SVNAPOT); /* mmu/walk.c does not know it */
	if (isa_has(&all, ISA_SVADU))
		all.exts = (all.exts & ~BIT(ISA_SVADU)) | BIT(ISA_SVADE);
	return all;
}
