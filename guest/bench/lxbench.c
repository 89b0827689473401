// SPDX-License-Identifier: MIT
/*
 * lxbench: what basic operations of the kernel cost, in nanoseconds per operation.
 *
 *   lxbench            all of them
 *   lxbench NAME...    the chosen ones
 *   lxbench -l         their names
 *
 * One line each, "name ns_per_op": the best of five batches, so that one interruption by something
 * else does not show. Under `qemu -icount shift=0` a nanosecond is an instruction, and two runs
 * agree; the numbers of operations are therefore fixed and not calibrated against a clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 5
#define PAGE    4096

#ifndef SYS_riscv_flush_icache
#define SYS_riscv_flush_icache 259
#endif

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void check(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "lxbench: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

/* Keeps a computation whose result nobody wants from being optimised away. */
static void keep(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

/* Each benchmark does n operations and returns the time they took, its own set-up left out. */

static uint64_t bench_syscall(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		syscall(SYS_getppid);
	return now() - start;
}

static uint64_t bench_yield(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		sched_yield();
	return now() - start;
}

static uint64_t bench_clock(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		now();
	return now() - start;
}

static void reap(pid_t pid)
{
	int status;

	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child");
}

static uint64_t bench_fork(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		reap(pid);
	}
	return now() - start;
}

static uint64_t bench_exec(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			execl("/proc/self/exe", "lxbench", "-x", (char *)NULL);
			_exit(1);
		}
		reap(pid);
	}
	return now() - start;
}

static uint64_t bench_pipe(long n)
{
	int to[2], from[2];
	char c = 0;
	pid_t pid;
	uint64_t start, end;

	check(pipe(to) == 0 && pipe(from) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		close(to[1]);
		while (read(to[0], &c, 1) == 1 && write(from[1], &c, 1) == 1)
			;
		_exit(0);
	}
	start = now();
	for (long i = 0; i < n; i++)
		check(write(to[1], &c, 1) == 1 && read(from[0], &c, 1) == 1, "round trip");
	end = now();
	close(to[1]);
	reap(pid);
	close(to[0]);
	close(from[0]);
	close(from[1]);
	return end - start;
}

static char *map_pages(long n)
{
	char *p = mmap(
		NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED, "mmap");
	return p;
}

static uint64_t bench_pagefault(long n)
{
	char *p = map_pages(n);
	uint64_t start = now(), end;

	for (long i = 0; i < n; i++)
		p[i * PAGE] = 1;
	end = now();
	munmap(p, (size_t)n * PAGE);
	return end - start;
}

static uint64_t bench_mprotect(long n)
{
	char *p = map_pages(1);
	uint64_t start, end;

	p[0] = 1;
	start = now();
	for (long i = 0; i < n; i++) {
		check(mprotect(p, PAGE, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ) == 0,
			"mprotect");
		(void)*(volatile char *)p;
	}
	end = now();
	munmap(p, PAGE);
	return end - start;
}

static atomic_bool spin_stop, spin_running;

static void *spin(void *arg)
{
	(void)arg;
	atomic_store(&spin_running, true);
	while (!atomic_load(&spin_stop))
		;
	return NULL;
}

/* With a thread of this process on another CPU, each operation needs a fence over there. */
static uint64_t with_spinner(uint64_t (*bench)(long), long n)
{
	pthread_t thread;
	uint64_t t;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return 0;
	spin_stop = spin_running = false;
	check(pthread_create(&thread, NULL, spin, NULL) == 0, "thread");
	while (!atomic_load(&spin_running))
		sched_yield();
	t = bench(n);
	atomic_store(&spin_stop, true);
	pthread_join(thread, NULL);
	return t;
}

static uint64_t bench_mprotect_remote(long n)
{
	return with_spinner(bench_mprotect, n);
}

static uint64_t bench_icache(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		check(syscall(SYS_riscv_flush_icache, 0, 0, 0) == 0, "riscv_flush_icache");
	return now() - start;
}

