/* SPDX-License-Identifier: MIT */
/*
 * A QEMU TCG plugin that counts instructions by privilege mode, finds the longest stretch of
 * consecutive instructions in M-mode after the first guest instruction, and tells in which blocks
 * of code M-mode spent them. Self-contained: Debian packages none of QEMU's headers, so the part
 * of the plugin interface that is used is declared here.
 *
 *   -plugin mmode.so,out=FILE[,hist=1][,log=1][,cut=PC]
 *
 * Output, one record per line, all numbers decimal but PC:
 *
 *   mode NAME COUNT            instructions in U, S, M, VU, VS
 *   guest M COUNT              those in M-mode after the first guest instruction
 *   exits COUNT                entries to M-mode after the first guest instruction
 *   longest COUNT AT           the longest stretch, and the total count at its beginning
 *   block longest PC COUNT     where it was spent
 *   block MARK PC COUNT FIRST  with hist: M-mode blocks executed while MARK was the last marker;
 *                              the total count at the first execution of the block
 *   mark MARK COUNT            with log: each marker executed, in order, and M-mode's instructions
 *                              until then
 *
 * A marker is the hint `slti x0, x0, MARK` (0 < MARK < MARKS) in any mode; before the first, MARK
 * is 0.
 *
 * A stretch ends where M-mode is left, at wfi (an idle hart holds up nobody), and before the block
 * that begins at the hexadecimal PC of `cut`. A block that traps half-way counts whole, which
 * M-mode code (almost) never does. One CPU (-smp 1) only: under icount QEMU 10.0 mixes up the CPU
 * index.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* The part of qemu-plugin.h, API version 4 (QEMU 10.0), that is used. */
typedef uint64_t qemu_plugin_id_t;
typedef struct {
	uint8_t *data;
	unsigned len;
} GByteArray;
typedef struct {
	char *data;
	unsigned len;
} GArray;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_register;
struct qemu_info;
struct reg_desc {
	struct qemu_plugin_register *handle;
	const char *name, *feature;
};
enum { CB_NO_REGS, CB_R_REGS };
typedef void vcpu_cb(qemu_plugin_id_t id, unsigned cpu);
typedef void tb_cb(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void exec_cb(unsigned cpu, void *arg);
typedef void exit_cb(qemu_plugin_id_t id, void *arg);
GByteArray *g_byte_array_new(void);
GByteArray *g_byte_array_set_size(GByteArray *a, unsigned size);
void qemu_plugin_register_vcpu_init_cb(qemu_plugin_id_t id, vcpu_cb *cb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_cb *cb);
void qemu_plugin_register_vcpu_tb_exec_cb(
	struct qemu_plugin_tb *tb, exec_cb *cb, int flags, void *arg);
void qemu_plugin_register_vcpu_insn_exec_cb(
	struct qemu_plugin_insn *insn, exec_cb *cb, int flags, void *arg);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, exit_cb *cb, void *arg);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
GArray *qemu_plugin_get_registers(void);
int qemu_plugin_read_register(struct qemu_plugin_register *reg, GByteArray *buf);
EXPORT int qemu_plugin_version = 4;

#define MODE_M      3
#define MODES       8
#define MARKS       64
#define WFI         0x10500073
#define SLTI_X0     0x2013
#define TOUCHED_MAX 4096

struct block {
	uint64_t pc;
	uint32_t insns;
	bool wfi;
	uint64_t stretch, stretch_count; /* executions within the stretch of that number */
	uint64_t first;                  /* the total count at the first execution */
	uint64_t count[MARKS];
	struct block *next;
};

struct visit {
	struct block *block;
	uint64_t insns;
};

static const char *const mode_names[MODES] = {"U", "S", "2", "M", "VU", "VS", "6", "7"};
static FILE *out;
static bool hist, mark_log;
static uint64_t cut = UINT64_MAX;
static struct qemu_plugin_register *priv;
static GByteArray *value;
static struct block *blocks;
static unsigned mark, last_mode = MODE_M;
static bool guest_ran;
static uint64_t total, by_mode[MODES], guest_m, exits;

static uint64_t stretch, stretch_insns, stretch_start;
static struct block *touched[TOUCHED_MAX];
static unsigned ntouched;
static uint64_t longest_insns, longest_start;
static struct visit longest[TOUCHED_MAX];
static unsigned nlongest;

static void end_stretch(void)
{
	if (stretch_insns > longest_insns) {
		longest_insns = stretch_insns;
		longest_start = stretch_start;
		nlongest = ntouched;
		for (unsigned i = 0; i < ntouched; i++)
			longest[i] = (struct visit){
				touched[i], touched[i]->stretch_count * touched[i]->insns};
	}
	stretch++;
	stretch_insns = 0;
	ntouched = 0;
}

