/* SPDX-License-Identifier: MIT */
/*
 * Physical memory protection (Privileged ISA 3.7). With H, or where all VMs are in `shadow`, locked
 * entries, which bind M-mode too, protect the hypervisor from itself; translation bounds guests.
 * For `pmp` the entries bound the guest that is loaded: its RAM, and as many of its devices as
 * there are entries for. What no entry matches is denied to it, and open to M-mode.
 */
#pragma once

#include "core/addr.h"
#include "core/err.h"

#define PMP_ENTRIES_MAX 16
#define PMP_ENTRIES_MIN 4 /* to bound guests: guard page, bounds of RAM, a device */

#define PMP_R 0x01
#define PMP_W 0x02
#define PMP_X 0x04

struct pcpu;

/* What the entries of a hart hold. */
struct pmp {
	union {
		uint8_t cfg[PMP_ENTRIES_MAX];
		uint64_t words[PMP_ENTRIES_MAX / 8];
	};
	uint64_t addr[PMP_ENTRIES_MAX];
	unsigned count;
	unsigned next; /* which one the next device gets */
};

/* How many entries this hart has; 0 if they are too coarse for pages. */
unsigned pmp_count(void);

/*
 * On the hart itself, once: no access to the guard page under this hart's stack. With `count` 0:
 * image text RX, constants R, data RW, all else open to lower modes. Otherwise so many entries
 * bound guests. Locked ones stay until reset. E_UNSUPPORTED: the hart has no PMP; translated guests
 * are bounded all the same, only the hypervisor's own mistakes are not caught. E_STATE: the ROM has
 * locked entries, or there are too few.
 */
enum err must_check pmp_protect(struct pcpu *p, unsigned count);

/* The guest that is loaded may use [base, base + size), and nothing else. The caller fences. */
void pmp_open(struct pmp *pmp, hpa_t base, uint64_t size);

/* And [base, base + size) as well, a power of two and aligned to it, with `rights` (PMP_R, PMP_W);
 * what it was given longest ago may be taken away again. False: it had that already. The caller
 * fences. */
bool pmp_add(struct pmp *pmp, hpa_t base, uint64_t size, uint8_t rights);
