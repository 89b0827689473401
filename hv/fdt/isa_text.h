/* SPDX-License-Identifier: MIT */
/*
 * ISA extensions as the device tree writes them, read and written. In lower case and without
 * versions, as the binding has it. Unknown extensions are ignored.
 * Source of the rules: Linux's Documentation/devicetree/bindings/riscv/extensions.yaml; the RISC-V
 * Unprivileged ISA, chapter "ISA Extension Naming Conventions".
 */
#pragma once

#include "core/err.h"
#include "core/isa.h"

/* Room for every name with its separator or terminator, and for "rv64". */
#define X(id, name, guest) +sizeof(name)
enum { ISA_TEXT_SIZE = 8 ISA_EXTENSIONS(X) };
#undef X

/* The extensions a guest may be told of. */
#define X(id, name, guest) | (uint64_t)(guest) << ISA_##id
static const uint64_t isa_guest_exts = 0 ISA_EXTENSIONS(X);
#undef X

/* "mmu-type" by levels of page tables; NULL below 3. */
#define ISA_MMU_TYPES 6
extern const char *const isa_mmu_types[ISA_MMU_TYPES];

/* "riscv,isa-extensions": NUL-terminated names, `size` bytes in all. */
void isa_parse_list(const char *list, size_t size, struct isa *isa);

/* "riscv,isa" for trees without the two above. Nothing of a hart that is not RV64; 'i' brings Zicsr
 * and Zifencei, which were part of it when this property was defined. */
void isa_parse_string(const char *text, size_t size, struct isa *isa);

/* The same, written, as the list or the string: lengths in bytes with the final NUL. The list is
 * not empty if the set is not. */
size_t isa_write(const struct isa *isa, bool list, char buf[ISA_TEXT_SIZE]);
