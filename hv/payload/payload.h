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
uint64_t payload_checksum(const void *data, size_t n);

/* Root RAM is mapped in 2 MiB leaves: the payload's ram_size is a multiple of this. */
#define PAYLOAD_RAM_ALIGN MIB(2)

/* Room that payload_load keeps for the device tree. */
#define PAYLOAD_FDT_ROOM KIB(128)

/*
 * Checks header, bounds and checksum of the payload at `p` (8-byte aligned), of which `max` bytes
 * are readable. Errors: E_NOENT no magic; E_RANGE its end lies outside; E_CHECKSUM damaged;
 * E_FORMAT another version, or a header that contradicts itself.
 */
enum err must_check payload_check(const struct dx_payload *p, size_t max);

struct loaded {
	gpa_t entry;  /* where the boot VCPU starts */
	gpa_t initrd; /* page aligned; means nothing without one */
	gpa_t fdt;    /* where the device tree goes, PAYLOAD_FDT_ROOM bytes: page aligned */
};

/*
 * Places kernel and initrd of a payload that passed payload_check(), and room for a device tree,
 * into RAM [ram_base, ram_base + ram_size), whose bytes the hypervisor sees at `ram`; the payload
 * lies outside of it. Base and size are page aligned. The kernel goes to the start, the tree to the
 * top, the initrd below it. Bytes that no part is for are left as they are. E_NOMEM: they do not
 * fit; nothing is written then.
 */
enum err must_check payload_load(const struct dx_payload *p, gpa_t ram_base, uint64_t ram_size,
	void *ram, struct loaded *out);
