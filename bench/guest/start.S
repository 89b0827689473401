/* SPDX-License-Identifier: MIT */
/*
 * Entry of the micro-benchmark guest, with the header of a Linux boot image in front (Documentation/arch/riscv/boot-image-header.rst),
 * so that mkimage takes it as a kernel and QEMU, under its own firmware, as a flat file.
 */
.section .text.head, "ax"
.global _start
.option push
.option norvc
_start:
	j enter
	nop
	.dword 0x200000 /* text_offset */
	.dword image_end - _start
	.dword 0 /* flags */
	.word 2 /* header version 0.2 */
	.word 0
	.dword 0
	.ascii "RISCV\0\0\0"
	.ascii "RSC\x05"
	.word 0
.option pop

/* a0 = hart id, a1 = device tree. */
enter:
	rdtime a1 /* before all else: how long the machine took to get here */
	csrw sie, zero
	csrci sstatus, 2
	la sp, stack_top
	la a2, image_end
	call bench_main
1:	wfi
	j 1b

.section .bss
.balign 16
	.skip 8192
stack_top:
