/* SPDX-License-Identifier: MIT */
/*
 * The payload: what scripts/mkimage packs behind the hypervisor and the hypervisor loads into the
 * Root VM. One contiguous, page-aligned blob right after the hypervisor's image, itself an ELF
 * segment: this header, then the parts that it names. All little-endian. The packer reads the
 * kernel's format (Image, ELF, flat binary; compressed or not); the hypervisor only copies.
 */
#pragma once

#include <stdint.h>

#define DX_PAYLOAD_MAGIC        UINT64_C(0x4c59415058534f44) /* "DOSXPAYL" in memory order */
#define DX_PAYLOAD_VERSION      2
#define DX_PAYLOAD_MAX_SEGMENTS 16

/* Bytes of the payload. The packer aligns them to pages, for speed. */
struct dx_payload_part {
	uint64_t offset; /* from the header */
	uint64_t size;   /* bytes, without padding */
};

/* A part and where it goes; zeroes follow it there. */
struct dx_payload_segment {
	struct dx_payload_part part;
	uint64_t ram_offset; /* from the kernel's start */
	uint64_t ram_size;   /* >= part.size; all of it ends within kernel_size */
};

struct dx_payload {
	uint64_t magic;
	uint32_t version;
	uint32_t header_size; /* sizeof(struct dx_payload) */
	uint64_t total_size;  /* header, parts and padding; multiple of 4096 */
	uint64_t checksum;    /* payload_checksum() of all that follows this field */
	uint32_t vcpus;       /* VCPUs of the Root VM; 0: one per PCPU */
	uint32_t nsegments;   /* 1 .. DX_PAYLOAD_MAX_SEGMENTS */
	uint64_t ram_size;    /* bytes of Root RAM, multiple of 2 MiB; 0: the default */
	uint64_t kernel_base; /* GPA of the kernel's start, multiple of 2 MiB; 0: the base of RAM */
	uint64_t kernel_size; /* bytes of RAM it takes, with what it clears itself */
	uint64_t entry;       /* where it is entered: offset from its start */
	struct dx_payload_segment segments[DX_PAYLOAD_MAX_SEGMENTS];
	struct dx_payload_part initrd; /* size 0: none */
	char bootargs[1024];           /* NUL-terminated */
};

_Static_assert(sizeof(struct dx_payload_segment) == 32, "ABI");
_Static_assert(sizeof(struct dx_payload) == 1624, "ABI");
