// SPDX-License-Identifier: MIT
/*
 * cpustress SECONDS [THREADS]: computes on all CPUs and checks every result.
 *
 * What breaks it is a machine that loses or mixes up register state: a VM switch that forgets a
 * floating-point register, a vector register that leaks from one VCPU to the next, a timer
 * interrupt that tears a computation. So beside computations with a known result, each thread
 * fills all floating-point and all vector registers with patterns of its own and holds them for
 * longer than a few scheduling events before it looks again.
 *
 * Prints "cpustress: ok N iterations", or what was wrong, and exits with 1.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 256
/* About a millisecond on an emulated core. */
#define HOLD_LOOPS 200000UL

static atomic_bool failed;
static atomic_ulong iterations;
static time_t deadline;
static bool have_vector;

struct worker {
	pthread_t thread;
	int id;
	int cpu;
	uint64_t seed;
};

static void wrong(const struct worker *w, const char *what, int index, uint64_t want, uint64_t got)
{
	/* One line per thread at most: the first wrong result tells, the rest follows from it. */
	fprintf(stderr, "cpustress: thread %d on CPU %d: %s[%d] is %016llx, should be %016llx\n",
		w->id, sched_getcpu(), what, index, (unsigned long long)got,
		(unsigned long long)want);
	atomic_store(&failed, true);
}

