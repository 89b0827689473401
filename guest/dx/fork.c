/* SPDX-License-Identifier: MIT */
/* fork, clone, and the calls about this VM: drop-trust, version. */
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>
#include "dx.h"
#include "hv/core/version.h"

enum { OPT_NAME = 1000, OPT_NO_TRUST, OPT_TRUST, OPT_PAUSED, OPT_QUOTA };

static const struct option fork_options[] = {{"name", required_argument, NULL, OPT_NAME},
	{"no-trust", no_argument, NULL, OPT_NO_TRUST}, {"paused", no_argument, NULL, OPT_PAUSED},
	{"quota", required_argument, NULL, OPT_QUOTA}, {0}};
static const struct option clone_options[] = {{"name", required_argument, NULL, OPT_NAME},
	{"trust", no_argument, NULL, OPT_TRUST}, {"paused", no_argument, NULL, OPT_PAUSED},
	{"quota", required_argument, NULL, OPT_QUOTA}, {0}};

static void read_options(
	int argc, char **argv, const struct option *own, struct dx_fork *f, char *name)
{
	limits_keep(f->limit);
	for (int c; (c = next_option(argc, argv, own)) >= 0;) {
		if (c == OPT_NAME)
			name_copy(name, optarg);
		else if (c == OPT_QUOTA)
			limits_parse(optarg, f->limit);
		else
			f->flags |= c == OPT_NO_TRUST ? DX_NO_TRUST
				    : c == OPT_TRUST  ? DX_TRUST
						      : DX_PAUSED;
	}
}

static void print_handle(uint32_t handle, const char *name)
{
	if (!json) {
		printf("%u\n", handle);
		return;
	}
	json_open(NULL, '{');
	json_number("handle", handle);
	json_text("name", name);
	json_close('}');
	json_line();
}

/* The generator has its new seed: the kernel takes that before it lets any program go on. */
static void new_host_name(void)
{
	char name[32];
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		die_errno("random number");
	snprintf(name, sizeof(name), "diosix-%08x", random);
	if (sethostname(name, sizeof("diosix-") - 1 + 8) < 0)
		die_errno("host name");
}

static void be_child(void)
{
	char host[64] = "";

	new_host_name();
	if (json) {
		json_open(NULL, '{');
		json_number("handle", 0);
		json_close('}');
		json_line();
		return;
	}
	gethostname(host, sizeof(host) - 1);
	printf("This is the child, %s.\n", host);
}

int cmd_fork(int argc, char **argv)
{
	struct dxio_fork f = {0};
	long handle;

	read_options(argc, argv, fork_options, &f.fork, f.name);
	operands(argc, 0, 0);
	handle = dx_do(DXIO_FORK, (unsigned long)&f, "fork");
	if (handle == 0)
		be_child();
	else
		print_handle((uint32_t)handle, f.name);
	return ST_OK;
}

int cmd_clone(int argc, char **argv)
{
	struct dxio_clone c = {0};
	long handle;

	read_options(argc, argv, clone_options, &c.fork, c.name);
	operands(argc, 1, 1);
	c.handle = child_find(argv[optind], false);
	handle = dx_do(DXIO_CLONE, (unsigned long)&c, argv[optind]);
	print_handle((uint32_t)handle, c.name);
	return ST_OK;
}

int cmd_drop_trust(int argc, char **argv)
{
	next_option(argc, argv, NULL);
	operands(argc, 0, 0);
	dx_do(DXIO_DROP_TRUST, 0, "drop-trust");
	if (json) {
		json_open(NULL, '{');
		json_bool("trusted", false);
		json_close('}');
		json_line();
	}
	return ST_OK;
}

int cmd_version(int argc, char **argv)
{
	long abi;

	next_option(argc, argv, NULL);
	operands(argc, 0, 0);
	abi = dx_do(DXIO_VERSION, 0, "version");
	if (json) {
		json_open(NULL, '{');
		json_text("dx", DIOSIX_VERSION);
		json_number("abi", (uint64_t)abi);
		json_close('}');
		json_line();
	} else {
		printf("dx %s, hypervisor interface version %ld\n", DIOSIX_VERSION, abi);
	}
	return ST_OK;
}
