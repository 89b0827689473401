/* SPDX-License-Identifier: MIT */
/* See pmp.h. Entry 0 wins over later ones, so the guard page comes first. */
#include <string.h>
#include "riscv/pmp.h"
#include "riscv/guard.h"

#define PMP_TOR   0x08
#define PMP_NAPOT 0x18
#define PMP_L     0x80
#define PMP_RWX   (PMP_R | PMP_W | PMP_X)

/* Of entries that bound guests: 1 and 2 are the bounds of its RAM. */
#define FIRST_DEVICE 3

/* Of an address as an entry holds it, bits that must be there for pages not to be too coarse. */
#define PAGE_BITS 0x7ff

extern char text_start[], text_end[], rodata_end[], image_end[];

/* The number of a CSR is a part of the instruction: one of 16 is jumped to. */
static void write_addr(unsigned i, uint64_t v)
{
	__asm__ volatile(".option push\n.option norvc\n"
			 "la t0, 1f\nslli t1, %0, 3\nadd t0, t0, t1\njr t0\n"
			 "1:\n.irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
			 "csrw 0x3b0+\\n, %1\nj 2f\n.endr\n2:\n.option pop" ::"r"((uint64_t)i),
			 "r"(v)
			 : "t0", "t1", "memory");
}

static void set(struct pmp *pmp, unsigned i, uint64_t addr, uint8_t cfg)
{
	pmp->addr[i] = addr;
	pmp->cfg[i] = cfg;
	write_addr(i, addr);
}

static uint64_t napot(uint64_t base, uint64_t size)
{
	return (base >> 2) | ((size >> 3) - 1);
}

static void write_cfg(const struct pmp *pmp)
{
	csr_write(pmpcfg0, pmp->words[0]);
	if (pmp->count > 8)
		csr_write(pmpcfg2, pmp->words[1]);
}

unsigned pmp_count(void)
{
	if (csr_probe_write(pmpaddr15, ~UINT64_C(0)) & PAGE_BITS)
		return 16;
	return csr_probe_write(pmpaddr7, ~UINT64_C(0)) & PAGE_BITS ? 8 : 0;
}

static void protect_image(struct pmp *pmp)
{
	set(pmp, 1, (uintptr_t)text_start >> 2, 0);
	set(pmp, 2, (uintptr_t)text_end >> 2, PMP_L | PMP_TOR | PMP_R | PMP_X);
	set(pmp, 3, (uintptr_t)rodata_end >> 2, PMP_L | PMP_TOR | PMP_R);
	set(pmp, 4, (uintptr_t)image_end >> 2, PMP_L | PMP_TOR | PMP_R | PMP_W);
	set(pmp, 5, ~UINT64_C(0) >> 10, PMP_NAPOT | PMP_RWX);
}

/* What an earlier stage of the boot gave to lower modes and cannot be taken away, beyond pmpcfg0.
 */
static bool keeps_entries(void)
{
	return csr_probe_write(pmpcfg2, 0) || csr_probe_write(pmpcfg4, 0) ||
	       csr_probe_write(pmpcfg6, 0) || csr_probe_write(pmpcfg8, 0) ||
	       csr_probe_write(pmpcfg10, 0) || csr_probe_write(pmpcfg12, 0) ||
	       csr_probe_write(pmpcfg14, 0);
}

enum err pmp_protect(struct pcpu *p, unsigned count)
{
	struct pmp *pmp = &p->pmp;

	if (!csr_exists(pmpcfg0))
		return E_UNSUPPORTED;
	if (count && keeps_entries())
		return E_STATE;
	pmp->count = count;
	set(pmp, 0, napot(p->stack_top - STACK_SIZE - PAGE_SIZE, PAGE_SIZE), PMP_L | PMP_NAPOT);
	if (count)
		pmp_open(pmp, hpa(0), 0);
	else
		protect_image(pmp);
	write_cfg(pmp);
	if (csr_read(pmpcfg0) != pmp->words[0])
		return E_STATE;
	sfence_vma("zero, zero");
	return OK;
}

void pmp_open(struct pmp *pmp, hpa_t base, uint64_t size)
{
	if (!pmp->count)
		return;
	set(pmp, 1, base.v >> 2, 0);
	set(pmp, 2, (base.v + size) >> 2, PMP_TOR | PMP_RWX);
	memset(&pmp->cfg[FIRST_DEVICE], 0, PMP_ENTRIES_MAX - FIRST_DEVICE);
	pmp->next = FIRST_DEVICE;
	write_cfg(pmp);
}

bool pmp_add(struct pmp *pmp, hpa_t base, uint64_t size, uint8_t rights)
{
	uint64_t addr = napot(base.v, size);
	uint8_t cfg = PMP_NAPOT | rights;

	for (unsigned i = FIRST_DEVICE; i < pmp->count; i++)
		if (pmp->addr[i] == addr && pmp->cfg[i] == cfg)
			return false;
	set(pmp, pmp->next, addr, cfg);
	if (++pmp->next == pmp->count)
		pmp->next = FIRST_DEVICE;
	write_cfg(pmp);
	return true;
}
