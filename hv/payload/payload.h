/* SPDX-License-Identifier: MIT */
/* Validates a payload (abi/payload.h) and places its kernel and initrd into a VM's RAM. Portable;
 * the payload is not trusted: any content ends in success or an error. */
#pragma once

#include "abi/payload.h"
#include "core/addr.h"
#include "core/err.h"

/*
 * The checksum of abi/payload.h over `n` bytes (a multiple of 8) as little-endian 64-bit words w:
 *   h = 0xcbf29ce484222325; for each w: h = (h ^ w) * 0x9e3779b97f4a7c15; h ^= h >> 32.
 * It finds damage; it is no defence against an attacker. Each single-word change changes it.
 */
uint64_t payload_checksum(const void *data, size_t n, uint64_t h);
#define PAYLOAD_CHECKSUM_INIT UINT64_C(0xcbf29ce484222325)

/* Root RAM is mapped in 2 MiB leaves: the payload's ram_size is a multiple of this. */
#define PAYLOAD_RAM_ALIGN MIB(2)

/* Room that payload_load keeps for the device tree. */
#define PAYLOAD_FDT_ROOM KIB(128)

/*
 * Checks header, bounds, alignment and checksum of the payload at `p` (8-byte aligned), of which
 * `max` bytes are readable. Errors: E_NOENT no magic; E_FORMAT wrong version or inconsistent
 * header; E_RANGE a part, or the end, lies outside; E_CHECKSUM damaged.
 */
enum err must_check payload_check(const struct dx_payload *p, size_t max);

struct loaded {
	gpa_t entry;      /* where the boot VCPU starts */
	gpa_t kernel_end; /* first byte after the kernel's image in memory (bss included) */
	gpa_t initrd;     /* page aligned; means nothing when initrd_size is 0 */
	uint64_t initrd_size;
	gpa_t fdt;        /* where the device tree goes: page aligned */
	uint64_t fdt_max; /* bytes kept free for it */
};

/*
 * Places kernel, initrd and room for a device tree (128 KiB) of a payload that passed
 * payload_check() into RAM [ram_base, ram_base + ram_size), whose bytes the hypervisor sees at
 * `ram`; the payload lies outside of it. ram_base is 2 MiB aligned, the end of RAM page aligned.
 * The kernel goes to the start (Image: ram_base + text_offset; ELF: lowest segment at ram_base,
 * kept relative; flat: ram_base), the tree to the top, the initrd below it. Bytes not written are
 * left as they are; an ELF's bss is zeroed. Errors: E_FORMAT not a kernel of the
 * stated kind; E_RANGE a segment or the entry lies outside the file, or the kernel outside RAM;
 * E_NOMEM tree and initrd do not fit beside the kernel (or, ELF, too many segments). They come
 * before anything is written.
 */
enum err must_check payload_load(const struct dx_payload *p, gpa_t ram_base, uint64_t ram_size,
	void *ram, struct loaded *out);
