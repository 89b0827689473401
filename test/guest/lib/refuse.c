/* SPDX-License-Identifier: MIT */
/* See refuse.h. */
#include "refuse.h"

/* What a VM can know of itself and of a child, but for what goes on by itself. */
struct known {
	struct dx_info info[2];
	struct dx_quota quota[2];
	uint64_t children, handles, event;
};

/* One page, so that looking does not change what is looked at. */
static struct {
	struct dx_info info __attribute__((aligned(256)));
	struct dx_quota quota __attribute__((aligned(256)));
	struct known before, after;
	uint64_t watched;
} own __attribute__((aligned(PAGE)));

static void ask(uint64_t handle, struct dx_info *info, struct dx_quota *quota)
{
	if (dx(DX_FID_INFO, handle, (uintptr_t)&own.info, 0).error == 0)
		*info = own.info;
	if (dx(DX_FID_QUOTA_READ, handle, (uintptr_t)&own.quota, 0).error == 0)
		*quota = own.quota;
	info->cpu_time = info->faults = 0;
	memset(info->exits, 0, sizeof(info->exits));
}

static void look(struct known *k)
{
	uint64_t handle = 0;

	memset(k, 0, sizeof(*k));
	ask(DX_SELF, &k->info[0], &k->quota[0]);
	if (own.watched)
		ask(own.watched, &k->info[1], &k->quota[1]);
	while ((handle = dx(DX_FID_NEXT, handle, 0, 0).value)) {
		k->children++;
		k->handles += handle;
	}
	k->event = dx_event();
	/* The parent has read what this test writes: there is room again. */
	if (k->event == (uint64_t)DX_EVENT_CONSOLE << 32)
		k->event = 0;
}

void refuse_watch(uint64_t child)
{
	own.watched = child;
	while (dx_event())
		;
	/* What is written from now on, the stack included, has been written before. */
	look(&own.before);
	look(&own.after);
}

void refuse_call(const char *name, int64_t error, uint64_t fid, const uint64_t a[5])
{
	look(&own.before);
	struct sbiret r = sbi(EID_DIOSIX, fid, a[0], a[1], a[2], a[3], a[4]);

	look(&own.after);
	check_eq_at(name, fid, (uint64_t)r.error, (uint64_t)error);
	if (r.value || memcmp(&own.before, &own.after, sizeof(own.before)))
		check_eq_at("refused, but something changed: call", fid, r.value, 0xbad);
}
