/* SPDX-License-Identifier: MIT */
/* Moves floating-point and vector registers between a VCPU's structure and the hart. mstatus.FS and .VS must not be off. */
.option arch, +d, +v
.section .text

.macro fp_all name, op
.global \name
\name:
	.irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	\op f\n, 8*\n(a0)
	.endr
	ret
.endm

/* void fp_save(uint64_t f[32]); void fp_load(const uint64_t f[32]); */
	fp_all fp_save, fsd
	fp_all fp_load, fld

/* Whole-register moves need no vtype, only vstart = 0. a1 = vlenb. */
.macro vector_all name, op
.global \name
\name:
	csrw vstart, zero
	slli t0, a1, 3
	.irp n, 0,8,16,24
	\op v\n, (a0)
	add a0, a0, t0
	.endr
.endm

/* void vector_save(void *regs, uint64_t vlenb); */
	vector_all vector_save, vs8r.v
	ret

/* void vector_load(const void *regs, uint64_t vlenb, uint64_t vl, uint64_t vtype): an illegal vtype sets vill again. */
	vector_all vector_load, vl8re8.v
	vsetvl zero, a2, a3
	ret

/* void vector_zero(void); */
.global vector_zero
vector_zero:
	csrw vstart, zero
	vsetvli t0, zero, e8, m8, ta, ma
	.irp n, 0,8,16,24
	vmv.v.i v\n, 0
	.endr
	ret
