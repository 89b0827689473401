/* SPDX-License-Identifier: MIT */
/*
 * The ISA extensions Diosix tells apart, as bits of one 64-bit set. `struct isa` describes a hart,
 * and a VCPU. Names are those of the device tree binding (riscv/extensions.yaml).
 */
#pragma once

#include "core/compiler.h"

/* X(enumerator suffix, device-tree name, kind): G = a guest may be told of it and use it without
 * the hypervisor's help; C = passed on when the hypervisor has set it up (see riscv/feature.c); H =
 * the hypervisor's own, never listed in a guest's tree. */
#define ISA_EXTENSIONS(X)                                                                          \
	X(I, "i", G)                                                                               \
	X(M, "m", G)                                                                               \
	X(A, "a", G)                                                                               \
	X(F, "f", G)                                                                               \
	X(D, "d", G)                                                                               \
	X(C, "c", G)                                                                               \
	X(V, "v", C)                                                                               \
	X(H, "h", H)                                                                               \
	X(ZICBOM, "zicbom", C)                                                                     \
	X(ZICBOP, "zicbop", G)                                                                     \
	X(ZICBOZ, "zicboz", C)                                                                     \
	X(ZICSR, "zicsr", G)                                                                       \
	X(ZIFENCEI, "zifencei", G)                                                                 \
	X(ZIHINTNTL, "zihintntl", G)                                                               \
	X(ZIHINTPAUSE, "zihintpause", G)                                                           \
	X(ZICOND, "zicond", G)                                                                     \
	X(ZMMUL, "zmmul", G)                                                                       \
	X(ZAAMO, "zaamo", G)                                                                       \
	X(ZALRSC, "zalrsc", G)                                                                     \
	X(ZACAS, "zacas", G)                                                                       \
	X(ZAWRS, "zawrs", G)                                                                       \
	X(ZFA, "zfa", G)                                                                           \
	X(ZFH, "zfh", G)                                                                           \
	X(ZFHMIN, "zfhmin", G)                                                                     \
	X(ZCA, "zca", G)                                                                           \
	X(ZCB, "zcb", G)                                                                           \
	X(ZCD, "zcd", G)                                                                           \
	X(ZBA, "zba", G)                                                                           \
	X(ZBB, "zbb", G)                                                                           \
	X(ZBC, "zbc", G)                                                                           \
	X(ZBS, "zbs", G)                                                                           \
	X(ZKR, "zkr", H)                                                                           \
	X(ZVE32X, "zve32x", C)                                                                     \
	X(ZVE32F, "zve32f", C)                                                                     \
	X(ZVE64X, "zve64x", C)                                                                     \
	X(ZVE64F, "zve64f", C)                                                                     \
	X(ZVE64D, "zve64d", C)                                                                     \
	X(SSAIA, "ssaia", H)                                                                       \
	X(SMSTATEEN, "smstateen", H)                                                               \
	X(SSTC, "sstc", C)                                                                         \
	X(SVADE, "svade", C)                                                                       \
	X(SVADU, "svadu", C)                                                                       \
	X(SVINVAL, "svinval", G)                                                                   \
	X(SVNAPOT, "svnapot", G)                                                                   \
	X(SVPBMT, "svpbmt", C)                                                                     \
	X(SVVPTC, "svvptc", G)

enum isa_ext {
#define X(id, name, kind) ISA_##id,
	ISA_EXTENSIONS(X)
#undef X
		ISA_COUNT
};
static_assert(ISA_COUNT <= 64, "the set is one 64-bit word");

/* What may be said of a guest's hart or found on a host's. */
struct isa {
	uint64_t exts;       /* BIT(ISA_…) for each extension present */
	uint32_t mmu_levels; /* 0 no S-mode translation, 3 Sv39, 4 Sv48, 5 Sv57 */
	uint32_t cbom_block; /* bytes; 0 where the extension is absent */
	uint32_t cboz_block;
	uint32_t cbop_block;
	uint32_t vlenb; /* bytes of one vector register; 0 without V; found by probing, not in the
			   tree */
};

static inline bool isa_has(const struct isa *isa, enum isa_ext ext)
{
	return isa->exts & BIT(ext);
}
