/* SPDX-License-Identifier: MIT */
/*
 * dx run: a new child with a kernel of one's choice. The kernel goes to its place in the child's
 * RAM, the device tree to the end, the initrd below that.
 *
 * A process in the background, the keeper, holds the files and starts the child anew when it was
 * reset, by itself or by dx reboot. It ends with the child, and leaves the record of the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <libfdt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "dx.h"

#define DEFAULT_MEM  (64u << 20)
#define DEFAULT_CPUS 1
#define FDT_ROOM     4096 /* for what is changed, beside the command line */

enum {
	OPT_KERNEL = 1000,
	OPT_INITRD,
	OPT_APPEND,
	OPT_CPUS,
	OPT_MEM,
	OPT_NAME,
	OPT_QUOTA,
	OPT_DIRECT,
	OPT_DETACH
};

static const struct option run_options[] = {{"kernel", required_argument, NULL, OPT_KERNEL},
	{"initrd", required_argument, NULL, OPT_INITRD},
	{"append", required_argument, NULL, OPT_APPEND},
	{"cpus", required_argument, NULL, OPT_CPUS}, {"mem", required_argument, NULL, OPT_MEM},
	{"name", required_argument, NULL, OPT_NAME}, {"quota", required_argument, NULL, OPT_QUOTA},
	{"direct", no_argument, NULL, OPT_DIRECT}, {"detach", no_argument, NULL, OPT_DETACH}, {0}};

struct run {
	const char *kernel_path, *initrd_path, *append;
	bool detach;
	struct dxio_create create;
	struct image kernel, initrd;
	uint32_t handle;
	int fd; /* the child's */
};

static void read_options(struct run *r, int argc, char **argv)
{
	struct dx_create *c = &r->create.create;

	for (int o; (o = next_option(argc, argv, run_options)) >= 0;) {
		switch (o) {
		case OPT_KERNEL:
			r->kernel_path = optarg;
			break;
		case OPT_INITRD:
			r->initrd_path = optarg;
			break;
		case OPT_APPEND:
			r->append = optarg;
			break;
		case OPT_CPUS:
			c->vcpus = parse_u32(optarg, "--cpus");
			break;
		case OPT_MEM:
			c->ram_size = parse_size(optarg, "--mem") & ~(uint64_t)(DX_PAGE - 1);
			break;
		case OPT_NAME:
			name_copy(r->create.name, optarg);
			break;
		case OPT_QUOTA:
			limits_parse(optarg, c->limit);
			break;
		case OPT_DIRECT:
			c->flags |= DX_DIRECT;
			break;
		default:
			r->detach = true;
		}
	}
	operands(argc, 0, 0);
	if (!r->kernel_path)
		usage("--kernel is missing", NULL);
}

/* --- loading --- */

/* Through a window as large as needed: `size` bytes, and zeros up to `mem_size`. */
static void load(
	const struct run *r, uint64_t gpa, const void *bytes, uint64_t size, uint64_t mem_size)
{
	uint64_t start = gpa & ~(uint64_t)(DX_PAGE - 1);
	size_t length = (size_t)(gpa - start + mem_size);
	uint8_t *window;

	if (mem_size == 0)
		return;
	window = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)start);
	if (window == MAP_FAILED)
		die_errno("the child's memory");
	memcpy(window + (gpa - start), bytes, size);
	memset(window + (gpa - start) + size, 0, mem_size - size);
	munmap(window, length);
}

static void fdt_do(int rc)
{
	if (rc < 0)
		die(ST_FAILED, "the child's device tree: %s", fdt_strerror(rc));
}

/* The tree that the hypervisor makes for the child, with room; to be freed. */
static void *fdt_get(const struct run *r)
{
	size_t room = DXIO_FDT_MAX + FDT_ROOM + (r->append ? strlen(r->append) : 0);
	void *fdt = calloc(1, room);
	struct dxio_fdt a = {
		.handle = r->handle, .bytes = DXIO_FDT_MAX, .buffer = (uint64_t)(uintptr_t)fdt};

	if (!fdt)
		die(ST_FAILED, "out of memory");
	dx_do(DXIO_FDT, (unsigned long)&a, "device tree");
	fdt_do(fdt_open_into(fdt, fdt, (int)room));
	return fdt;
}

static void fdt_edit(const struct run *r, void *fdt, uint64_t initrd)
{
	int chosen = fdt_path_offset(fdt, "/chosen");

	fdt_do(chosen);
	if (r->append)
		fdt_do(fdt_setprop_string(fdt, chosen, "bootargs", r->append));
	if (r->initrd.size) {
		fdt_do(fdt_setprop_u64(fdt, chosen, "linux,initrd-start", initrd));
		fdt_do(fdt_setprop_u64(fdt, chosen, "linux,initrd-end", initrd + r->initrd.size));
	}
	fdt_do(fdt_pack(fdt));
}

