/* SPDX-License-Identifier: MIT */
/*
 * dx run: a new child with a kernel of one's choice.
 *
 * A process in the background, the keeper, holds the files and starts the child anew when it was
 * reset, by itself or by dx reboot. It ends with the child, and leaves the record of the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "dx.h"

#define DEFAULT_MEM  (64u << 20)
#define DEFAULT_CPUS 1

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
	const char *kernel, *initrd; /* paths */
	bool detach;
	struct dxio_create create;
	struct child child;
};

static void read_options(struct run *r, int argc, char **argv)
{
	struct dx_create *c = &r->create.create;

	for (int o; (o = next_option(argc, argv, run_options)) >= 0;) {
		switch (o) {
		case OPT_KERNEL:
			r->kernel = optarg;
			break;
		case OPT_INITRD:
			r->initrd = optarg;
			break;
		case OPT_APPEND:
			r->child.append = optarg;
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
	if (!r->kernel)
		usage("--kernel is missing", NULL);
}

/* --- signals --- */

/* Those that end this program wait from before the child is made until it has its keeper: it is
 * never left half made, nor without one. SIGPIPE: who reads what fails has gone. */
static sigset_t held;

static void hold_signals(void)
{
	static const int ends[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE};
	struct sigaction how;

	sigemptyset(&held);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (sigaction(ends[i], NULL, &how) == 0 && how.sa_handler == SIG_DFL)
			sigaddset(&held, ends[i]);
	sigprocmask(SIG_BLOCK, &held, NULL);
}

static void release_signals(void)
{
	sigprocmask(SIG_UNBLOCK, &held, NULL);
}

static bool signal_waits(void)
{
	sigset_t waiting;

	sigpending(&waiting);
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&held, i) == 1 && sigismember(&waiting, i) == 1)
			return true;
	return false;
}

/* --- the keeper --- */

/* A child that asked for a reset is reset, unless somebody else was faster; one that was, loaded
 * and started. False: it has ended, or is the parent's of a VM that was forked from this one. */
static bool keep_once(const struct child *c)
{
	struct dx_info info;

	if (ioctl(c->fd, DXIO_EVENTS) < 0 || ioctl(c->fd, DXIO_LAST, &info) < 0)
		return false;
	if (info.state == DX_PAUSED_STATE && info.reset_asked)
		dx_try(DXIO_REBOOT, c->handle);
	else if (info.state == DX_CREATED)
		child_start(c);
	return info.state < DX_DYING;
}

/* Holds none of the user's streams or terminals, and outlives the shell that began it. */
static _Noreturn void keeper(const struct child *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLPRI};
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	setsid();
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	release_signals();
	if (chdir("/") < 0)
		exit(ST_FAILED);
	while (keep_once(c))
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			exit(ST_FAILED);
	exit(ST_OK);
}

/* --- the command --- */

/* What cannot be started leaves nothing behind. This runs at exit unless the child was started. */
static uint32_t unfinished;

static void undo(void)
{
	int fd = unfinished ? (int)dx_try(DXIO_OPEN, unfinished) : -1;

	if (fd < 0)
		return;
	dx_try(DXIO_KILL, unfinished);
	child_wait(fd);
	dx_try(DXIO_REAP, unfinished);
}

/* Whoever pressed Ctrl-C meanwhile wants no child. */
static void create(struct run *r)
{
	struct child *c = &r->child;

	c->kernel = image_open(r->kernel);
	if (r->initrd)
		c->initrd = image_open(r->initrd);
	c->handle = (uint32_t)dx_do(DXIO_CREATE, (unsigned long)&r->create, "create");
	unfinished = c->handle;
	atexit(undo);
	c->fd = child_open(c->handle);
	child_start(c);
	if (signal_waits()) {
		undo();
		release_signals();
	}
}

static void begin_keeper(const struct child *c)
{
	pid_t pid = fork();

	if (pid < 0)
		die_errno("keeper");
	unfinished = 0;
	if (pid == 0)
		keeper(c);
}

static int attend(const struct run *r)
{
	uint32_t handle = r->child.handle;
	int fd = child_open(handle);
	struct dx_info info;

	if (!console_attach(handle, ESCAPE_KEY))
		return ST_OK;
	info = child_wait(fd);
	end_print(handle, r->create.name, &info);
	child_reap(handle);
	return (int)end_status(&info);
}

static void print_handle(const struct run *r)
{
	if (!json) {
		printf("%u\n", r->child.handle);
		return;
	}
	json_open(NULL, '{');
	json_number("handle", r->child.handle);
	json_text("name", r->create.name);
	json_close('}');
	json_line();
}

int cmd_run(int argc, char **argv)
{
	struct run r = {.create.create = {.vcpus = DEFAULT_CPUS, .ram_size = DEFAULT_MEM}};

	limits_keep(r.create.create.limit);
	read_options(&r, argc, argv);
	hold_signals();
	create(&r);
	begin_keeper(&r.child);
	release_signals();
	close(r.child.fd);
	if (!r.detach)
		return attend(&r);
	print_handle(&r);
	return ST_OK;
}