static uint64_t bench_icache_remote(long n)
{
	return with_spinner(bench_icache, n);
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static uint64_t bench_signal(long n)
{
	pid_t self = getpid();
	uint64_t start, t;

	signal(SIGUSR1, on_signal);
	signals = 0;
	start = now();
	for (long i = 0; i < n; i++)
		kill(self, SIGUSR1);
	t = now() - start;
	check(signals == n, "signals lost");
	return t;
}

static uint64_t bench_sleep(long n)
{
	const struct timespec t = {.tv_nsec = 20000};
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		nanosleep(&t, NULL);
	return now() - start;
}

static uint64_t bench_tmpfs(long n)
{
	static const char data[PAGE];
	uint64_t start = now();

	for (long i = 0; i < n; i++) {
		int fd = open("/tmp/lxbench.tmp", O_CREAT | O_WRONLY | O_TRUNC, 0600);

		check(fd >= 0 && write(fd, data, sizeof(data)) == sizeof(data), "/tmp");
		close(fd);
		unlink("/tmp/lxbench.tmp");
	}
	return now() - start;
}

/* 64 bytes that show nothing on the screen, and after which a line still begins at its beginning.
 */
static uint64_t bench_console(long n)
{
	char line[64];
	int fd = open("/dev/console", O_WRONLY | O_NOCTTY);
	uint64_t start, t;

	check(fd >= 0, "/dev/console");
	memset(line, '\r', sizeof(line));
	start = now();
	for (long i = 0; i < n; i++) {
		check(write(fd, line, sizeof(line)) == sizeof(line), "console");
		tcdrain(fd);
	}
	t = now() - start;
	close(fd);
	return t;
}

/* Computations: no kernel in them, so a difference between two machines is the machine's doing. */

#define BLOCK 65536
static uint8_t block[BLOCK], copy[BLOCK];

static uint64_t bench_memcpy(long n)
{
	uint64_t start = now();

	for (long i = 0; i < n; i++) {
		memcpy(copy, block, BLOCK);
		keep(copy);
	}
	return now() - start;
}

static uint32_t rotr(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static uint32_t sha_k[64];

/* The constants are the fractions of the cube roots of the first 64 primes. */
static void sha_init(void)
{
	int n = 0;

	for (int p = 2; n < 64; p++) {
		bool prime = true;

		for (int d = 2; d * d <= p; d++)
			prime = prime && p % d != 0;
		if (prime)
			sha_k[n++] = (uint32_t)(uint64_t)(__builtin_cbrtl((long double)p) *
							  4294967296.0L);
	}
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
		       (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
	for (int i = 16; i < 64; i++) {
		uint32_t a = rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3;
		uint32_t b = rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10;

		w[i] = w[i - 16] + a + w[i - 7] + b;
	}
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t a = rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25);
		uint32_t t = s[7] + a + ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
		uint32_t b = rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22);
		uint32_t u = b + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += t;
		s[0] = t + u;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

/* 4 KiB of SHA-256's compression function. */
static uint64_t bench_sha256(long n)
{
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
		0x1f83d9ab, 0x5be0cd19};
	uint64_t start = now();

	for (long i = 0; i < n; i++)
		for (int j = 0; j < PAGE; j += 64)
			sha_block(h, block + j);
	keep(h);
	return now() - start;
}

#define DIM 48
static double ma[DIM][DIM], mb[DIM][DIM], mc[DIM][DIM];

static uint64_t bench_matmul(long n)
{
	uint64_t start;

	for (int i = 0; i < DIM; i++)
		for (int j = 0; j < DIM; j++) {
			ma[i][j] = i + j;
			mb[i][j] = i - j;
		}
	start = now();
	for (long k = 0; k < n; k++) {
		keep(ma);
		for (int i = 0; i < DIM; i++)
			for (int j = 0; j < DIM; j++) {
				double sum = 0;

				for (int l = 0; l < DIM; l++)
					sum += ma[i][l] * mb[l][j];
				mc[i][j] = sum;
			}
		keep(mc);
	}
	return now() - start;
}

static const struct bench {
	const char *name;
	uint64_t (*run)(long n);
	long n;
} benches[] = {
	{"syscall", bench_syscall, 20000},
	{"yield", bench_yield, 10000},
	{"clock", bench_clock, 20000},
	{"fork", bench_fork, 50},
	{"exec", bench_exec, 20},
	{"pipe", bench_pipe, 1000},
	{"pagefault", bench_pagefault, 1000},
	{"mprotect", bench_mprotect, 2000},
	{"mprotect_remote", bench_mprotect_remote, 1000},
	{"signal", bench_signal, 2000},
	{"icache", bench_icache, 2000},
	{"icache_remote", bench_icache_remote, 1000},
	{"sleep20us", bench_sleep, 500},
	{"tmpfs", bench_tmpfs, 500},
	{"console64", bench_console, 20},
	{"sha256_4k", bench_sha256, 10},
	{"memcpy_64k", bench_memcpy, 50},
	{"matmul_48", bench_matmul, 5},
};
#define BENCHES (int)(sizeof(benches) / sizeof(benches[0]))

static void measure(const struct bench *b)
{
	uint64_t best = UINT64_MAX;

	b->run(b->n / 10 + 1);
	for (int i = 0; i < BATCHES; i++) {
		uint64_t t = b->run(b->n);

		if (t < best)
			best = t;
	}
	/* Zero: it needs a second CPU. */
	if (best == 0)
		printf("%s skipped\n", b->name);
	else
		printf("%s %.1f\n", b->name, (double)best / (double)b->n);
	fflush(stdout);
}

static const struct bench *find(const char *name)
{
	for (int i = 0; i < BENCHES; i++)
		if (strcmp(benches[i].name, name) == 0)
			return &benches[i];
	fprintf(stderr, "lxbench: no benchmark '%s' (lxbench -l lists them)\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "-x") == 0)
		return 0;
	if (argc == 2 && strcmp(argv[1], "-l") == 0) {
		for (int i = 0; i < BENCHES; i++)
			puts(benches[i].name);
		return 0;
	}
	sha_init();
	memset(block, 0x5a, sizeof(block));
	for (int i = 1; i < argc; i++)
		measure(find(argv[i]));
	if (argc == 1)
		for (int i = 0; i < BENCHES; i++)
			measure(&benches[i]);
	return 0;
}