/* splitmix64: a different pattern for each thread, iteration and register. */
static uint64_t pattern(struct worker *w)
{
	uint64_t z = w->seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/*
 * The results below were computed on another machine (Python's integers and its IEEE doubles); this
 * file is compiled with -ffp-contract=off, because a fused multiply-add rounds once less.
 */
#define INTEGER_RESULT 0x5de4abb3c8c401fe
#define FLOAT_RESULT   0x3f9feee77a0f576e

static uint64_t integer_work(void)
{
	uint64_t x = 1, sum = 0;

	for (uint64_t i = 1; i <= 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		sum += x / i + x % (i + 7);
		sum = (sum << 5 | sum >> 59) * 0x9e3779b97f4a7c15;
	}
	return sum;
}

static uint64_t float_work(void)
{
	double x = 0.3, sum = 0;
	uint64_t bits;

	for (int i = 1; i <= 20000; i++) {
		x = 3.9 * x * (1.0 - x);
		sum += x / i - sum * 0.001;
	}
	memcpy(&bits, &sum, sizeof(bits));
	return bits;
}

#ifdef __riscv

/* All 32 registers and the rounding mode, held over a loop. */
static void float_hold(struct worker *w)
{
	uint64_t in[32], out[32];
	/* The dynamic rounding modes are 0 to 4. */
	unsigned long mode = pattern(w) % 5, mode_after, count = HOLD_LOOPS;

	for (int i = 0; i < 32; i++)
		in[i] = pattern(w);
#define LOAD(n)  "fld f" #n ", 8*" #n "(%[in])\n"
#define STORE(n) "fsd f" #n ", 8*" #n "(%[out])\n"
#define ALL(op)                                                                                    \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13)    \
		op(14) op(15) op(16) op(17) op(18) op(19) op(20) op(21) op(22) op(23) op(24)       \
			op(25) op(26) op(27) op(28) op(29) op(30) op(31)
	__asm__ volatile(
		"fsrm %[mode]\n" ALL(LOAD) "1: addi %[count], %[count], -1\n"
					   "bnez %[count], 1b\n" ALL(STORE) "frrm %[after]\n"
									    "fsrm zero\n"
		: [count] "+r"(count), [after] "=&r"(mode_after)
		: [in] "r"(in), [out] "r"(out), [mode] "r"(mode)
		: "memory", "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10",
		"f11", "f12", "f13", "f14", "f15", "f16", "f17", "f18", "f19", "f20", "f21", "f22",
		"f23", "f24", "f25", "f26", "f27", "f28", "f29", "f30", "f31");
	for (int i = 0; i < 32 && !failed; i++)
		if (in[i] != out[i])
			wrong(w, "f register", i, in[i], out[i]);
	if (mode != mode_after)
		wrong(w, "rounding mode", 0, mode, mode_after);
}

static size_t vector_bytes(void)
{
	size_t vlenb;

	__asm__ volatile("csrr %0, 0xc22" : "=r"(vlenb)); /* vlenb */
	return vlenb;
}

/*
 * The 32 registers as four groups of eight, 64-bit lanes: a and b are added up over a loop (so the
 * unit computes), c gets the running sum, d just stays.
 */
static void vector_work(struct worker *w)
{
	const size_t lanes = vector_bytes(); /* 8 registers of vlenb bytes, 8 bytes to a lane */
	const unsigned long loops = HOLD_LOOPS / 50;
	unsigned long count = loops, vl;
	uint64_t *in[4], *out[4];
	uint64_t *buffer = malloc(8 * lanes * sizeof(uint64_t));

	if (!buffer) {
		perror("cpustress");
		exit(2);
	}
	for (int g = 0; g < 4; g++) {
		in[g] = buffer + (size_t)g * lanes;
		out[g] = buffer + (size_t)(g + 4) * lanes;
		for (size_t i = 0; i < lanes; i++)
			in[g][i] = pattern(w);
	}
	__asm__ volatile(".option push\n"
			 ".option arch, +v\n"
			 "vsetvli %[vl], zero, e64, m8, ta, ma\n"
			 "vle64.v v0, (%[a])\n"
			 "vle64.v v8, (%[b])\n"
			 "vle64.v v16, (%[c])\n"
			 "vle64.v v24, (%[d])\n"
			 "1: vadd.vv v8, v8, v0\n"
			 "vadd.vv v16, v16, v8\n"
			 "addi %[count], %[count], -1\n"
			 "bnez %[count], 1b\n"
			 "vse64.v v0, (%[oa])\n"
			 "vse64.v v8, (%[ob])\n"
			 "vse64.v v16, (%[oc])\n"
			 "vse64.v v24, (%[od])\n"
			 ".option pop\n"
			 : [vl] "=&r"(vl), [count] "+r"(count)
			 : [a] "r"(in[0]), [b] "r"(in[1]), [c] "r"(in[2]), [d] "r"(in[3]),
			 [oa] "r"(out[0]), [ob] "r"(out[1]), [oc] "r"(out[2]), [od] "r"(out[3])
			 : "memory");
	if (vl != lanes)
		wrong(w, "vl", 0, lanes, vl);
	for (size_t i = 0; i < lanes && !failed; i++) {
		uint64_t b = in[1][i] + loops * in[0][i];
		uint64_t c = in[2][i] + loops * in[1][i] + loops * (loops + 1) / 2 * in[0][i];

		if (out[0][i] != in[0][i])
			wrong(w, "v0 group", (int)i, in[0][i], out[0][i]);
		else if (out[1][i] != b)
			wrong(w, "v8 group", (int)i, b, out[1][i]);
		else if (out[2][i] != c)
			wrong(w, "v16 group", (int)i, c, out[2][i]);
		else if (out[3][i] != in[3][i])
			wrong(w, "v24 group", (int)i, in[3][i], out[3][i]);
	}
	free(buffer);
}

#else /* so that the known results can be checked on the build machine */

static void float_hold(struct worker *w)
{
	(void)w;
}

static void vector_work(struct worker *w)
{
	(void)w;
}

#endif

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t set;

	/* One on each CPU; where the CPU has just been unplugged the thread goes where it can. */
	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	do {
		uint64_t r = integer_work();

		if (r != INTEGER_RESULT)
			wrong(w, "integer result", 0, INTEGER_RESULT, r);
		r = float_work();
		if (r != FLOAT_RESULT)
			wrong(w, "floating-point result", 0, FLOAT_RESULT, r);
		float_hold(w);
		if (have_vector)
			vector_work(w);
		atomic_fetch_add(&iterations, 1);
	} while (!failed && seconds() < deadline);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_THREADS];
	const int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	const int threads = argc > 2 ? atoi(argv[2]) : cpus;
	cpu_set_t online;
	int cpu = -1;

	if (argc < 2 || argc > 3 || atoi(argv[1]) <= 0 || threads <= 0 || threads > MAX_THREADS) {
		fprintf(stderr, "usage: cpustress SECONDS [THREADS], at most %d threads\n",
			MAX_THREADS);
		return 2;
	}
#ifdef __riscv
	have_vector = getauxval(AT_HWCAP) & 1UL << ('V' - 'A');
#endif
	sched_getaffinity(0, sizeof(online), &online);
	deadline = seconds() + atoi(argv[1]);
	for (int i = 0; i < threads; i++) {
		struct worker *w = &workers[i];

		do
			cpu = (cpu + 1) % CPU_SETSIZE;
		while (!CPU_ISSET(cpu, &online));
		*w = (struct worker){.id = i, .cpu = cpu, .seed = (uint64_t)i << 32};
		if (pthread_create(&w->thread, NULL, work, w) != 0) {
			perror("cpustress: thread");
			return 2;
		}
	}
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	if (failed)
		return 1;
	printf("cpustress: ok %lu iterations (%d threads on %d CPUs, vector %s)\n", iterations,
		threads, cpus, have_vector ? "on" : "off");
	return 0;
}
