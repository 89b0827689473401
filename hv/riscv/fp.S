/* SPDX-License-Identifier: MIT */
/* Moves floating-point and vector registers between a VCPU's structure and the hart. mstatus.FS and .VS must not be off. */
.option arch, +d
.section .text

/* void fp_save(uint64_t f[32]); void fp_load(const uint64_t f[32]); */
.macro fp_all op
	\op f0, 0(a0)
	\op f1, 8(a0)
	\op f2, 16(a0)
	\op f3, 24(a0)
	\op f4, 32(a0)
	\op f5, 40(a0)
	\op f6, 48(a0)
	\op f7, 56(a0)
	\op f8, 64(a0)
	\op f9, 72(a0)
	\op f10, 80(a0)
	\op f11, 88(a0)
	\op f12, 96(a0)
	\op f13, 104(a0)
	\op f14, 112(a0)
	\op f15, 120(a0)
	\op f16, 128(a0)
	\op f17, 136(a0)
	\op f18, 144(a0)
	\op f19, 152(a0)
	\op f20, 160(a0)
	\op f21, 168(a0)
	\op f22, 176(a0)
	\op f23, 184(a0)
	\op f24, 192(a0)
	\op f25, 200(a0)
	\op f26, 208(a0)
	\op f27, 216(a0)
	\op f28, 224(a0)
	\op f29, 232(a0)
	\op f30, 240(a0)
	\op f31, 248(a0)
	ret
.endm

.global fp_save
fp_save:
	fp_all fsd

.global fp_load
fp_load:
	fp_all fld

.option arch, +v
/* void vector_save(void *regs, uint64_t vlenb): whole-register moves need no vtype, only vstart = 0. */
.global vector_save
vector_save:
	csrw vstart, zero
	slli t0, a1, 3
	vs8r.v v0, (a0)
	add a0, a0, t0
	vs8r.v v8, (a0)
	add a0, a0, t0
	vs8r.v v16, (a0)
	add a0, a0, t0
	vs8r.v v24, (a0)
	ret

/* void vector_load(const void *regs, uint64_t vlenb, uint64_t vl, uint64_t vtype): an illegal vtype sets vill again. */
.global vector_load
vector_load:
	csrw vstart, zero
	slli t0, a1, 3
	vl8re8.v v0, (a0)
	add a0, a0, t0
	vl8re8.v v8, (a0)
	add a0, a0, t0
	vl8re8.v v16, (a0)
	add a0, a0, t0
	vl8re8.v v24, (a0)
	vsetvl zero, a2, a3
	ret