/* Below `end`, page by page; `floor` is where the kernel ends. */
static uint64_t place_below(uint64_t end, uint64_t size, uint64_t floor)
{
	uint64_t at = (end - size) & ~(uint64_t)(DX_PAGE - 1);

	if (size > end || at < floor)
		die(ST_FAILED, "kernel and initrd do not fit into the child's RAM");
	return at;
}

static void start(const struct run *r)
{
	struct dx_info info = child_info(r->handle, "info");
	uint64_t end = info.ram_base + info.ram_size, fdt_at, initrd_at;
	struct dxio_start a = {.handle = r->handle};
	struct layout l;
	void *fdt = fdt_get(r);

	image_layout(&r->kernel, r->kernel_path, info.ram_base, info.ram_size, &l);
	fdt_at = place_below(end, fdt_totalsize(fdt), l.end);
	initrd_at = place_below(fdt_at, r->initrd.size, l.end);
	fdt_edit(r, fdt, initrd_at);
	for (unsigned i = 0; i < l.nparts; i++)
		load(r, l.parts[i].gpa, r->kernel.bytes + l.parts[i].offset, l.parts[i].size,
			l.parts[i].mem_size);
	load(r, initrd_at, r->initrd.bytes, r->initrd.size, r->initrd.size);
	load(r, fdt_at, fdt, fdt_totalsize(fdt), fdt_totalsize(fdt));
	free(fdt);
	a.entry = l.entry;
	a.argument = fdt_at;
	dx_do(DXIO_START, (unsigned long)&a, "start");
}

/* --- the keeper --- */

/* A child that asked for a reset is reset; one that was, loaded and started. False: it has ended.
 */
static bool keep_once(const struct run *r)
{
	struct dxio_info i = {.handle = r->handle};

	if (ioctl(r->fd, DXIO_EVENTS) < 0 || dx_try(DXIO_INFO, (unsigned long)&i) < 0)
		return false;
	if (i.info.state == DX_PAUSED_STATE && i.info.reset_asked)
		dx_do(DXIO_REBOOT, r->handle, "reboot");
	else if (i.info.state == DX_CREATED)
		start(r);
	return i.info.state < DX_DYING;
}

/* Holds none of the user's files or terminals, and outlives the shell that began it. */
static _Noreturn void keeper(const struct run *r)
{
	struct pollfd p = {.fd = r->fd, .events = POLLPRI};
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	setsid();
	signal(SIGHUP, SIG_IGN);
	if (chdir("/") < 0)
		exit(ST_FAILED);
	while (keep_once(r))
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			exit(ST_FAILED);
	exit(ST_OK);
}

/* --- the command --- */

/* What cannot be started leaves nothing behind. This runs at exit unless the child was started. */
static uint32_t unfinished;

static void undo(void)
{
	if (!unfinished)
		return;
	dx_try(DXIO_KILL, unfinished);
	child_wait(child_open(unfinished));
	dx_try(DXIO_REAP, unfinished);
}

/* Ctrl-C and the like, which would leave a child half made, wait until it is started. */
static void hold_signals(bool hold)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &ends, NULL);
}

static void create(struct run *r)
{
	r->kernel = image_read(r->kernel_path);
	if (r->initrd_path)
		r->initrd = image_read(r->initrd_path);
	hold_signals(true);
	r->handle = (uint32_t)dx_do(DXIO_CREATE, (unsigned long)&r->create, "create");
	unfinished = r->handle;
	atexit(undo);
	r->fd = child_open(r->handle);
	start(r);
	unfinished = 0;
	hold_signals(false);
}

static int attend(const struct run *r)
{
	int fd = child_open(r->handle);
	struct dx_info info;

	if (!console_attach(r->handle, ESCAPE_KEY))
		return ST_OK;
	info = child_wait(fd);
	end_print(r->handle, r->create.name, &info);
	child_reap(r->handle);
	return (int)end_status(&info);
}

static void print_handle(const struct run *r)
{
	if (!json) {
		printf("%u\n", r->handle);
		return;
	}
	json_open(NULL, '{');
	json_number("handle", r->handle);
	json_text("name", r->create.name);
	json_close('}');
	json_line();
}

int cmd_run(int argc, char **argv)
{
	struct run r = {.create.create = {.vcpus = DEFAULT_CPUS, .ram_size = DEFAULT_MEM}};
	pid_t pid;

	limits_keep(r.create.create.limit);
	read_options(&r, argc, argv);
	create(&r);
	pid = fork();
	if (pid < 0)
		die_errno("keeper");
	if (pid == 0)
		keeper(&r);
	close(r.fd);
	if (!r.detach)
		return attend(&r);
	print_handle(&r);
	return ST_OK;
}
