/* SPDX-License-Identifier: MIT */
/* The RISC-V Linux boot image header and ELF executables: checked parsing, no side effects. */
#pragma once

#include "core/addr.h"
#include "core/err.h"

#define KERNEL_MAX_SEGMENTS 16

/* One run of bytes to place: file bytes, then zeroes up to mem_size. */
struct kernel_segment {
	uint64_t ram_offset; /* from the base of RAM */
	uint64_t file_offset, file_size;
	uint64_t mem_size; /* >= file_size */
};

struct kernel_layout {
	uint64_t entry; /* offset from the base of RAM */
	uint64_t end;   /* offset of the first byte after everything placed */
	unsigned nsegments;
	struct kernel_segment segments[KERNEL_MAX_SEGMENTS];
};

/* `file` may have any alignment. Each segment of a result lies within the file and below `end`,
 * none overlap, and the entry lies in file bytes of one. Errors of both: E_FORMAT not of this kind
 * or inconsistent (an Image shorter in memory than in the file, overlapping ELF segments), E_RANGE
 * an offset or size wraps or lies outside the file or the entry outside what is loaded, E_NOMEM
 * (ELF) more loadable segments than KERNEL_MAX_SEGMENTS or a table too long. */
enum err must_check image_parse(const void *file, uint64_t size, struct kernel_layout *out);
enum err must_check elf_parse(const void *file, uint64_t size, struct kernel_layout *out);
