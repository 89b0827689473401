/* SPDX-License-Identifier: MIT */
/*
 * The payload: what scripts/mkimage packs behind the hypervisor and the hypervisor loads into the
 * Root VM. One contiguous, page-aligned blob right after the hypervisor's image, itself an ELF
 * segment: this header, then the parts, each at a page-aligned offset from the header. All
 * little-endian.
 */
#pragma once

#include <stdint.h>

#define DX_PAYLOAD_MAGIC   UINT64_C(0x4c59415058534f44) /* "DOSXPAYL" in memory order */
#define DX_PAYLOAD_VERSION 1

/* What `kernel` is. The packer decompresses; the hypervisor holds no decoder. */
#define DX_KERNEL_IMAGE                                                                            \
	1 /* a RISC-V Linux boot image (Documentation/arch/riscv/boot-image-header.rst) */
#define DX_KERNEL_ELF                                                                              \
	2 /* an ELF executable; its segments' physical addresses are offsets from the lowest one   \
	   */
#define DX_KERNEL_FLAT                                                                             \
	3 /* a flat binary entered at its first byte at the base of RAM (U-Boot's u-boot.bin) */

struct dx_payload_part {
	uint64_t offset; /* from the header, multiple of 4096; 0 when size is 0 */
	uint64_t size;   /* bytes, without padding */
};

struct dx_payload {
	uint64_t magic;
	uint32_t version;
	uint32_t header_size; /* sizeof(struct dx_payload) */
	uint64_t total_size;  /* header, parts and padding; multiple of 4096 */
	uint64_t checksum;    /* dx_checksum of all total_size bytes with this field taken as 0 */
	uint32_t kernel_kind;
	uint32_t vcpus;       /* VCPUs of the Root VM; 0: one per PCPU */
	uint64_t ram_size;    /* bytes of Root RAM; 0: the default */
	uint64_t kernel_base; /* GPA the kernel must be placed at; 0: any, at the base of RAM */
	struct dx_payload_part kernel, initrd;
	char bootargs[1024]; /* NUL-terminated */
};

_Static_assert(sizeof(struct dx_payload_part) == 16, "ABI");
_Static_assert(sizeof(struct dx_payload) == 1112, "ABI");
