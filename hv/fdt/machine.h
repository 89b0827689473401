/* SPDX-License-Identifier: MIT */
/*
 * What the host device tree tells of the machine: filled once by fdt_read_machine() at boot,
 * read-only after. Sizes are named limits; a tree that exceeds one is read up to it and says so
 * (`truncated`).
 */
#pragma once

#include "core/addr.h"
#include "core/err.h"
#include "core/isa.h"

#define MACHINE_MAX_HARTS    64
#define MACHINE_MAX_RAM      8
#define MACHINE_MAX_RESERVED 32
#define MACHINE_MAX_DEVICES  64
#define MACHINE_MAX_OWN      32
#define DEVICE_MAX_REGIONS   6
#define DEVICE_MAX_IRQS      8

struct machine_range {
	hpa_t base;
	uint64_t size; /* bytes */
};

static inline uint64_t range_end(const struct machine_range *r)
{
	return r->base.v + r->size;
}

struct machine_hart {
	uint64_t hartid;
	bool usable;           /* status okay, has S-mode (mmu-type present) and is RV64 */
	uint32_t intc_phandle; /* of its own interrupt controller; 0 when none */
	struct isa isa;        /* as the tree claims; riscv/feature.c confirms it by probing */
	hpa_t msip;     /* ACLINT MSWI register of this hart (32 bit); 0 when there is none */
	hpa_t mtimecmp; /* ACLINT MTIMER compare register of this hart (64 bit); 0 when there is
			   none */
	int32_t plic_m_context; /* PLIC context number of this hart's M-mode external interrupt; -1
				   when none */
	int32_t plic_s_context; /* the same for S-mode; a guest's PLIC mimics this layout */
};

struct machine_uart {
	int node;           /* what stdout-path names; negative: nothing, and the first is taken */
	hpa_t base;         /* 0 when there is no console UART we can drive */
	uint32_t reg_shift; /* register n lies at base + (n << reg_shift) */
	uint32_t io_width;  /* bytes of one register access: 1 or 4 */
	uint32_t irq;       /* PLIC source; 0 when none */
	bool sifive;        /* SiFive UART instead of an ns16550a */
};

struct machine_plic {
	hpa_t base;    /* 0 when there is no PLIC */
	uint32_t ndev; /* sources 1..ndev exist */
	uint32_t phandle;
};

/* A device of the host that a trusted VM may be given. Kept in the order of the tree. */
struct machine_device {
	int node; /* offset of its node in the host tree */
	unsigned nregions, nirqs, nregs;
	struct machine_range regions[DEVICE_MAX_REGIONS]; /* as pages: base rounded down, end up */
	struct machine_range reg[DEVICE_MAX_REGIONS];     /* the node's `reg`, to the byte */
	uint32_t irqs[DEVICE_MAX_IRQS];                   /* PLIC sources */
};

struct machine {
	char model[64];
	unsigned nharts, nram, nreserved, ndevices;
	struct machine_hart harts[MACHINE_MAX_HARTS];
	/* Sorted, merged, in pages; one more than is kept, to insert. RAM is aligned inwards, what
	 * is reserved (/memreserve/, /reserved-memory) outwards. */
	struct machine_range ram[MACHINE_MAX_RAM + 1], reserved[MACHINE_MAX_RESERVED + 1];
	uint64_t ram_size; /* bytes in all */
	struct machine_device devices[MACHINE_MAX_DEVICES];
	unsigned nown;
	struct machine_range own[MACHINE_MAX_OWN]; /* MMIO no VM may have: UART, ACLINT, PLIC, AIA,
						      finisher; in pages */
	uint64_t timebase_hz;
	hpa_t mtime; /* ACLINT MTIMER time register (64 bit); 0 when there is none */
	struct machine_uart uart;
	struct machine_plic plic;
	hpa_t finisher; /* SiFive test finisher's register; 0 when there is none */
	hpa_t gpio; /* SiFive GPIO with a pin that restarts the machine when driven low; 0: none */
	uint32_t restart_pin; /* as a bit */
	uint8_t rng_seed[64];
	uint32_t rng_seed_len; /* bytes */
	char bootargs[512];    /* /chosen bootargs: the hypervisor's own command line */
	bool truncated;        /* the tree held more of something than the limits above */
};

/*
 * Reads the flattened tree at `fdt` (version 17, 8-byte aligned; at most `max` bytes are looked at)
 * into `*m`, which is zeroed first. The tree is not trusted: any content ends in success or an
 * error, never a bad access.
 *
 * Devices are the children of /, /soc and other simple-bus nodes whose compatible is one of those a
 * trusted VM can use with plain MMIO and PLIC interrupts: virtio,mmio; google,goldfish-rtc;
 * pci-host-ecam-generic (its ECAM and the windows of its `ranges`, I/O included, its
 * interrupt-map's sources). A device is listed only with all its ranges and interrupts, at least
 * one of each: never one that touches `own` or RAM, whose interrupts go elsewhere than to the PLIC,
 * whose bus is not coherent or has DMA addresses of its own. What lies on a bus that translates
 * addresses (its `ranges` is not empty) is not seen.
 *
 * `own` lists every enabled PLIC, CLINT, ACLINT, APLIC, IMSIC and IOMMU, the UART and the finisher.
 * A stdout-path that names a UART we cannot drive leaves uart.base 0. Of several PLICs the first is
 * used. Of too many reservations the last grows over the gaps, so that nothing reserved is ever
 * lost.
 *
 * Errors: E_FORMAT not a valid tree, or one without memory, CPUs or timebase; E_RANGE a range of
 * RAM or of reserved memory ends above the 56 bits of a physical address.
 */
enum err must_check fdt_read_machine(const void *fdt, size_t max, struct machine *m);

/* Overwrites /chosen's rng-seed with zeros, in a tree that fdt_read_machine() has accepted. */
void fdt_wipe_seed(void *fdt);
