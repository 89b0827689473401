/* SPDX-License-Identifier: MIT */
/* PMP set-up with H; see pmp.h. Entry 0 wins over later ones, so the guard page comes first. */
#include "riscv/pmp.h"
#include "riscv/guard.h"

#define PMP_R     0x01
#define PMP_W     0x02
#define PMP_X     0x04
#define PMP_TOR   0x08
#define PMP_NAPOT 0x18
#define PMP_L     0x80

extern char text_start[], text_end[], rodata_end[], image_end[];

static uint64_t napot(uint64_t base, uint64_t size)
{
	return (base >> 2) | ((size >> 3) - 1);
}

static uint64_t tor(const char *p)
{
	return (uint64_t)(uintptr_t)p >> 2;
}

enum err pmp_protect(const struct pcpu *p)
{
	const uint64_t cfg = (uint64_t)(PMP_L | PMP_NAPOT) << 0 |
			     (uint64_t)(PMP_L | PMP_TOR | PMP_R | PMP_X) << 16 |
			     (uint64_t)(PMP_L | PMP_TOR | PMP_R) << 24 |
			     (uint64_t)(PMP_L | PMP_TOR | PMP_R | PMP_W) << 32 |
			     (uint64_t)(PMP_NAPOT | PMP_R | PMP_W | PMP_X) << 40;
	uint64_t v;

	if (!csr_probe_read(CSR_PMPCFG0, &v))
		return E_UNSUPPORTED;
	csr_write(CSR_PMPADDR0 + 0, napot(p->guard_page, PAGE_SIZE));
	csr_write(CSR_PMPADDR0 + 1, tor(text_start));
	csr_write(CSR_PMPADDR0 + 2, tor(text_end));
	csr_write(CSR_PMPADDR0 + 3, tor(rodata_end));
	csr_write(CSR_PMPADDR0 + 4, tor(image_end));
	csr_write(CSR_PMPADDR0 + 5, ~UINT64_C(0) >> 10);
	csr_write(CSR_PMPCFG0, cfg);
	if (csr_read(CSR_PMPCFG0) != cfg)
		return E_STATE;
	__asm__ volatile("sfence.vma" ::: "memory");
	return OK;
}
