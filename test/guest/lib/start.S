/* SPDX-License-Identifier: MIT */
/* Start-up, trap entry and run_code. The guest is linked at 0 and runs wherever the Root VM's RAM is. */
#define H_PC	     0
#define H_X(n)	     (8 * (n))
#define H_TRAP_STACK 256
#define H_STACK	     264
#define H_RESUME(n)  (272 + 8 * (n))

#define R_RISCV_RELATIVE 3

.section .text.start, "ax"
.global _start
_start:
	mv s0, a0
	mv s1, a1
	/* Adds the load address where the linker put R_RISCV_RELATIVE. */
	lla t0, __rela_start
	lla t1, __rela_end
	lla t2, _start
1:	bgeu t0, t1, 2f
	ld t3, 0(t0)
	ld t4, 16(t0)
	add t3, t3, t2
	add t4, t4, t2
	sd t4, 0(t3)
	addi t0, t0, 24
	j 1b
2:	lla sp, boot_stack_top
	mv a0, s0
	mv a1, s1
	call boot_setup
	/* From here on as any hart that hart_start starts. */
	mv a1, a0
	mv a0, s0
	j hart_entry

.text
/* HSM start: a0 = hart id, a1 = its structure. */
.balign 4
.global hart_entry
hart_entry:
	mv tp, a1
	ld sp, H_STACK(tp)
	csrw sscratch, tp
	lla t0, trap_entry
	csrw stvec, t0
	mv a1, a0
	mv a0, tp
	call hart_main
1:	wfi
	j 1b

.macro each_register op, base
	\op x1, H_X(1)(\base)
	\op x3, H_X(3)(\base)
	\op x5, H_X(5)(\base)
	\op x6, H_X(6)(\base)
	\op x7, H_X(7)(\base)
	\op x8, H_X(8)(\base)
	\op x9, H_X(9)(\base)
	\op x10, H_X(10)(\base)
	\op x11, H_X(11)(\base)
	\op x12, H_X(12)(\base)
	\op x13, H_X(13)(\base)
	\op x14, H_X(14)(\base)
	\op x15, H_X(15)(\base)
	\op x16, H_X(16)(\base)
	\op x17, H_X(17)(\base)
	\op x18, H_X(18)(\base)
	\op x19, H_X(19)(\base)
	\op x20, H_X(20)(\base)
	\op x21, H_X(21)(\base)
	\op x22, H_X(22)(\base)
	\op x23, H_X(23)(\base)
	\op x24, H_X(24)(\base)
	\op x25, H_X(25)(\base)
	\op x26, H_X(26)(\base)
	\op x27, H_X(27)(\base)
	\op x28, H_X(28)(\base)
	\op x29, H_X(29)(\base)
	\op x30, H_X(30)(\base)
	\op x31, H_X(31)(\base)
.endm

.macro each_saved op, base
	\op ra, H_RESUME(0)(\base)
	\op sp, H_RESUME(1)(\base)
	\op gp, H_RESUME(2)(\base)
	\op s0, H_RESUME(3)(\base)
	\op s1, H_RESUME(4)(\base)
	\op s2, H_RESUME(5)(\base)
	\op s3, H_RESUME(6)(\base)
	\op s4, H_RESUME(7)(\base)
	\op s5, H_RESUME(8)(\base)
	\op s6, H_RESUME(9)(\base)
	\op s7, H_RESUME(10)(\base)
	\op s8, H_RESUME(11)(\base)
	\op s9, H_RESUME(12)(\base)
	\op s10, H_RESUME(13)(\base)
	\op s11, H_RESUME(14)(\base)
.endm

/* sscratch holds the hart's structure whenever no trap is being entered. */
.balign 4
.global trap_entry
trap_entry:
	csrrw sp, sscratch, sp
	sd tp, H_X(4)(sp)
	each_register sd, sp
	csrr t0, sscratch
	sd t0, H_X(2)(sp)
	csrw sscratch, sp
	csrr t0, sepc
	sd t0, H_PC(sp)
	mv tp, sp
	mv a0, sp
	ld sp, H_TRAP_STACK(sp)
	call trap_handle
	bnez a0, leave_code

/* Goes on with all registers from the structure at tp. */
restore:
	ld t0, H_PC(tp)
	csrw sepc, t0
	mv sp, tp
	each_register ld, sp
	ld tp, H_X(4)(sp)
	ld sp, H_X(2)(sp)
	sret

leave_code:
	each_saved ld, tp
	ret

/* void enter_code(struct hart *h): "returns" by leave_code. sstatus is set up by the caller. */
.global enter_code
enter_code:
	each_saved sd, tp
	j restore

.bss
.balign 16
	.skip 4096
boot_stack_top:
