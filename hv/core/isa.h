/* SPDX-License-Identifier: MIT */
/*
 * The ISA extensions Diosix tells apart, as bits of one 64-bit set. `struct isa` describes a hart,
 * and a VCPU. Names are those of the device tree binding (riscv/extensions.yaml).
 */
#pragma once

#include "core/compiler.h"

/* X(enumerator suffix, device-tree name, whether a guest may be told of it). What it may be told of
 * it uses without the hypervisor's help, or the hypervisor has set it up (riscv/feature.c). */
#define ISA_EXTENSIONS(X)                                                                          \
	X(I, "i", true)                                                                            \
	X(M, "m", true)                                                                            \
	X(A, "a", true)                                                                            \
	X(F, "f", true)                                                                            \
	X(D, "d", true)                                                                            \
	X(C, "c", true)                                                                            \
	X(V, "v", true)                                                                            \
	X(H, "h", false)                                                                           \
	X(ZICBOM, "zicbom", true)                                                                  \
	X(ZICBOP, "zicbop", true)                                                                  \
	X(ZICBOZ, "zicboz", true)                                                                  \
	X(ZICSR, "zicsr", true)                                                                    \
	X(ZIFENCEI, "zifencei", true)                                                              \
	X(ZIHINTNTL, "zihintntl", true)                                                            \
	X(ZIHINTPAUSE, "zihintpause", true)                                                        \
	X(ZICOND, "zicond", true)                                                                  \
	X(ZMMUL, "zmmul", true)                                                                    \
	X(ZAAMO, "zaamo", true)                                                                    \
	X(ZALRSC, "zalrsc", true)                                                                  \
	X(ZACAS, "zacas", true)                                                                    \
	X(ZAWRS, "zawrs", true)                                                                    \
	X(ZFA, "zfa", true)                                                                        \
	X(ZFH, "zfh", true)                                                                        \
	X(ZFHMIN, "zfhmin", true)                                                                  \
	X(ZCA, "zca", true)                                                                        \
	X(ZCB, "zcb", true)                                                                        \
	X(ZCD, "zcd", true)                                                                        \
	X(ZBA, "zba", true)                                                                        \
	X(ZBB, "zbb", true)                                                                        \
	X(ZBC, "zbc", true)                                                                        \
	X(ZBS, "zbs", true)                                                                        \
	X(ZKR, "zkr", false)                                                                       \
	X(ZVE32X, "zve32x", true)                                                                  \
	X(ZVE32F, "zve32f", true)                                                                  \
	X(ZVE64X, "zve64x", true)                                                                  \
	X(ZVE64F, "zve64f", true)                                                                  \
	X(ZVE64D, "zve64d", true)                                                                  \
	X(SSAIA, "ssaia", false)                                                                   \
	X(SMSTATEEN, "smstateen", false)                                                           \
	X(SSTC, "sstc", true)                                                                      \
	X(SVADE, "svade", true)                                                                    \
	X(SVADU, "svadu", true)                                                                    \
	X(SVINVAL, "svinval", true)                                                                \
	X(SVNAPOT, "svnapot", true)                                                                \
	X(SVPBMT, "svpbmt", true)                                                                  \
	X(SVVPTC, "svvptc", true)

enum isa_ext {
#define X(id, name, guest) ISA_##id,
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