static void in_stretch(struct block *b)
{
	if (stretch_insns == 0)
		stretch_start = total;
	if (b->stretch != stretch) {
		b->stretch = stretch;
		b->stretch_count = 0;
		if (ntouched < TOUCHED_MAX)
			touched[ntouched++] = b;
	}
	b->stretch_count++;
	stretch_insns += b->insns;
	guest_m += b->insns;
	if (b->wfi)
		end_stretch();
}

static unsigned read_mode(void)
{
	g_byte_array_set_size(value, 0);
	qemu_plugin_read_register(priv, value);
	return value->data[0] & (MODES - 1);
}

static void on_block(unsigned cpu, void *arg)
{
	struct block *b = arg;
	unsigned mode = read_mode();

	(void)cpu;
	if (mode == MODE_M) {
		if (b->first == UINT64_MAX)
			b->first = total;
		b->count[mark]++;
		if (b->pc == cut)
			end_stretch();
		if (guest_ran) {
			exits += last_mode != MODE_M;
			in_stretch(b);
		}
	} else {
		guest_ran = true;
		if (last_mode == MODE_M)
			end_stretch();
	}
	last_mode = mode;
	by_mode[mode] += b->insns;
	total += b->insns;
}

static void on_mark(unsigned cpu, void *arg)
{
	(void)cpu;
	mark = (unsigned)(uintptr_t)arg;
	if (mark_log)
		fprintf(out, "mark %u %lu\n", mark, by_mode[MODE_M]);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *b = calloc(1, sizeof(*b));

	(void)id;
	if (!b)
		abort();
	*b = (struct block){.pc = qemu_plugin_tb_vaddr(tb),
		.insns = (uint32_t)qemu_plugin_tb_n_insns(tb),
		.stretch = UINT64_MAX,
		.first = UINT64_MAX};
	b->next = blocks;
	blocks = b;
	for (size_t i = 0; i < b->insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint32_t op = 0;

		if (qemu_plugin_insn_data(insn, &op, sizeof(op)) != sizeof(op))
			continue;
		b->wfi |= op == WFI;
		if ((op & 0xfffff) == SLTI_X0 && op >> 20 && op >> 20 < MARKS)
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, on_mark, CB_NO_REGS, (void *)(uintptr_t)(op >> 20));
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, CB_R_REGS, b);
}

static void on_cpu(qemu_plugin_id_t id, unsigned cpu)
{
	GArray *regs = qemu_plugin_get_registers();
	const struct reg_desc *d = (const struct reg_desc *)(void *)regs->data;

	(void)id;
	if (cpu != 0) {
		fprintf(stderr, "mmode: one CPU only\n");
		exit(1);
	}
	for (unsigned i = 0; i < regs->len; i++)
		if (strcmp(d[i].name, "priv") == 0)
			priv = d[i].handle;
	if (!priv)
		abort();
	value = g_byte_array_new();
}

static void report_blocks(void)
{
	for (const struct block *b = blocks; b; b = b->next)
		for (unsigned m = 0; m < MARKS; m++)
			if (b->count[m])
				fprintf(out, "block %u %lx %lu %lu\n", m, b->pc,
					b->count[m] * b->insns, b->first);
}

static void on_exit_report(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	end_stretch();
	for (unsigned m = 0; m < MODES; m++)
		if (by_mode[m])
			fprintf(out, "mode %s %lu\n", mode_names[m], by_mode[m]);
	fprintf(out, "guest M %lu\nexits %lu\n", guest_m, exits);
	fprintf(out, "longest %lu %lu\n", longest_insns, longest_start);
	for (unsigned i = 0; i < nlongest; i++)
		fprintf(out, "block longest %lx %lu\n", longest[i].block->pc, longest[i].insns);
	if (hist)
		report_blocks();
	fclose(out);
}

EXPORT int qemu_plugin_install(
	qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv);
EXPORT int qemu_plugin_install(
	qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4) == 0)
			out = fopen(argv[i] + 4, "w");
		if (strncmp(argv[i], "cut=", 4) == 0)
			cut = strtoull(argv[i] + 4, NULL, 16);
		hist |= strcmp(argv[i], "hist=1") == 0 || strcmp(argv[i], "hist=on") == 0;
		mark_log |= strcmp(argv[i], "log=1") == 0 || strcmp(argv[i], "log=on") == 0;
	}
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_init_cb(id, on_cpu);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_exit_report, NULL);
	return 0;
}
